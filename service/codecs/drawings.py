"""Decoded request bodies: images of the model's shape, or drawings that need preprocessing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.errors import PayloadTooLarge

Shape = tuple[int, ...]

_USUAL_SIZE = 28 * 28

_SLICE_NUMBERS = 2**18
"""Numbers that are converted at once."""


@dataclass(frozen=True)
class Limits:
    """How much one request may hold.

    Attributes:
        images: Images of 28 x 28 numbers in one request.
        picture_pixels: Pixels of all pictures in one request together.
        points: Points of a drawing sent as strokes.
    """

    images: int
    picture_pixels: int
    points: int

    def of(self, shape: Shape) -> "Limits":
        """Return the limits for images of a shape: of larger ones fewer, at least one."""
        size = math.prod(shape)
        if size <= _USUAL_SIZE:
            return self
        return replace(self, images=max(1, self.images * _USUAL_SIZE // size))


@dataclass(frozen=True)
class Drawing:
    """Something drawn that may need preparation.

    Attributes:
        field: How the caller knows it, for messages: `Field 'images[3]'`.
        content: (H, W) uint8; or strokes, each (points, 2) float64; or the bytes of a picture file, which
            nobody has opened yet.
    """

    field: str
    content: NDArray[np.uint8] | list[NDArray[np.float64]] | bytes


Drawings = NDArray[np.uint8] | list[Drawing]
"""A whole batch that has the model's shape already, (B, ...) uint8; or one drawing after another."""


def check_count(images: int, limits: Limits) -> None:
    """Raise PayloadTooLarge if there are more images than one request may hold."""
    if images > limits.images:
        raise PayloadTooLarge("Batch", limits.images, "images", f"{images:,}")


def from_unit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return numbers 0..1 as pixels, each rounded to the nearest of 256 greys."""
    return np.rint(values.astype(np.float64) * 255).astype(np.uint8)


def slices(array: NDArray[Any]) -> Iterator[slice]:
    """Yield consecutive slices of an array's rows, of few numbers each.

    What is checked and converted slice by slice needs no array of the size of the whole beside it.
    """
    rows = max(1, _SLICE_NUMBERS * len(array) // max(1, array.size))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)
