"""Ways to bring a picture of a digit into 28 x 28, from the plainest to the service's own, step by step.

They show what each step is worth; the service itself uses `service.core.ink` alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.core import ink, paper
from service.core.errors import BlankImage
from training.synthesis import canvases

Grey = NDArray[np.uint8]
Corners = tuple[tuple[tuple[float, float], ...], ...]

SCALED = "scaled down"
INVERTED = "+ inverted"
CROPPED = "+ cropped"
FITTED = "+ fitted into 20 x 20"
CENTRED = "+ centred by mass"
FOUND = "+ paper and ink found"
WHOLE = "+ usual stroke width"
DRAWN = "drawn from the strokes"

STEPS = (SCALED, INVERTED, CROPPED, FITTED, CENTRED, FOUND, WHOLE)
"""In their order; each does what those before it do. The last is all that the service does to a picture."""

_EMPTY: Grey = np.zeros((ink.SIDE, ink.SIDE), np.uint8)


def prepared(grey: Grey) -> Mapping[str, Grey]:
    """Prepare a picture in every way.

    Args:
        grey: (H, W) uint8, any size, dark on light or light on dark.

    Returns:
        By step: (28, 28) uint8, 0 background to 255 ink; empty where a step finds no ink.
    """
    light = 255 - grey if np.median(grey) > 127 else grey
    box = _cropped(light)
    fitted = _in_the_middle(box)
    return {
        SCALED: scaled(grey),
        INVERTED: scaled(light),
        CROPPED: scaled(_squared(box)),
        FITTED: fitted,
        CENTRED: _by_mass(fitted),
        FOUND: _found(grey),
        WHOLE: _whole(grey),
    }


def scaled(grey: Grey) -> Grey:
    """Scale a picture down to 28 x 28, and nothing else: (28, 28) uint8."""
    return _resized(grey, ink.SIDE, ink.SIDE)


def drawn(strokes: Sequence[NDArray[np.float64]]) -> Grey:
    """Draw strokes as the service does: (28, 28) uint8."""
    return ink.from_strokes(strokes)


def _cropped(light: Grey) -> Grey:
    """Cut out what is brighter than the middle of darkest and brightest, and stretch the contrast."""
    low, high = int(light.min()), int(light.max())
    drawn = light > (low + high) / 2
    if not drawn.any():
        return _EMPTY
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    box = light[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    return np.asarray((box - low) * (255 / (high - low)), np.uint8)


def _squared(box: Grey) -> Grey:
    """Put what was cut out in the middle of a square."""
    height, width = box.shape
    side = max(height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = box
    return square


def _in_the_middle(box: Grey) -> Grey:
    """Fit what was cut out into 20 x 20, in the middle of 28 x 28."""
    unit = ink.FIT / max(box.shape)
    height, width = (max(1, round(side * unit)) for side in box.shape)
    page = _EMPTY.copy()
    top, left = (ink.SIDE - height) // 2, (ink.SIDE - width) // 2
    page[top : top + height, left : left + width] = _resized(box, width, height)
    return page


def _by_mass(page: Grey) -> Grey:
    """Move the centre of mass to the middle, by whole pixels, as far as nothing is cut off."""
    if not page.any():
        return page
    moved = page
    for axis in (0, 1):
        mass = moved.sum(axis=1 - axis, dtype=np.float64)
        drawn = np.flatnonzero(mass)
        centre = mass @ (np.arange(ink.SIDE) + 0.5) / mass.sum()
        way = int(np.clip(round(ink.CENTRE - centre), -drawn[0], ink.SIDE - 1 - drawn[-1]))
        moved = np.roll(moved, way, axis)
    return moved


def _found(grey: Grey) -> Grey:
    """Find paper, ink and specks as the service does; crop, fit and centre as above."""
    try:
        found = paper.cut_out(grey, 4 * ink.FIT, 0).ink
    except paper.Blank:
        return _EMPTY
    return _by_mass(_in_the_middle(_cropped(np.asarray(np.clip(found, 0, 1) * 255, np.uint8))))


def _whole(grey: Grey) -> Grey:
    try:
        return ink.from_picture(grey)
    except BlankImage:
        return _EMPTY


def _resized(grey: Grey, width: int, height: int) -> Grey:
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))


_EXAMPLES: tuple[tuple[canvases.Kind, int, Corners], ...] = (
    ("clean", 33, (((18, 18), (80, 14), (66, 46), (44, 92)), ((32, 56), (70, 50)))),
    ("tools", 24, (((34, 12), (24, 56), (78, 54)), ((66, 20), (62, 92)))),
    ("scan", 5, (((26, 30), (40, 12), (64, 14), (72, 34), (54, 58), (24, 84), (50, 82), (82, 88)),)),
)
"""Digits of our own, and the canvases that show them: kind, seed, strokes on a page of 100 x 100."""


def picture() -> Image.Image:
    """Draw three digits of our own on canvases, and what every step makes of them."""
    size, gap, title = 112, 8, 16
    columns = ["canvas", *STEPS]
    page = Image.new(
        "L", (len(columns) * (size + gap) + gap, len(_EXAMPLES) * (size + gap) + gap + title), 255
    )
    write = ImageDraw.Draw(page)
    for column, name in enumerate(columns):
        write.text((gap + column * (size + gap), gap // 2), name.removeprefix("+ "), fill=0)
    for row, (kind, seed, corners) in enumerate(_EXAMPLES):
        strokes = [np.array(stroke, np.float64) for stroke in corners]
        canvas = canvases.render(strokes, np.random.default_rng(seed), kind)
        shown = [canvas.resize((size, size))]
        shown += [
            Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST)
            for image in prepared(np.asarray(canvas)).values()
        ]
        for column, image in enumerate(shown):
            page.paste(image, (gap + column * (size + gap), title + gap + row * (size + gap)))
    return page
