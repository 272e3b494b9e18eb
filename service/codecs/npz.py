"""Decoder of `.npz`: a zip archive with one NumPy file, as `numpy.savez` writes it.

A small archive can decompress to a thousand times its size. So the header of the array is checked first, and
its numbers are decompressed and converted to pixels few at a time.
"""

import io
import math
import zipfile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from service.codecs import arrays
from service.codecs.arrays import Header
from service.codecs.drawings import Limits, Shape, check_count
from service.core.errors import MalformedRequest, RequestError
from service.core.wording import list_text, quote

_EXPECTED = "a NumPy .npz file with one array"

_END_BYTES = 22
"""Size of the last record of a zip archive; NumPy writes no comment after it."""

_LOCATOR_BYTES = 20
"""Size of the record before it in the 64-bit form, which only archives of more than 4 GB need."""

_MAX_FILES, _MAX_DIRECTORY_BYTES = 16, 4096
"""Limits of the list of files, which `zipfile` reads as a whole."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_STEP_NUMBERS = 2**16
"""Numbers decompressed at once, unless an image has more."""

_MAX_FORTRAN_BYTES = 2**20
"""Size of the largest array in column-major order: it is decompressed as a whole."""


def read(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.uint8]:
    """Decode a `.npz` file with one array, which is as in `arrays.read_npy`.

    Args:
        body: The whole body.
        shape: Shape of one image of the model.
        limits: Limits of one request.

    Returns:
        (B, *shape) uint8.

    Raises:
        MalformedRequest: The file is invalid, or has not exactly one array, or one that cannot be decoded.
        PayloadTooLarge: There are more images than the limit.
    """
    _check_directory(body)
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            files = archive.infolist()
            if len(files) != 1 or not files[0].filename.endswith(".npy"):
                names = list_text([quote(file.filename.removesuffix(".npy")) for file in files])
                raise MalformedRequest("Body", _EXPECTED, names or "an empty one")
            if files[0].compress_type not in _METHODS:
                raise MalformedRequest("Body", "a .npz file that is deflated or stored", "another method")
            with archive.open(files[0]) as stream:
                return _images(stream, shape, limits)
    except RequestError:
        raise
    except Exception as error:  # `zipfile` and zlib raise exceptions of many types for a broken archive
        raise MalformedRequest("Body", _EXPECTED, "a broken one") from error


def _check_directory(body: bytes) -> None:
    """Raise MalformedRequest unless a zip archive ends with a short list of its files."""
    end = body[-_END_BYTES:]
    before = body[-_END_BYTES - _LOCATOR_BYTES : -_END_BYTES]
    if len(end) < _END_BYTES or end[:4] != b"PK\x05\x06" or before[:4] == b"PK\x06\x07":
        raise MalformedRequest("Body", _EXPECTED, "another file, or a part of one")
    count, size = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if count > _MAX_FILES or size > _MAX_DIRECTORY_BYTES:
        raise MalformedRequest("Body", _EXPECTED, f"one with {count:,} files")


def _images(stream: IO[bytes], shape: Shape, limits: Limits) -> NDArray[np.uint8]:
    header = arrays.read_header(stream)
    count = arrays.image_count(header.shape, shape)
    check_count(count, limits)
    images = np.empty((count, *shape), np.uint8)
    if header.is_fortran:
        images[:] = _fortran(stream, header, images.shape)
    else:
        each = max(1, _STEP_NUMBERS // math.prod(shape))
        for start in range(0, count, each):
            rows = images[start : start + each]
            data = _read(stream, header, rows.size * header.dtype.itemsize)
            rows[:] = arrays.to_pixels(np.frombuffer(data, header.dtype).reshape(rows.shape), start)
    if stream.read(1):  # also verifies the checksum
        raise MalformedRequest("Body", f"{header.size:,} bytes after the header of its array", "more")
    return images


def _fortran(stream: IO[bytes], header: Header, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the images of an array in column-major order."""
    if header.size > _MAX_FORTRAN_BYTES:
        expected = f"in row-major order, as an array of more than {_MAX_FORTRAN_BYTES:,} bytes"
        raise MalformedRequest(
            "Array", expected, "in column-major order (numpy.ascontiguousarray changes it)"
        )
    array = np.frombuffer(_read(stream, header, header.size), header.dtype)
    return arrays.to_pixels(array.reshape(header.shape, order="F").reshape(shape), 0)


def _read(stream: IO[bytes], header: Header, size: int) -> bytes:
    """Read exactly `size` bytes; raise MalformedRequest if the array ends before."""
    data = stream.read(size)
    if len(data) < size:
        raise MalformedRequest("Body", f"{header.size:,} bytes after the header of its array", "fewer")
    return data
