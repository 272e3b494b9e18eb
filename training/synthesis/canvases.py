"""Strokes on canvases, as drawing pages, other tools and scanners would show them.

A renderer of its own, for learning and for measuring: it knows nothing of how the service draws strokes
or finds ink, so that what is measured on its pictures is not the service's own mirror image.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Kind = Literal["clean", "tools", "scan"]
"""`clean`: a drawing page's canvas with a round pen. `tools`: other nibs, hard edges, grey on grey.
`scan`: paper under a lamp, with noise, specks, blur and JPEG."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Points = NDArray[np.float64]
Floats = NDArray[np.float32]

SMALLEST, LARGEST = 200, 1000
"""Sides of a canvas, in pixels."""

_TILT = 15.0
"""Degrees by which a drawing is turned or slanted, at most, to either side."""

_FILLED = (0.25, 0.9)
"""The drawing's larger side, in parts of the canvas's smaller one."""

_PEN = (0.02, 0.17)
"""Width of the pen, in parts of the drawing's larger side; as often below 0.06 as above."""

_THINNEST, _THICKEST = 1.5, 60.0
"""Width of the pen in pixels, whatever the drawing's size."""

_SMALLEST_DRAWING = 20.0
"""Larger side of a drawing in pixels, whatever the canvas."""

_SMOOTH_BELOW = 600
"""Canvases of fewer pixels a side are drawn twice as large; on larger ones jagged edges hardly show."""


@dataclass(frozen=True)
class _Drawing:
    """Strokes in their place on a canvas.

    Attributes:
        size: Width and height of the canvas, in pixels.
        strokes: (points, 2) each, in pixels of the canvas.
        pen: Width in pixels.
    """

    size: tuple[int, int]
    strokes: tuple[Points, ...]
    pen: float


def draw(strokes: Sequence[Points], generator: np.random.Generator, kind: Kind) -> Image.Image:
    """Draw strokes on a canvas of random size, with a random pen, place, size and slant.

    Args:
        strokes: One (points, 2) array a stroke, points >= 1: x to the right, y downwards, in any unit.
        generator: Source of randomness; the same state gives the same picture.
        kind: What drew it.

    Returns:
        A grey picture ("L") of 200 to 1,000 pixels a side, dark on light or light on dark.
    """
    drawing = _placed(strokes, generator)
    ink = _ink(drawing, generator, kind)
    paper, full = _greys(generator, kind)
    page = np.asarray(paper + (full - paper) * ink, np.float32)
    if kind == "scan":
        return _scanned(page, full, generator)
    return Image.fromarray(np.rint(page).astype(np.uint8))


TIDY_SIDE = 280
"""Side of a tidy canvas, in pixels."""


def draw_tidily(strokes: Sequence[Points], larger: float = 240.0) -> Image.Image:
    """Draw strokes as demonstrations like them: in the middle, white on black, with a pen of 20 pixels.

    Args:
        strokes: One (points, 2) array a stroke, points >= 1: x to the right, y downwards, in any unit.
        larger: The drawing's larger side in pixels, pen included, 20 to 280.

    Returns:
        A grey picture ("L") of 280 x 280 pixels.
    """
    side, pen = TIDY_SIDE, 20.0
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (larger - pen) / max(float(extent.max()), 1e-6)
    corner = (side - extent * scale) / 2
    placed = tuple((stroke - low) * scale + corner for stroke in strokes)
    mask = Image.new("L", (2 * side, 2 * side), 0)
    _draw_round(ImageDraw.Draw(mask), [stroke * 2 for stroke in placed], pen * 2)
    return mask.reduce(2)


def _placed(strokes: Sequence[Points], generator: np.random.Generator) -> _Drawing:
    """Choose canvas, slant, size, pen and place."""
    side = int(generator.integers(SMALLEST, LARGEST + 1))
    other = side if generator.random() < 2 / 3 else side * generator.uniform(0.6, 1.6)
    size = (side, int(np.clip(other, SMALLEST, LARGEST)))
    tilt = _tilt(generator)
    strokes = [stroke @ tilt.T for stroke in strokes]
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    larger = generator.uniform(*_FILLED) * min(size)
    share = math.exp(generator.uniform(math.log(_PEN[0]), math.log(_PEN[1])))
    pen = float(np.clip(larger * share, _THINNEST, _THICKEST))
    scale = max(larger - pen, _SMALLEST_DRAWING) / max(float(extent.max()), 1e-6)
    room = np.array(size) - extent * scale - pen - 4  # two pixels of paper stay to every side
    corner = 2 + pen / 2 + generator.uniform(0, 1, 2) * room
    return _Drawing(size, tuple((stroke - low) * scale + corner for stroke in strokes), pen)


def _tilt(generator: np.random.Generator) -> Points:
    """Return a matrix that turns or slants, one as often as the other."""
    angle = math.radians(generator.uniform(-_TILT, _TILT))
    if generator.random() < 0.5:
        return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.array([[1.0, -math.tan(angle)], [0.0, 1.0]])


