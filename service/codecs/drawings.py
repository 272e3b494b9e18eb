"""Decoded request bodies: images of the model's shape, or drawings that need preprocessing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.errors import PayloadTooLarge

Shape = tuple[int, ...]

_DIGIT_NUMBERS = 28 * 28

MAX_FILE_NAME = 255
"""Characters of a file's name that are kept for the response."""

_SLICE_NUMBERS = 2**18
"""Numbers converted at once."""


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        images: Images of 28 x 28.
        picture_pixels: Total pixels of all image files.
        points: Points of a drawing sent as strokes.
    """

    images: int
    picture_pixels: int
    points: int

    def of(self, shape: Shape) -> "Limits":
        """Return the limits for images of a shape: in proportion fewer if they are larger, at least one."""
        size = math.prod(shape)
        if size <= _DIGIT_NUMBERS:
            return self
        return replace(self, images=max(1, self.images * _DIGIT_NUMBERS // size))


@dataclass(frozen=True)
class Drawing:
    """A drawing that may need preprocessing.

    Attributes:
        field: Name in messages, such as `Field 'images[3]'`.
        content: (H, W) uint8; or strokes, each (points, 2) float64; or an image file that is not decoded yet.
        file: Name of the file, at most `MAX_FILE_NAME` characters; None if it has none.
    """

    field: str
    content: NDArray[np.uint8] | list[NDArray[np.float64]] | bytes
    file: str | None = None


Drawings = NDArray[np.uint8] | list[Drawing]
"""Batch in the model's shape, (B, ...) uint8; or drawings."""

DrawingsOrRows = Drawings | NDArray[np.float32]
"""Drawings; or rows of numbers, (B, n) float32."""


def file_names(drawings: DrawingsOrRows) -> list[str | None]:
    """Return the name of each drawing's file; an empty list if none has one."""
    if isinstance(drawings, np.ndarray):
        return []
    names = [drawing.file for drawing in drawings]
    return names if any(name is not None for name in names) else []


def check_count(images: int, limits: Limits) -> None:
    """Raise PayloadTooLarge if there are more images than allowed."""
    if images > limits.images:
        raise PayloadTooLarge("Batch", limits.images, "images", f"{images:,}")


def without_ones(shape: Shape) -> Shape:
    """Return a shape without its sides of 1, which do not change the order of its numbers."""
    return tuple(side for side in shape if side != 1)


def slices(array: NDArray[Any]) -> Iterator[slice]:
    """Yield consecutive slices of an array's rows, of few numbers each.

    Converting slice by slice needs no temporary array of the size of the whole.
    """
    rows = max(1, _SLICE_NUMBERS * len(array) // max(1, array.size))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)
