"""28 x 28 images as clients make them: a whole canvas scaled down, without fitting or centring the digit.

The renderer shares no code with the service's preprocessing.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.synthesis.polylines import Points

Kind = Literal["anywhere", "tidy", "inverted", "light", "grey"]
"""`anywhere`: white on black, any size and position. `tidy`: white on black, large and near the middle.
`inverted`: dark on light, resized and then inverted, with any pen. `light`: the same, not inverted.
`grey`: dark on grey paper with a slight gradient, not inverted."""

KINDS: tuple[Kind, ...] = get_args(Kind)

SIDE = 28
"""Side of an image, in pixels."""

CANVAS_SIDES = (280, 600)
"""Range of a canvas's side, in pixels."""

_FILL: dict[Kind, tuple[float, float]] = {
    "anywhere": (0.3, 0.95),
    "tidy": (0.6, 0.9),
    "inverted": (0.35, 0.9),
    "light": (0.35, 0.9),
    "grey": (0.35, 0.9),
}
"""Range of the drawing's larger side, relative to the canvas."""

_PEN = (0.035, 0.09)
"""Range of the pen width, relative to the canvas: 10 to 25 pixels of 280."""

_SCALINGS = (
    Image.Resampling.BOX,  # area averaging, as OpenCV's INTER_AREA
    Image.Resampling.BILINEAR,  # Pillow's, over the whole area
    Image.Resampling.LANCZOS,
    Image.Resampling.NEAREST,
)


def render(strokes: Sequence[Points], generator: np.random.Generator, kind: Kind) -> NDArray[np.uint8]:
    """Draw strokes on a canvas and scale the canvas down to 28 x 28.

    Args:
        strokes: One (points, 2) array per stroke, points >= 1: x to the right, y downwards, in any unit.
        generator: Source of randomness; the same state gives the same image.
        kind: Kind of client.

    Returns:
        (28, 28) uint8.
    """
    ink = draw(strokes, generator, kind)
    small = np.asarray(scale_down(ink, generator))
    if kind in ("anywhere", "tidy", "inverted"):
        return small
    if kind == "light":
        return np.asarray(255 - small, np.uint8)
    paper = generator.uniform(140, 235)
    pen = generator.uniform(0, paper - 80)
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    slope_x, slope_y = generator.uniform(-8, 8, 2)
    grain = generator.normal(0, generator.uniform(0, 2), (SIDE, SIDE))
    page = paper + slope_x * x + slope_y * y + grain + (pen - paper) * (small / 255.0)
    return np.asarray(np.clip(np.rint(page), 0, 255), np.uint8)


def draw(strokes: Sequence[Points], generator: np.random.Generator, kind: Kind) -> Image.Image:
    """Draw strokes white on black with a round pen: a square canvas ("L") of 280 to 600 pixels."""
    side = int(generator.integers(CANVAS_SIDES[0], CANVAS_SIDES[1] + 1))
    pen = side * math.exp(generator.uniform(math.log(_PEN[0]), math.log(_PEN[1])))
    larger_side = max(generator.uniform(*_FILL[kind]) * side, 2.5 * pen)
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (larger_side - pen) / max(float(extent.max()), 1e-6)
    room = side - extent * scale - pen
    where = 0.5 + generator.uniform(-0.15, 0.15, 2) if kind == "tidy" else generator.uniform(0, 1, 2)
    corner = pen / 2 + where * room
    factor = 2 if generator.random() < 0.8 else 1  # without antialiasing
    canvas = Image.new("L", (side * factor, side * factor), 0)
    brush = ImageDraw.Draw(canvas)
    for stroke in strokes:
        _draw_round(brush, ((stroke - low) * scale + corner) * factor, pen * factor)
    return canvas.reduce(factor) if factor > 1 else canvas


def scale_down(canvas: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Scale a canvas down to 28 x 28 as one of the usual functions does."""
    scaling = _SCALINGS[int(generator.choice(len(_SCALINGS), p=(0.4, 0.3, 0.15, 0.15)))]
    return canvas.resize((SIDE, SIDE), scaling)


def _draw_round(brush: ImageDraw.ImageDraw, stroke: Points, pen: float) -> None:
    corners = [(float(x), float(y)) for x, y in stroke]
    if len(corners) > 1:
        brush.line(corners, fill=255, width=max(1, round(pen)))
    for x, y in corners:
        brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
