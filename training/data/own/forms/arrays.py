"""Arrays of pixels and labels of any usual shape and type, as images and texts."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import DataRefused

_COLOURS = (1, 3)


def to_images(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Convert an array of images to bytes.

    Args:
        array: (N, H, W), (N, H, W, 1 or 3), (N, 1 or 3, H, W), or (N, pixels) of a square; integers or floats
            from 0 to 255, floats from 0 to 1, or booleans.
        name: Name of the array, for messages.

    Returns:
        (N, H, W) or (N, H, W, 3) uint8.

    Raises:
        DataRefused: The array has another shape, type or range.
    """
    return _shaped(_to_bytes(array, name), name)


def to_labels(array: NDArray[Any], name: str, texts: Sequence[str] = ()) -> list[str]:
    """Convert an array of labels to texts.

    Args:
        array: (N,) or (N, 1) integers or texts, or (N, classes) with a single 1 in each row.
        name: Name of the array, for messages.
        texts: Name of each integer label; empty to use the integers.

    Raises:
        DataRefused: The array has another shape or type, or an integer has no name.
    """
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "uifb":
        if not np.array_equal((array != 0).sum(1), np.ones(len(array))):
            raise DataRefused(name, "one label per row, or a single 1 in each row", "other rows")
        array = array.argmax(1)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataRefused(name, "one label per image", f"shape {array.shape}")
    if array.dtype.kind == "S":
        return [label.decode("utf-8", "replace") for label in array.tolist()]
    if array.dtype.kind == "f" and np.array_equal(array, np.rint(array)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "uibU":
        raise DataRefused(name, "of integers or texts", f"{array.dtype}")
    return [named(label, texts, name) for label in array.tolist()]


def named(label: object, texts: Sequence[str], name: str) -> str:
    """Return the text of a label: the name of an integer if there are names, else the label itself.

    Raises:
        DataRefused: An integer has no name.
    """
    if isinstance(label, bool):
        label = int(label)
    if isinstance(label, int) and texts:
        if not 0 <= label < len(texts):
            raise DataRefused(name, f"of labels from 0 to {len(texts) - 1}, which have names", f"{label}")
        return texts[label]
    return str(label).strip()


def _to_bytes(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "uif":
        raise DataRefused(name, "of pixels: integers from 0 to 255 or floats from 0 to 1", f"{array.dtype}")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= 0 and high <= 255):  # in this form NaN fails too
        raise DataRefused(name, "of pixels from 0 to 255, or from 0 to 1", f"{low:g} to {high:g}")
    scale = 255 if array.dtype.kind == "f" and high <= 1 else 1
    return np.rint(array * scale).astype(np.uint8) if array.dtype.kind == "f" else array.astype(np.uint8)


def _shaped(pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    if pixels.ndim == 2:
        side = math.isqrt(pixels.shape[1])
        if side * side != pixels.shape[1]:
            raise DataRefused(name, "images, or rows of a square's pixels such as 784", f"{pixels.shape}")
        return pixels.reshape(len(pixels), side, side)
    if pixels.ndim == 4:
        if pixels.shape[1] in _COLOURS and pixels.shape[3] not in _COLOURS:
            pixels = pixels.transpose(0, 2, 3, 1)
        if pixels.shape[3] == 1:
            pixels = pixels[..., 0]
    if pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3):
        return np.ascontiguousarray(pixels)
    expected = "of shape (images, height, width), with 1 or 3 colours after or before them"
    raise DataRefused(name, expected, f"{pixels.shape}")