def _greys(generator: np.random.Generator, kind: Kind) -> tuple[int, int]:
    """Choose the greys of paper and ink, 0 to 255; on clean canvases mostly black and white."""
    is_dark_on_light = generator.random() < 0.6
    if kind != "clean":
        paper, ink = int(generator.integers(190, 256)), int(generator.integers(0, 110))
    elif generator.random() < 0.3:
        paper, ink = int(generator.integers(225, 256)), int(generator.integers(0, 90))
    else:
        paper, ink = 255, 0
    return (paper, ink) if is_dark_on_light else (255 - paper, 255 - ink)


def _ink(drawing: _Drawing, generator: np.random.Generator, kind: Kind) -> Floats:
    """Return how much ink is where: (height, width) float32, 0 to 1."""
    nibs = {
        "clean": ("round",),
        "tools": ("round", "square", "pressure", "chisel"),
        "scan": ("round", "round", "pressure"),
    }[kind]
    nib = nibs[int(generator.integers(len(nibs)))]
    times = 2 if drawing.size[0] < _SMOOTH_BELOW else 1
    if kind == "tools" and generator.random() < 0.3:
        times = 1  # hard edges, as of a tool without antialiasing
    width, height = drawing.size
    mask = Image.new("L", (width * times, height * times), 0)
    brush = ImageDraw.Draw(mask)
    strokes = [stroke * times for stroke in drawing.strokes]
    pen = drawing.pen * times
    if nib == "round":
        _draw_round(brush, strokes, pen)
    elif nib == "square":
        _draw_square(brush, strokes, pen)
    elif nib == "pressure":
        _draw_pressure(brush, strokes, pen, generator)
    else:
        _draw_chisel(brush, strokes, pen, generator)
    return np.asarray(np.asarray(mask.reduce(times) if times > 1 else mask) / 255, np.float32)


def _draw_round(brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float) -> None:
    for stroke in strokes:
        corners = [(float(x), float(y)) for x, y in stroke]
        if len(corners) > 1:
            brush.line(corners, fill=255, width=max(1, round(pen)))
        for x, y in corners:
            brush.ellipse(_around(x, y, pen / 2), fill=255)


def _draw_square(brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float) -> None:
    for stroke in strokes:
        for x, y in _evenly(stroke, pen / 8)[0]:
            brush.rectangle(_around(x, y, pen / 2), fill=255)


def _draw_pressure(
    brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float, generator: np.random.Generator
) -> None:
    """The width swells and shrinks by up to 45 %, one to three times over the drawing's size."""
    size = max(float(np.ptp(np.concatenate(strokes), axis=0).max()), 1.0)
    start, waves = generator.uniform(0, 2 * math.pi), generator.uniform(1, 3)
    for stroke in strokes:
        points, along = _evenly(stroke, pen / 8)
        radii = pen / 2 * (1 + 0.45 * np.sin(start + along * waves * 2 * math.pi / size))
        for (x, y), radius in zip(points, radii, strict=True):
            brush.ellipse(_around(x, y, float(radius)), fill=255)


def _draw_chisel(
    brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float, generator: np.random.Generator
) -> None:
    """A broad nib, held at one angle: thick one way, thin the other."""
    angle = generator.uniform(0, math.pi)
    x_reach, y_reach = math.cos(angle) * pen / 2, math.sin(angle) * pen / 2
    for stroke in strokes:
        for x, y in _evenly(stroke, pen / 8)[0]:
            edge = (x - x_reach, y - y_reach, x + x_reach, y + y_reach)
            brush.line(edge, fill=255, width=max(2, round(pen * 0.3)))


def _around(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return (x - radius, y - radius, x + radius, y + radius)


def _evenly(stroke: Points, step: float) -> tuple[Points, Points]:
    """Return points along a stroke, a step of at least a pixel apart, and how far along each one is."""
    legs = np.hypot(*np.diff(stroke, axis=0).T) if len(stroke) > 1 else np.zeros(0)
    travelled = np.concatenate(([0.0], np.cumsum(legs)))
    count = math.ceil(travelled[-1] / max(step, 1.0)) + 1
    along = np.linspace(0, travelled[-1], count)
    points = np.stack([np.interp(along, travelled, axis) for axis in stroke.T], axis=-1)
    return points, along


def _scanned(page: Floats, full: int, generator: np.random.Generator) -> Image.Image:
    """Return a page as a scanner or a camera sees it: blurred, unevenly lit, noisy, with specks, as JPEG."""
    height, width = page.shape
    blur = ImageFilter.GaussianBlur(generator.uniform(0, 0.004) * max(width, height))
    page = np.asarray(Image.fromarray(np.rint(page).astype(np.uint8)).filter(blur), np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    sideways, downwards = (float(slope) for slope in generator.uniform(-0.2, 0.2, 2))
    corners = float(generator.uniform(0, 0.15))
    grain = float(generator.uniform(0, 14))
    page = np.asarray(
        page * (1 + sideways * x + downwards * y - corners * (x * x + y * y))
        + grain * generator.standard_normal(page.shape, np.float32),
        np.float32,
    )
    for _ in range(int(generator.integers(0, 4))):
        left, top = int(generator.integers(0, width - 3)), int(generator.integers(0, height - 3))
        page[top : top + 3, left : left + 3] = full
    jpeg = io.BytesIO()
    picture = Image.fromarray(np.clip(np.rint(page), 0, 255).astype(np.uint8))
    picture.save(jpeg, "JPEG", quality=int(generator.integers(25, 86)))
    with Image.open(jpeg) as scan:
        return scan.convert("L")
