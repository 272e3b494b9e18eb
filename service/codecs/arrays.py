"""Decoders of `application/octet-stream` and `application/x-npy`, and encoder of `.npy`."""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Limits, Shape, check_count, from_unit, slices
from service.core.errors import MalformedRequest
from service.core.wording import quote

_MAX_NPY_HEADER_BYTES = 1000
_MAX_DIMS = 8
_DTYPES = [np.dtype(order + code) for order in "<>" for code in ("u1", "f2", "f4", "f8")]


def read_octets(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.uint8]:
    """Decode images of one byte per number, in row-major order, one image after another.

    Args:
        body: The whole body.
        shape: Shape of one image of the model.
        limits: Limits of one request.

    Returns:
        (B, *shape) uint8, a view into the body.

    Raises:
        MalformedRequest: The body is empty, or not a whole number of images.
        PayloadTooLarge: There are more images than the limit.
    """
    size = math.prod(shape)
    if not body or len(body) % size:
        raise MalformedRequest("Body", f"n x {size:,} bytes with n >= 1", f"{len(body):,} bytes")
    check_count(len(body) // size, limits)
    return np.ndarray((len(body) // size, *shape), np.uint8, body)


def read_npy(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.uint8]:
    """Decode a NumPy file: uint8, or floats 0..1; one image or many, nested or flat.

    Args:
        body: The whole body.
        shape: Shape of one image of the model.
        limits: Limits of one request.

    Returns:
        (B, *shape) uint8.

    Raises:
        MalformedRequest: The file is invalid, or its array has another shape, dtype or range.
        PayloadTooLarge: There are more images than the limit.
    """
    return to_images(load_npy(body), shape, limits)


def to_images(array: NDArray[Any], shape: Shape, limits: Limits, first: int = 0) -> NDArray[np.uint8]:
    """Convert an array of images to uint8 of the model's shape.

    Args:
        array: uint8, or floats 0..1; one image or many, nested or flat.
        shape: Shape of one image of the model.
        limits: Limits of one request.
        first: Index of the first image in messages.

    Returns:
        (B, *shape) uint8; a view where nothing has to be converted.

    Raises:
        MalformedRequest: The array has another shape, dtype or range.
        PayloadTooLarge: There are more images than the limit.
    """
    _check_dtype(array.dtype)
    size = math.prod(shape)
    if array.shape in (shape, (size,)):
        array = array[None]
    if array.shape[1:] not in (shape, (size,)) or not len(array):
        sides = ", ".join(str(side) for side in shape)
        shapes = f"({sides}), ({size},), (n, {sides}) or (n, {size})"
        raise MalformedRequest("Array", f"of shape {shapes}, n >= 1", str(array.shape))
    check_count(len(array), limits)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array).view(np.uint8).reshape(-1, *shape)
    images = np.empty((len(array), *shape), np.uint8)
    for rows in slices(array):
        images[rows] = _from_unit(array[rows].reshape(-1, *shape), first + rows.start)
    return images


def _from_unit(part: NDArray[Any], start: int) -> NDArray[np.uint8]:
    """Return pixels from numbers 0..1 of consecutive images; `start` is the index of the first image."""
    bad = ~((part >= 0) & (part <= 1))  # NaN is bad too
    if bad.any():
        row, *where = np.unravel_index(int(bad.argmax()), part.shape)
        index = ", ".join(str(i) for i in (row + start, *where))
        raise MalformedRequest(f"Array[{index}]", "a number 0..1", f"{part[row, *where]:g}")
    return from_unit(part)


def load_npy(body: bytes) -> NDArray[Any]:
    """Return the array of a NumPy file, a view of its bytes, after checking the header against their number.

    Raises:
        MalformedRequest: The file is invalid, or its dtype is none that images may have.
    """
    stream = io.BytesIO(body)
    expected = "a NumPy .npy file, format 1.0 or 2.0, of plain numbers"
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise MalformedRequest("Body", expected, f"format {version[0]}.{version[1]}")
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(stream, max_header_size=_MAX_NPY_HEADER_BYTES)
    except MalformedRequest:
        raise
    except Exception as error:  # the header is a Python literal; its parser raises exceptions of many types
        raise MalformedRequest("Body", expected, "another header") from error
    _check_dtype(dtype)
    data = memoryview(body)[stream.tell() :]
    if len(shape) > _MAX_DIMS or not all(type(side) is int and 0 <= side <= len(data) for side in shape):
        expected = f"of at most {_MAX_DIMS} dimensions, each of 0 to {len(data):,}"
        raise MalformedRequest("Array", expected, quote(shape))
    size = math.prod(shape) * dtype.itemsize
    if size != len(data):
        expected = f"{size:,} bytes after its header of shape {shape}"
        raise MalformedRequest("Body", expected, f"{len(data):,}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype not in _DTYPES:
        raise MalformedRequest("Array", "uint8, or float16, float32 or float64 0..1", quote(str(dtype)))


def write_npy(array: NDArray[Any]) -> bytes:
    """Encode an array as a NumPy file, in row-major order."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
