"""What every picture is drawn on: light or dark paper, few colours, readable letters.

Colours are those of Okabe and Ito, "Color Universal Design", 2008, or one hue from pale to strong; what a
colour says stands beside it in words or numbers as well.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from PIL import Image

from service.core.report import Theme

DOTS_PER_INCH = 120

_COLOURS = 128
"""Of a file: its most frequent ones, a byte a pixel; the others are shades between letters and paper."""


@dataclass(frozen=True)
class Ink:
    """The colours of one theme.

    Attributes:
        paper: Background.
        text: Words, numbers, axes.
        faint: Grids and what stands back.
        first: Of the published network; of positive weights.
        second: Of the fits for the lesson's figures; of negative weights.
        strong: The end of the scale of counts.
    """

    paper: str
    text: str
    faint: str
    first: str
    second: str
    strong: str


INKS: Mapping[Theme, Ink] = {
    "light": Ink("#ffffff", "#1a1a1a", "#d4d4d4", "#0072b2", "#d55e00", "#08306b"),
    "dark": Ink("#16181d", "#ececec", "#3d4148", "#56b4e9", "#e69f00", "#c6e2ff"),
}


def figure(width: float, height: float, title: str) -> Figure:
    """Return a figure of that many inches with its title in the upper left corner."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    made = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    made.suptitle(title, x=0.015, ha="left", fontsize=13, fontweight="bold")
    return made


def paint(draw: Callable[[Ink], Figure], theme: Theme, *, is_of_few_colours: bool = True) -> bytes:
    """Return a figure as a PNG file, without a date or a program's name: equal figures, equal bytes.

    Args:
        draw: Returns the figure in the colours it is given.
        theme: Which colours.
        is_of_few_colours: Makes the file a quarter as large; not for photographs.
    """
    ink = INKS[theme]
    settings: Any = {  # typed by Matplotlib as a dictionary of some 300 literals
        "figure.facecolor": ink.paper,
        "axes.facecolor": ink.paper,
        "axes.edgecolor": ink.faint,
        "axes.labelcolor": ink.text,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": ink.text,
        "xtick.color": ink.text,
        "ytick.color": ink.text,
        "grid.color": ink.faint,
        "font.family": "DejaVu Sans",  # comes with Matplotlib, so that every machine has it
        "font.size": 10,
    }
    with mpl.rc_context(settings):
        canvas: Any = FigureCanvasAgg(draw(ink))
        canvas.draw()
    file = io.BytesIO()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    image = _with_palette(pixels) if is_of_few_colours else Image.fromarray(pixels)
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _with_palette(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (H, W, 3) as an image of a byte a pixel, in its most frequent colours and no others."""
    packed = (pixels.astype(np.int64) << [16, 8, 0]).sum(axis=-1)  # (H, W)
    found, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)  # (found, 3)
    kept = colours[np.argsort(-counts, kind="stable")[:_COLOURS]]
    nearest = [int(((kept - colour) ** 2).sum(axis=1).argmin()) for colour in colours]
    image = Image.fromarray(np.array(nearest, np.uint8)[places].reshape(packed.shape))
    image.putpalette(kept.astype(np.uint8).tobytes())
    return image
