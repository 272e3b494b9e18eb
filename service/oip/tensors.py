"""Tensors of the Open Inference Protocol: datatypes, and contents to arrays and back.

The names and sizes of the datatypes are the protocol's; elements of binary contents are little-endian, row by
row, and a BYTES element has its length before it, in four bytes.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import from_unit, slices
from service.core.errors import MalformedRequest, TensorMismatch
from service.core.wording import quote

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""NumPy's name of each datatype of numbers."""

BF16 = "BF16"
"""The datatype that NumPy lacks: the upper half of an FP32."""

BYTES = "BYTES"
"""The datatype whose elements are bytes of any length."""

DATATYPES = (*DTYPES, BF16, BYTES)

_KNOWN = frozenset(DATATYPES)

_NAMES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}

_MOST_DIMENSIONS = 8

_VALUES_AT_ONCE = 65_536
"""Elements that are converted at once where each is an object of Python's."""

_LENGTH = struct.Struct("<I")


@lru_cache
def datatype_of(dtype: np.dtype[Any] | str) -> str:
    """Return the protocol's name of a NumPy dtype of numbers: `FP32` for float32."""
    name = np.dtype(dtype).name
    return _NAMES.get(name, name.upper())


_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class Tensor(NamedTuple):
    """A tensor that a caller sent; what is in it has not been looked at yet.

    Attributes:
        name: As the caller calls it.
        datatype: One of `DATATYPES`.
        shape: Numbers of at least 0, as many as the protocol's clients ever need.
        content: Its elements: binary, as the module says; or one after the other; or, from JSON, lists
            nested as its shape says.
        parameters: What the caller says of it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: memoryview | Sequence[Any]
    parameters: Mapping[str, Any] = _NO_PARAMETERS

    @property
    def title(self) -> str:
        """Its name where a message begins."""
        return f"Input {quote(self.name)}"

    @property
    def named(self) -> str:
        """Its name within a message."""
        return f"input {quote(self.name)}"

    @property
    def size(self) -> int:
        """How many elements its shape declares."""
        return math.prod(self.shape)

    def kind(self) -> str:
        """Say shape and datatype for messages: `(3, 784) FP32`."""
        return f"{self.shape} {self.datatype}"


def check(tensor: Tensor) -> Tensor:
    """Return a tensor of a known datatype and a plausible shape.

    Raises:
        MalformedRequest: Of another.
    """
    if tensor.datatype not in _KNOWN:
        raise MalformedRequest(
            f"Datatype of {tensor.named}", f"one of {', '.join(DATATYPES)}", quote(tensor.datatype)
        )
    shape = tensor.shape
    is_plausible = len(shape) <= _MOST_DIMENSIONS
    for side in shape if is_plausible else ():
        is_plausible &= isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 2**31
    if not is_plausible:
        expected = f"at most {_MOST_DIMENSIONS} whole numbers of 0 to 2147483647"
        raise MalformedRequest(f"Shape of {tensor.named}", expected, quote(list(shape)))
    return tensor


def numbers(tensor: Tensor) -> NDArray[Any]:
    """Return the elements of a tensor of numbers.

    Args:
        tensor: As `check` returned it; not BYTES.

    Returns:
        Of its shape and datatype; binary contents are a view, and nothing larger than the contents is ever
        allocated.

    Raises:
        TensorMismatch: It has more or fewer elements than its shape says.
        MalformedRequest: An element is no number, or does not fit the datatype.
    """
    content = tensor.content
    if tensor.datatype == BF16:
        return _widened(_halves(tensor))
    dtype = DTYPES[tensor.datatype]
    if isinstance(content, memoryview):
        expected = tensor.size * dtype.itemsize
        if content.nbytes != expected:
            raise TensorMismatch(
                tensor.title, f"{expected:,} bytes for {tensor.kind()}", f"{content.nbytes:,}"
            )
        if tensor.datatype == "BOOL":
            array = np.frombuffer(content, np.uint8)
            if array.size and array.max() > 1:
                raise MalformedRequest(f"Each element of {tensor.named}", "a byte 0 or 1", "another")
            return array.view(np.bool_).reshape(tensor.shape)
        return np.frombuffer(content, dtype).reshape(tensor.shape)
    flat = _flat(tensor, content)
    if len(flat) != tensor.size:
        raise TensorMismatch(tensor.title, f"{tensor.size:,} elements for {tensor.kind()}", f"{len(flat):,}")
    found = np.empty(len(flat), dtype)
    for start in range(0, len(flat), _VALUES_AT_ONCE):
        # As a list: of a message's elements NumPy would cut off what does not fit.
        values = list(flat[start : start + _VALUES_AT_ONCE])
        found[start : start + len(values)] = _from_values(tensor, values, start, dtype)
    return found.reshape(tensor.shape)


def _halves(tensor: Tensor) -> NDArray[np.uint16]:
    """Return the elements of a BF16 tensor as what they are of: the upper halves of FP32."""
    if not isinstance(tensor.content, memoryview):
        raise TensorMismatch(f"Data of {tensor.named}", f"binary for {BF16}", "numbers")
    return np.asarray(numbers(tensor._replace(datatype="UINT16")), np.uint16)


def _widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (halves.astype(np.uint32) << 16).view(np.float32)


def blobs(tensor: Tensor) -> list[bytes]:
    """Return the elements of a BYTES tensor of one dimension.

    Args:
        tensor: As `check` returned it, with binary contents or one `bytes` after the other.

    Raises:
        TensorMismatch: It has more or fewer elements than its shape says, or their lengths lie.
    """
    content = tensor.content
    elements = _unpack(tensor, content) if isinstance(content, memoryview) else iter(content)
    found: list[bytes] = list(islice(elements, tensor.size + 1))
    if len(found) != tensor.size:
        got = f"{len(found):,}" if len(found) < tensor.size else "more"
        raise TensorMismatch(tensor.title, f"{tensor.size:,} elements for {tensor.kind()}", got)
    return found


def pixels(tensor: Tensor, is_unit: bool) -> NDArray[np.uint8]:
    """Return numbers as pixels.

    Args:
        tensor: As `check` returned it; not BYTES.
        is_unit: Whether its numbers are 0..1 for 0..255, each to be rounded to the nearest of 256 greys.

    Returns:
        Of its shape.

    Raises:
        TensorMismatch: As `numbers`.
        MalformedRequest: As `numbers`; or a number is no whole one 0..255, or none 0..1.
    """
    array: NDArray[Any] = _halves(tensor) if tensor.datatype == BF16 else numbers(tensor)
    if array.dtype == np.bool_ and not is_unit:
        raise TensorMismatch(tensor.title, 'UINT8 pixels, or BOOL with the parameter "scale": "unit"', "BOOL")
    if array.dtype == np.uint8 and not is_unit:
        return array
    flat = array.reshape(-1)
    found = np.empty(array.size, np.uint8)
    convert = _from_units if is_unit else _from_bytes
    for part in slices(flat):
        values = _widened(flat[part]) if tensor.datatype == BF16 else flat[part]
        found[part] = convert(tensor, values, part.start)
    return found.reshape(array.shape)


def _from_units(tensor: Tensor, part: NDArray[Any], start: int) -> NDArray[np.uint8]:
    """Return consecutive numbers 0..1 as pixels; `start` is the place of the first one in the tensor."""
    bad = ~((part >= 0) & (part <= 1))  # written so that NaN is bad
    if bad.any():
        raise _misfit(tensor, part, bad, start, "a number 0..1")
    return from_unit(part)


def _from_bytes(tensor: Tensor, part: NDArray[Any], start: int) -> NDArray[np.uint8]:
    """Return whole numbers 0..255 as pixels; `start` as `_from_units` has it."""
    bad = ~((part >= 0) & (part <= 255))
    if part.dtype.kind == "f":
        bad |= part != np.rint(part)
    if bad.any():
        hint = ' (numbers 0..1 need the parameter "scale": "unit")' if part.dtype.kind == "f" else ""
        raise _misfit(tensor, part, bad, start, f"a whole number 0..255{hint}")
    return part.astype(np.uint8)


def pack(elements: Sequence[bytes]) -> bytes:
    """Write the elements of a BYTES tensor as binary contents."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def _unpack(tensor: Tensor, content: memoryview) -> Iterator[bytes]:
    start = 0
    while start < content.nbytes:
        if content.nbytes - start < _LENGTH.size:
            raise TensorMismatch(tensor.title, "elements with their length in four bytes", "fewer bytes")
        (length,) = _LENGTH.unpack_from(content, start)
        start += _LENGTH.size
        if length > content.nbytes - start:
            got = f"{content.nbytes - start:,} at its end"
            raise TensorMismatch(tensor.title, f"{length:,} bytes in an element that says so", got)
        yield bytes(content[start : start + length])
        start += length


