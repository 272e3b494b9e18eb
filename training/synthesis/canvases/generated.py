"""Synthetic canvases: pen strokes rendered as drawing pages, other tools and scanners would show them.

The renderer is independent of the service's own rendering and segmentation, so that figures measured on its
images do not depend on the code under test.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.synthesis.polylines import Points, cumulative_length, resample

Kind = Literal["clean", "tools", "scan"]
"""`clean`: a drawing page with a round pen. `tools`: other nibs, hard edges, low contrast. `scan`: uneven
lighting, noise, specks, blur and JPEG artefacts."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Floats = NDArray[np.float32]

MIN_SIDE, MAX_SIDE = 200, 1000
"""Range of a canvas's sides, in pixels."""

CENTRED_SIDE = 280
"""Side of a canvas of `render_centred`, in pixels."""

_CENTRED_PEN = 20.0
"""Pen width of `render_centred`, in pixels."""

_MAX_TILT = 15.0
"""Largest rotation or shear, in degrees, to either side."""

_FILL = (0.25, 0.9)
"""Range of the drawing's larger side, relative to the canvas's smaller side."""

_PEN = (0.02, 0.17)
"""Range of the pen width, relative to the drawing's larger side; log-uniform."""

_MIN_PEN, _MAX_PEN = 1.5, 60.0
"""Range of the pen width in pixels, at any size of the drawing."""

_MIN_DRAWING = 20.0
"""Smallest larger side of a drawing, in pixels."""

_SUPERSAMPLED_BELOW = 600
"""Canvases with a smaller width are drawn at twice the size; on larger ones aliasing hardly shows."""


@dataclass(frozen=True)
class _Layout:
    """Strokes placed on a canvas.

    Attributes:
        size: Width and height of the canvas, in pixels.
        strokes: (points, 2) each, in pixels of the canvas.
        pen: Pen width, in pixels.
    """

    size: tuple[int, int]
    strokes: tuple[Points, ...]
    pen: float


def render(strokes: Sequence[Points], generator: np.random.Generator, kind: Kind) -> Image.Image:
    """Render strokes on a canvas of random size, with random pen, position, scale and tilt.

    Args:
        strokes: One (points, 2) array per stroke, points >= 1: x to the right, y downwards, in any unit.
        generator: Source of randomness; the same state gives the same image.
        kind: Kind of canvas.

    Returns:
        A greyscale image ("L") of 200 to 1,000 pixels per side, dark on light or light on dark.
    """
    layout = _layout(strokes, generator)
    coverage = _coverage(layout, generator, kind)
    background, foreground = _greys(generator, kind)
    page = np.asarray(background + (foreground - background) * coverage, np.float32)
    if kind == "scan":
        return _scan(page, foreground, generator)
    return Image.fromarray(np.rint(page).astype(np.uint8))


def render_centred(strokes: Sequence[Points], larger_side: float = 240.0) -> Image.Image:
    """Render strokes as in demonstrations: centred, white on black, with a pen of 20 pixels.

    Args:
        strokes: One (points, 2) array per stroke, points >= 1: x to the right, y downwards, in any unit.
        larger_side: Larger side of the drawing in pixels, pen included, 20 to 280.

    Returns:
        A greyscale image ("L") of 280 x 280 pixels.
    """
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (larger_side - _CENTRED_PEN) / max(float(extent.max()), 1e-6)
    corner = (CENTRED_SIDE - extent * scale) / 2
    placed = tuple((stroke - low) * scale + corner for stroke in strokes)
    mask = Image.new("L", (2 * CENTRED_SIDE, 2 * CENTRED_SIDE), 0)
    _draw_round(ImageDraw.Draw(mask), [stroke * 2 for stroke in placed], _CENTRED_PEN * 2)
    return mask.reduce(2)


def _layout(strokes: Sequence[Points], generator: np.random.Generator) -> _Layout:
    """Choose canvas size, tilt, scale, pen and position."""
    side = int(generator.integers(MIN_SIDE, MAX_SIDE + 1))
    other = side if generator.random() < 2 / 3 else side * generator.uniform(0.6, 1.6)
    size = (side, int(np.clip(other, MIN_SIDE, MAX_SIDE)))
    tilt = _tilt(generator)
    strokes = [stroke @ tilt.T for stroke in strokes]
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    larger_side = generator.uniform(*_FILL) * min(size)
    relative = math.exp(generator.uniform(math.log(_PEN[0]), math.log(_PEN[1])))
    pen = float(np.clip(larger_side * relative, _MIN_PEN, _MAX_PEN))
    scale = max(larger_side - pen, _MIN_DRAWING) / max(float(extent.max()), 1e-6)
    room = np.array(size) - extent * scale - pen - 4  # a margin of two pixels on every side
    corner = 2 + pen / 2 + generator.uniform(0, 1, 2) * room
    return _Layout(size, tuple((stroke - low) * scale + corner for stroke in strokes), pen)


