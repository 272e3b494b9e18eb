"""Recognition of images that are already as MNIST's, and preprocessing of 28 x 28 images that are not.

Every MNIST image has a black background, its digit is 20 pixels large on the larger side, and its centre of
mass is in the middle. An image with these three properties is used unchanged, any other is preprocessed like
a drawing of any size by `service.core.drawing.mnist`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.drawing import mnist
from service.core.drawing.steps import StepRecorder

MIN_SIDE, MAX_SIDE = 19, 22
"""Larger side of the box around all pixels above 0: 20 in 59,987 of MNIST's 60,000 training images, 19 in
the others, 20 to 22 in images that this service prepared, whose strokes have soft edges. Between 18 and 22
networks recognise developers' strokes equally well with and without preprocessing."""

MAX_OFFSET = 0.55
"""Distance of the centre of mass from `mnist.CENTRE` along each axis, in pixels: at most 0.52 in MNIST's
training images, which were moved by whole pixels, and 0.55 in drawings that this service prepared."""

MIN_PEAK = 200
"""The brightest pixel: at least 254 in MNIST's training images."""

LIGHT = 127
"""A background above this grey level is light; MNIST's is black."""

_SLICE = 256
"""Images that are checked at once: their float32 copy stays in the processor's cache."""

_SIDE = mnist.SIDE
_PIXELS = _SIDE * _SIDE

_ROW, _COLUMN = np.divmod(np.arange(_PIXELS, dtype=np.float32), np.float32(_SIDE))
_MOMENTS = np.stack((np.ones(_PIXELS, np.float32), _COLUMN, _ROW))
"""Weights of the sum of all pixels and of the sums for the centre of mass: (3, 784). The sums of an image are
whole numbers below 2 ** 24, so float32 is exact."""

_BELOW_PEAK = bytes(range(MIN_PEAK))

_MIDDLE = mnist.CENTRE - 0.5
"""Column and row of the pixel whose middle is the centre."""


class Prepared(NamedTuple):
    """A batch of images after preprocessing.

    Attributes:
        images: (B, 28, 28) uint8.
        changed: Rows of the images that were not used as they came, in ascending order.
    """

    images: NDArray[np.uint8]
    changed: list[int]


def is_as_mnist(image: NDArray[np.uint8]) -> bool:
    """Return whether one image already is as MNIST's; takes a few microseconds.

    Args:
        image: (28, 28) uint8.
    """
    data = image.tobytes()
    start = _PIXELS - len(data.lstrip(b"\0"))
    if start == _PIXELS:
        return False
    height = (len(data.rstrip(b"\0")) - 1) // _SIDE - start // _SIDE + 1
    columns = np.bitwise_or.reduce(image, axis=0).tobytes()
    width = len(columns.strip(b"\0"))
    if not MIN_SIDE <= max(height, width) <= MAX_SIDE or not data.translate(None, _BELOW_PEAK):
        return False
    mass, x, y = _MOMENTS.dot(np.frombuffer(data, np.uint8).astype(np.float32)).tolist()
    limit = MAX_OFFSET * mass
    return bool(abs(x - _MIDDLE * mass) <= limit and abs(y - _MIDDLE * mass) <= limit)


def are_as_mnist(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for each image of a batch whether it already is as MNIST's, as `is_as_mnist` does.

    Args:
        images: (B, 28, 28) uint8.

    Returns:
        (B,) bool.
    """
    found = np.empty(len(images), np.bool_)
    for start in range(0, len(images), _SLICE):
        part = images[start : start + _SLICE]
        # Pixels first, then images: each operation then works on a whole row of images.
        flat = np.ascontiguousarray(part.reshape(len(part), _PIXELS).T)
        grid = flat.reshape(_SIDE, _SIDE, len(part))
        rows = grid.max(axis=1)
        side = np.maximum(_extents(rows > 0), _extents(grid.max(axis=0) > 0))
        mass, x, y = _MOMENTS @ flat.astype(np.float32)
        off = np.maximum(np.abs(x - _MIDDLE * mass), np.abs(y - _MIDDLE * mass))
        found[start : start + len(part)] = (
            (side >= MIN_SIDE)
            & (side <= MAX_SIDE)
            & (off <= MAX_OFFSET * mass)
            & (rows.max(axis=0) >= MIN_PEAK)
        )
    return found


def prepare(image: NDArray[np.uint8], name: str, recorder: StepRecorder | None = None) -> NDArray[np.uint8]:
    """Preprocess one image that is not as MNIST's.

    Args:
        image: (28, 28) uint8.
        name: What to call it in an error.
        recorder: Recorder of the steps, as in `mnist.from_picture`; `drawn` and `taken` for an image that is
            only inverted.

    Returns:
        (28, 28) uint8. The negative of an MNIST image becomes that image, bit for bit.

    Raises:
        BlankImage: There is no ink.
    """
    if is_on_light_paper(image):
        negative = ~image
        if is_as_mnist(negative):
            if recorder is not None:
                recorder.add("drawn", image)
                recorder.add("taken", negative)
            return negative
    return mnist.from_picture(image, name, recorder)


def prepare_batch(images: NDArray[np.uint8]) -> Prepared:
    """Preprocess those images of a batch that are not as MNIST's.

    Args:
        images: (B, 28, 28) uint8; not modified.

    Returns:
        The batch itself if nothing had to be done, otherwise a copy.

    Raises:
        BlankImage: There is no ink on one of them.
    """
    if len(images) == 1 and is_as_mnist(images[0]):
        return Prepared(images, [])
    changed = np.flatnonzero(~are_as_mnist(images)).tolist()
    if not changed:
        return Prepared(images, [])
    prepared = images.copy()
    for row in changed:
        prepared[row] = prepare(images[row], f"Image {row}")
    return Prepared(prepared, changed)


def is_on_light_paper(grey: NDArray[np.uint8]) -> bool:
    """Return whether the edge of a picture, (H, W) uint8, is mostly light."""
    edge = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))
    return bool(np.count_nonzero(edge > LIGHT) * 2 > len(edge))


def _extents(occupied: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return how many places lie between the first and the last occupied one, both included.

    Args:
        occupied: (places, B).

    Returns:
        (B,), 0 where none is occupied.
    """
    last = len(occupied) - occupied[::-1].argmax(axis=0)
    return np.where(occupied.any(axis=0), last - occupied.argmax(axis=0), 0)
