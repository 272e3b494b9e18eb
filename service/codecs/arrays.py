"""Decoders of `application/octet-stream` and `application/x-npy`, and encoder of `.npy`."""

import io
import math
from functools import lru_cache
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.codecs import levels
from service.codecs.drawings import Limits, Shape, check_count, slices, without_ones
from service.core.errors import MalformedRequest
from service.core.wording import number_text, quote

_MAX_NPY_HEADER_BYTES = 1000
_MAX_DIMS = 8
_MAX_SIDE = 2**63

_INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
_FLOATS = ("f2", "f4", "f8")
_DTYPES = [np.dtype(order + code) for order in "<>" for code in ("?", *_INTEGERS, *_FLOATS)]

_WIDE: dict[np.dtype[Any], bytes] = {
    np.dtype("<f8"): bytes([0, *range(0x3E, 0x41)]),
    np.dtype("<f4"): bytes([0, *range(0x35, 0x44)]),
    np.dtype("<i8"): b"",
    np.dtype("<i4"): b"",
    np.dtype("<i2"): b"",
}
"""Types of more than one byte in which raw arrays are sent by mistake. For floats, the values that the last
byte of a number 0..1 or 0..255 can have; of integers 0..255 every second byte is 0."""

_SAMPLE = 64
"""Numbers that decide for almost every body; as pixels they are in the middle of the first image."""

_LEAST_UNIT = 1e-6
"""Numbers 0..1 of an image are 0 or at least this; pixels that are read as floats are often far smaller."""


def read_octets(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.uint8]:
    """Decode images of one byte per number, in row-major order, one image after another.

    Args:
        body: The whole body.
        shape: Shape of one image of the model.
        limits: Limits of one request.

    Returns:
        (B, *shape) uint8, a view into the body.

    Raises:
        MalformedRequest: The body is empty, or not a whole number of images, or has numbers of another type.
        PayloadTooLarge: There are more images than the limit.
    """
    size = math.prod(shape)
    if not body or len(body) % size:
        raise MalformedRequest("Body", f"n x {size:,} bytes with n >= 1", f"{len(body):,} bytes")
    count = len(body) // size
    if count > 1:
        _check_bytes(body, size)
    check_count(count, limits)
    return np.ndarray((count, *shape), np.uint8, body)