def _tilt(generator: np.random.Generator) -> Points:
    """Return the matrix of a random rotation or shear, with equal probability."""
    angle = math.radians(generator.uniform(-_MAX_TILT, _MAX_TILT))
    if generator.random() < 0.5:
        return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.array([[1.0, -math.tan(angle)], [0.0, 1.0]])


def _greys(generator: np.random.Generator, kind: Kind) -> tuple[int, int]:
    """Choose background and foreground, 0 to 255; on clean canvases mostly black and white."""
    is_dark_on_light = generator.random() < 0.6
    if kind != "clean":
        background, foreground = int(generator.integers(190, 256)), int(generator.integers(0, 110))
    elif generator.random() < 0.3:
        background, foreground = int(generator.integers(225, 256)), int(generator.integers(0, 90))
    else:
        background, foreground = 255, 0
    return (background, foreground) if is_dark_on_light else (255 - background, 255 - foreground)


def _coverage(layout: _Layout, generator: np.random.Generator, kind: Kind) -> Floats:
    """Return how far each pixel is covered by ink: (height, width) float32, 0 to 1."""
    nibs = {
        "clean": ("round",),
        "tools": ("round", "square", "pressure", "chisel"),
        "scan": ("round", "round", "pressure"),
    }[kind]
    nib = nibs[int(generator.integers(len(nibs)))]
    factor = 2 if layout.size[0] < _SUPERSAMPLED_BELOW else 1
    if kind == "tools" and generator.random() < 0.3:
        factor = 1  # hard edges, as from a tool without antialiasing
    width, height = layout.size
    mask = Image.new("L", (width * factor, height * factor), 0)
    brush = ImageDraw.Draw(mask)
    strokes = [stroke * factor for stroke in layout.strokes]
    pen = layout.pen * factor
    if nib == "round":
        _draw_round(brush, strokes, pen)
    elif nib == "square":
        _draw_square(brush, strokes, pen)
    elif nib == "pressure":
        _draw_pressure(brush, strokes, pen, generator)
    else:
        _draw_chisel(brush, strokes, pen, generator)
    return np.asarray(np.asarray(mask.reduce(factor) if factor > 1 else mask) / 255, np.float32)


def _draw_round(brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float) -> None:
    for stroke in strokes:
        corners = [(float(x), float(y)) for x, y in stroke]
        if len(corners) > 1:
            brush.line(corners, fill=255, width=max(1, round(pen)))
        for x, y in corners:
            brush.ellipse(_box(x, y, pen / 2), fill=255)


def _draw_square(brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float) -> None:
    for stroke in strokes:
        for x, y in _spaced(stroke, pen / 8)[0]:
            brush.rectangle(_box(x, y, pen / 2), fill=255)


def _draw_pressure(
    brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float, generator: np.random.Generator
) -> None:
    """Draw with a width that varies by up to 45 %, in one to three waves over the drawing's size."""
    size = max(float(np.ptp(np.concatenate(strokes), axis=0).max()), 1.0)
    start, waves = generator.uniform(0, 2 * math.pi), generator.uniform(1, 3)
    for stroke in strokes:
        points, distances = _spaced(stroke, pen / 8)
        radii = pen / 2 * (1 + 0.45 * np.sin(start + distances * waves * 2 * math.pi / size))
        for (x, y), radius in zip(points, radii, strict=True):
            brush.ellipse(_box(x, y, float(radius)), fill=255)


def _draw_chisel(
    brush: ImageDraw.ImageDraw, strokes: Sequence[Points], pen: float, generator: np.random.Generator
) -> None:
    """Draw with a broad nib at a fixed angle."""
    angle = generator.uniform(0, math.pi)
    x_reach, y_reach = math.cos(angle) * pen / 2, math.sin(angle) * pen / 2
    for stroke in strokes:
        for x, y in _spaced(stroke, pen / 8)[0]:
            edge = (x - x_reach, y - y_reach, x + x_reach, y + y_reach)
            brush.line(edge, fill=255, width=max(2, round(pen * 0.3)))


def _box(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return (x - radius, y - radius, x + radius, y + radius)


def _spaced(stroke: Points, step: float) -> tuple[Points, Points]:
    """Return points along a stroke, at most max(step, 1) pixels apart, and their distances from its start."""
    return resample(stroke, math.ceil(cumulative_length(stroke)[-1] / max(step, 1.0)) + 1)


def _scan(page: Floats, speck: int, generator: np.random.Generator) -> Image.Image:
    """Degrade a page as a scanner or camera does: blur, uneven lighting, noise, specks, JPEG."""
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
        page[top : top + 3, left : left + 3] = speck
    jpeg = io.BytesIO()
    picture = Image.fromarray(np.clip(np.rint(page), 0, 255).astype(np.uint8))
    picture.save(jpeg, "JPEG", quality=int(generator.integers(25, 86)))
    with Image.open(jpeg) as scan:
        return scan.convert("L")
