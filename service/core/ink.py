"""Drawings, pictures and strokes to the 28 x 28 that the networks were trained on.

The one preparation for the interface, the page and the trainer. It does what was done to the MNIST
images: ink and paper told apart, cropped, fitted into 20 x 20, centred by mass in 28 x 28. Reading
picture files is the edge's work.

Source of the geometry: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.errors import BlankImage

SIDE = 28
"""Height and width of a prepared image, in pixels."""

FIT = 20
"""The larger side of the drawn digit, in pixels of the prepared image."""

CENTRE = 14.0
"""Where the centre of mass goes, in pixels from the image's left and upper edge."""

PEN = 2.4
"""Width of the pen that strokes are drawn with, in pixels of the prepared image."""

_LEAST_CONTRAST = 16
"""Grey levels between ink and paper below which nothing is drawn: an eighth of a pencil's grey."""

_FAINTEST = 0.25
"""Share of the strongest ink below which a pixel is taken for paper when the drawing is cropped."""

_STEP = 0.5
"""Distance between neighbouring prints of the pen, in pixels; closer ones change no pixel by 1 %."""


def from_picture(grey: NDArray[np.uint8], name: str = "Picture") -> NDArray[np.uint8]:
    """Prepare a picture of one drawn digit.

    Args:
        grey: (H, W) uint8, any size, dark on light or light on dark.
        name: What to call it in an error.

    Returns:
        (28, 28) uint8, 0 background to 255 ink.

    Raises:
        BlankImage: There is no ink on the paper.
    """
    ink = _ink(grey, name)
    drawn = ink >= _FAINTEST
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cropped.shape
    scale = FIT / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(cropped, "F").resize(
        size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    )
    return _centred(np.asarray(small, dtype=np.float32))


def from_strokes(strokes: Sequence[NDArray[np.float64]], name: str = "Drawing") -> NDArray[np.uint8]:
    """Draw strokes with a round pen whose width is relative to the digit's size.

    Args:
        strokes: One (points, 2) array a stroke: x to the right and y downwards, in any unit; finite.
        name: What to call the drawing in an error.

    Returns:
        (28, 28) uint8, 0 background to 255 ink.

    Raises:
        BlankImage: There is not one point.
    """
    strokes = [stroke for stroke in strokes if len(stroke)]
    if not strokes:
        raise BlankImage(name, "no points")
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (FIT - PEN) / (extent.max() or 1.0)
    trail = np.concatenate([_trail((stroke - low) * scale) for stroke in strokes])
    page = _print(trail + (SIDE - extent * scale) / 2)
    shift = CENTRE - _centre_of_mass(page)
    return _bytes(_print(trail + (SIDE - extent * scale) / 2 + shift))


def _ink(grey: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """Return how much ink lies on every pixel, 0 to 1: the distance from the paper's grey.

    The paper is what most of the picture's edge shows, and ink is what differs from it more.
    """
    edge = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    paper = float(np.median(edge))
    darker, lighter = paper - float(grey.min()), float(grey.max()) - paper
    contrast = max(darker, lighter)
    if contrast < _LEAST_CONTRAST:
        raise BlankImage(name)
    away = (paper - grey) if darker >= lighter else (grey - np.float32(paper))
    return np.asarray(np.clip(away / contrast, 0, 1), np.float32)


def _trail(stroke: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points along a stroke, no further apart than `_STEP`: (many, 2)."""
    legs = np.diff(stroke, axis=0)
    counts = np.maximum(1, np.ceil(np.hypot(*legs.T) / _STEP)).astype(int)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (number / np.repeat(counts, counts))[:, None]
    along = np.repeat(stroke[:-1], counts, axis=0) + np.repeat(legs, counts, axis=0) * share
    return np.concatenate([along, stroke[-1:]])


def _print(trail: NDArray[np.float64]) -> NDArray[np.float32]:
    """Print a round antialiased pen at every point: (28, 28) float32, 0 to 1."""
    middles = np.arange(SIDE, dtype=np.float32) + 0.5
    x = (trail[:, 0, None].astype(np.float32) - middles) ** 2  # (points, 28)
    y = (trail[:, 1, None].astype(np.float32) - middles) ** 2  # (points, 28)
    distance = np.sqrt((y[:, :, None] + x[:, None, :]).min(axis=0))  # (28, 28)
    return np.asarray(np.clip(PEN / 2 + 0.5 - distance, 0, 1), np.float32)


def _centre_of_mass(page: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (x, y) in pixels from the upper left corner."""
    rows, columns = page.sum(axis=1, dtype=np.float64), page.sum(axis=0, dtype=np.float64)
    x = columns @ (np.arange(len(columns)) + 0.5) / columns.sum()
    y = rows @ (np.arange(len(rows)) + 0.5) / rows.sum()
    return np.array([x, y])


def _centred(small: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Place a picture of at most 20 x 20 so that its centre of mass lies in the middle."""
    height, width = small.shape
    x, y = np.round(CENTRE - _centre_of_mass(small)).astype(int)
    left, top = min(max(x, 0), SIDE - width), min(max(y, 0), SIDE - height)
    page = np.zeros((SIDE, SIDE), np.float32)
    page[top : top + height, left : left + width] = small
    return _bytes(page)


def _bytes(page: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the page as 0..255, its strongest ink at 255."""
    return np.asarray(np.rint(page * (255 / page.max())), np.uint8)