def _check_bytes(body: bytes, size: int) -> None:
    """Raise MalformedRequest if raw bytes are evidently int16, float32 or other numbers wider than a byte.

    `size` is the number of elements of an image.
    """
    if len(body) % (2 * size):
        return
    middle = size // 2
    are_integers = not body[middle | 1 : middle + 2 * _SAMPLE : 2].strip(b"\0")
    for dtype, last_bytes in _WIDE.items():
        each = dtype.itemsize
        if len(body) % (size * each) or not (are_integers or last_bytes):
            continue
        sample = body[middle // each * each + each - 1 : middle + _SAMPLE * each : each]
        if last_bytes and sample.translate(None, last_bytes):
            continue
        if _is_array(np.frombuffer(body, dtype, size)) and _is_array(np.frombuffer(body, dtype)):
            got = f"{len(body):,} bytes of {dtype.name} (send such arrays as NumPy files)"
            raise MalformedRequest("Body", f"n x {size:,} bytes, one a pixel", got)


def _is_array(numbers: NDArray[Any]) -> bool:
    """Return whether numbers are an image's: 0..1 or 0..255, not all 0, and not single strokes of one byte.

    Bytes that are read as wider numbers are almost never so. Of a picture with ink only in every second
    column, or every fourth, they would be; then most neighbours of a number that is not 0 are 0.
    """
    if numbers.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            drawn = numbers >= _LEAST_UNIT
            if not (drawn | (numbers == 0)).all() or not (numbers <= 255).all():
                return False
    else:
        drawn = numbers != 0
        if levels.invalid_bytes(numbers).any():
            return False
    return bool(2 * np.count_nonzero(drawn[1:] & drawn[:-1]) > np.count_nonzero(drawn))


def read_npy(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.uint8]:
    """Decode a NumPy file: integers 0..255, floats 0..1 or booleans; one image or many, nested or flat.

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
        array: Integers 0..255, floats 0..1 or booleans; one image or many, nested or flat.
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
    count = image_count(array.shape, shape)
    check_count(count, limits)
    array = array.reshape(count, *shape)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array).view(np.uint8)
    images = np.empty(array.shape, np.uint8)
    for rows in slices(array):
        images[rows] = to_pixels(array[rows], first + rows.start)
    return images


def load_npy(body: bytes) -> NDArray[Any]:
    """Return the array of a NumPy file, a view of its bytes, after checking the header against their number.

    Raises:
        MalformedRequest: The file is invalid, or its dtype is none that images may have.
    """
    stream = io.BytesIO(body)
    header = read_header(stream)
    data = memoryview(body)[stream.tell() :]
    header.check_size(len(data))
    return np.frombuffer(data, header.dtype).reshape(header.shape, order="F" if header.is_fortran else "C")


@lru_cache(256)
def image_count(array_shape: tuple[int, ...], shape: Shape) -> int:
    """Return the number of images in an array.

    Sides of 1 do not matter: (n, 1, 28, 28) and (n, 28, 28, 1) are n images of 28 x 28.

    Args:
        array_shape: Shape of the array.
        shape: Shape of one image of the model.

    Raises:
        MalformedRequest: The array is empty, or has another shape.
    """
    size = math.prod(shape)
    sides = without_ones(array_shape)
    items = (without_ones(shape), without_ones((size,)))
    if sides in items:
        return 1
    if sides[1:] in items and sides[0] > 0:
        return sides[0]
    text = ", ".join(str(side) for side in shape)
    shapes = f"({text}), ({size},), (n, {text}) or (n, {size}), n >= 1, with any sides of 1"
    raise MalformedRequest("Array", f"of shape {shapes}", str(array_shape))


def to_pixels(part: NDArray[Any], start: int) -> NDArray[np.uint8]:
    """Return pixels from the numbers of consecutive images.

    Args:
        part: (B, *shape) of an accepted dtype.
        start: Index of the first image, for messages.

    Raises:
        MalformedRequest: A number is out of range.
    """
    if part.dtype == np.bool_:
        return part.astype(np.uint8) * np.uint8(255)
    is_float = part.dtype.kind == "f"
    bad = levels.invalid_units(part) if is_float else levels.invalid_bytes(part)
    if bad.any():
        row, *where = np.unravel_index(int(bad.argmax()), part.shape)
        index = ", ".join(str(i) for i in (row + start, *where))
        value = part[row, *where]
        hint = " (numbers 0..255 need an array of integers)" if is_float and 1 < value <= 255 else ""
        expected = f"a {'number 0..1' if is_float else 'whole number 0..255'}"
        raise MalformedRequest(f"Array[{index}]", expected, number_text(value) + hint)
    return levels.from_units(part) if is_float else levels.from_bytes(part)


class Header(NamedTuple):
    """Header of a NumPy file.

    Attributes:
        shape: Sides, at most eight.
        is_fortran: Whether elements are in column-major order.
        dtype: An accepted dtype.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check_size(self, got: int) -> None:
        """Raise MalformedRequest if `got` is not the number of bytes that the header declares."""
        if self.size != got:
            size = f"{self.size:,}" if self.size < _MAX_SIDE else f"more than {_MAX_SIDE:,}"
            expected = f"{size} bytes after its header of shape {quote(self.shape)}"
            raise MalformedRequest("Body", expected, f"{got:,}")


def read_header(stream: IO[bytes]) -> Header:
    """Read the header of a NumPy file; the stream is then at the first element.

    Raises:
        MalformedRequest: It is no such header, or has another dtype or an impossible shape.
    """
    expected = "a NumPy .npy file, format 1.0 or 2.0, of plain numbers"
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise MalformedRequest("Body", expected, f"format {version[0]}.{version[1]}")
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(stream, max_header_size=_MAX_NPY_HEADER_BYTES)
    except MalformedRequest:
        raise
    except Exception as error:  # the header is a Python literal; its parser raises exceptions of many types
        raise MalformedRequest("Body", expected, "another header") from error
    _check_dtype(dtype)
    if len(shape) > _MAX_DIMS or not all(type(side) is int and 0 <= side < _MAX_SIDE for side in shape):
        expected = f"of at most {_MAX_DIMS} dimensions, each a whole number from 0 on"
        raise MalformedRequest("Array", expected, quote(shape))
    return Header(shape, is_fortran, dtype)


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype not in _DTYPES:
        raise MalformedRequest("Array", "integers 0..255, floats 0..1 or booleans", quote(str(dtype)))


def write_npy(array: NDArray[Any]) -> bytes:
    """Encode an array as a NumPy file, in row-major order."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
