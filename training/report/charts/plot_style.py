"""Plot style of all charts: palettes of the light and the dark theme, fonts, PNG output.

Colours are those of Okabe and Ito, "Color Universal Design", 2008, or shades of one hue. Every meaning of a
colour is also given in text.
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

from service.core.artifact.report import Theme

DOTS_PER_INCH = 120

_COLOURS = 128
"""Size of a file's colour palette, one byte per pixel; rarer colours are antialiasing shades."""


@dataclass(frozen=True)
class Palette:
    """The colours of one theme.

    Attributes:
        background: Background.
        text: Text and axes.
        faint: Grids and secondary elements.
        first: The published network; positive weights.
        second: The fits on the lesson's split; negative weights.
        strong: End of the colour map of counts.
    """

    background: str
    text: str
    faint: str
    first: str
    second: str
    strong: str


PALETTES: Mapping[Theme, Palette] = {
    "light": Palette("#ffffff", "#1a1a1a", "#d4d4d4", "#0072b2", "#d55e00", "#08306b"),
    "dark": Palette("#16181d", "#ececec", "#3d4148", "#56b4e9", "#e69f00", "#c6e2ff"),
}


def figure(width: float, height: float, title: str) -> Figure:
    """Return a figure of this size in inches, with its title in the upper left corner."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    chart = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    chart.suptitle(title, x=0.015, ha="left", fontsize=13, fontweight="bold")
    return chart


def to_png(draw: Callable[[Palette], Figure], theme: Theme, *, few_colours: bool = True) -> bytes:
    """Return a figure as a PNG file. It has no date and no program name: equal figures give equal bytes.

    Args:
        draw: Draws the figure with a palette.
        theme: The palette to use.
        few_colours: Reduce the colours, which makes the file a quarter as large; not for photographs.
    """
    palette = PALETTES[theme]
    settings: Any = {  # Matplotlib's type is a dictionary of some 300 literals
        "figure.facecolor": palette.background,
        "axes.facecolor": palette.background,
        "axes.edgecolor": palette.faint,
        "axes.labelcolor": palette.text,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": palette.text,
        "xtick.color": palette.text,
        "ytick.color": palette.text,
        "grid.color": palette.faint,
        "font.family": "DejaVu Sans",  # part of Matplotlib, so that every machine has it
        "font.size": 10,
    }
    with mpl.rc_context(settings):
        canvas: Any = FigureCanvasAgg(draw(palette))
        canvas.draw()
    file = io.BytesIO()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    image = _with_palette(pixels) if few_colours else Image.fromarray(pixels)
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _with_palette(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (H, W, 3) as an image with a colour palette of its most frequent colours."""
    packed = (pixels.astype(np.int64) << [16, 8, 0]).sum(axis=-1)  # (H, W)
    found, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)  # (found, 3)
    kept = colours[np.argsort(-counts, kind="stable")[:_COLOURS]]
    nearest = [int(((kept - colour) ** 2).sum(axis=1).argmin()) for colour in colours]
    image = Image.fromarray(np.array(nearest, np.uint8)[places].reshape(packed.shape))
    image.putpalette(kept.astype(np.uint8).tobytes())
    return image