def _flat(tensor: Tensor, content: Sequence[Any]) -> Sequence[Any]:
    """Return the elements of lists that are nested as the shape says, or flat already."""
    if not content or not isinstance(content[0], list):
        return content
    expected = f"flat, or nested as its shape {tensor.shape} says"
    if len(content) != (tensor.shape[0] if tensor.shape else 1):
        raise TensorMismatch(f"Data of {tensor.named}", expected, f"{len(content):,} lists")
    for width in tensor.shape[1:]:
        for row in content:
            if not isinstance(row, list) or len(row) != width:
                got = f"a list of {len(row):,}" if isinstance(row, list) else quote(row)
                raise TensorMismatch(f"Data of {tensor.named}", expected, f"{got} where {width} should be")
        content = list(chain.from_iterable(content))
    return content


def _from_values(tensor: Tensor, flat: list[Any], start: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return consecutive elements as an array; `start` is the place of the first one in the tensor."""
    kinds = set(map(type, flat))
    if kinds <= ({bool} if dtype.kind == "b" else {int, float}):
        if dtype == np.uint8 and kinds == {int}:
            try:
                return np.frombuffer(bytes(flat), np.uint8)
            except ValueError:  # one of them is no byte; below it is looked for
                pass
        array = _fit(flat, dtype)
        if array is not None:
            return array
    index = next(i for i, value in enumerate(flat) if _fit([value], dtype) is None)
    where = ", ".join(str(i) for i in np.unravel_index(start + index, tensor.shape))
    if dtype.kind == "b":
        expected = "true or false"
    elif dtype.kind == "f":
        expected = f"a number that fits {tensor.datatype}"
    else:
        bounds = np.iinfo(dtype)
        expected = f"a whole number {bounds.min}..{bounds.max}, for {tensor.datatype}"
    raise MalformedRequest(f"Element [{where}] of {tensor.named}", expected, _quote_value(flat[index]))


def _fit(values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return numbers as an array, or None if one does not fit."""
    kinds = set(map(type, values))
    if dtype.kind == "b":
        return np.array(values, dtype) if kinds <= {bool} else None
    if not kinds <= {int, float}:
        return None
    try:
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = np.array(values, np.float64).astype(dtype)
            return array if np.isfinite(array).all() else None
        if float in kinds:
            if not all(value == int(value) for value in values):
                return None
            values = [int(value) for value in values]
        return np.array(values, dtype)
    except OverflowError:  # NumPy refuses whole numbers that do not fit
        return None


def _misfit(
    tensor: Tensor, part: NDArray[Any], bad: NDArray[np.bool_], start: int, expected: str
) -> MalformedRequest:
    place = int(bad.argmax())
    index = ", ".join(str(i) for i in np.unravel_index(start + place, tensor.shape))
    return MalformedRequest(f"Element [{index}] of {tensor.named}", expected, f"{part[place]:g}")


def _quote_value(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "an object" if isinstance(value, dict) else quote(value)
