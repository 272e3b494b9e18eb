"""Elements of tensors: from binary, JSON or protobuf to arrays, and from arrays to binary.

Binary elements are little-endian, in row-major order; a BYTES element follows its length, a 32-bit integer.
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.codecs import base64_text, levels, signatures
from service.codecs.drawings import slices
from service.core.errors import MalformedRequest, TensorMismatch
from service.core.wording import number_text, quote
from service.oip.tensors import BF16, DTYPES, Tensor

_VALUES_AT_ONCE = 65_536
"""Number of Python objects that are converted to an array at a time."""

_LENGTH = struct.Struct("<I")

_IS_LITTLE_ENDIAN = sys.byteorder == "little"


def numbers(tensor: Tensor) -> NDArray[Any]:
    """Return the elements of a numeric tensor as an array.

    Args:
        tensor: As `tensors.check` returned it; not BYTES.

    Returns:
        An array of the tensor's shape and datatype (float32 for BF16), a view if the elements are binary. No
        memory is allocated for elements that a shape declares and that were not sent.

    Raises:
        TensorMismatch: The number of elements does not match the shape.
        MalformedRequest: An element is no number, or is out of range for the datatype.
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
        # As a list: from a protobuf field NumPy would wrap values that are out of range.
        values = list(flat[start : start + _VALUES_AT_ONCE])
        found[start : start + len(values)] = _from_values(tensor, values, start, dtype)
    return found.reshape(tensor.shape)


def _halves(tensor: Tensor) -> NDArray[np.uint16]:
    """Return the elements of a BF16 tensor as their 16 bits."""
    if not isinstance(tensor.content, memoryview):
        raise TensorMismatch(f"Data of {tensor.named}", f"binary for {BF16}", "numbers")
    return np.asarray(numbers(tensor._replace(datatype="UINT16")), np.uint16)


def _widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert BF16 to float32."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def blobs(tensor: Tensor) -> list[bytes]:
    """Return the elements of a BYTES tensor.

    Args:
        tensor: As `tensors.check` returned it; its content is binary, or a sequence of `bytes`.

    Returns:
        The elements; those that are the base64 of an image file, as MLServer's codec writes them, decoded.

    Raises:
        TensorMismatch: The number of elements does not match the shape, or the length of an element is wrong.
        MalformedRequest: An element begins as base64 and is none.
    """
    content = tensor.content
    elements = _unpack(tensor, content) if isinstance(content, memoryview) else iter(content)
    found: list[bytes] = []
    for row, element in enumerate(
        islice(elements, tensor.size + 1)
    ):  # one more shows that there are too many
        is_text = signatures.may_be_base64_picture(element)
        field = f"Element [{row}] of {tensor.named}"
        found.append(base64_text.decode(element, field) if is_text else bytes(element))
    if len(found) != tensor.size:
        got = f"{len(found):,}" if len(found) < tensor.size else "more"
        raise TensorMismatch(tensor.title, f"{tensor.size:,} elements for {tensor.kind()}", got)
    return found


def pixels(tensor: Tensor, is_unit: bool) -> NDArray[np.uint8]:
    """Return the elements of a numeric tensor as pixels.

    Args:
        tensor: As `tensors.check` returned it; not BYTES.
        is_unit: Whether the elements are 0..1 and not 0..255; they are then scaled and rounded.

    Returns:
        A uint8 array of the tensor's shape.

    Raises:
        TensorMismatch: As `numbers`; or the datatype is BOOL and the elements are not 0..1.
        MalformedRequest: As `numbers`; or an element is no whole number 0..255, or not within 0..1.
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
    """Convert consecutive elements 0..1 to pixels; `start` is the flat index of the first one."""
    bad = levels.invalid_units(part)
    if bad.any():
        raise _invalid_element(tensor, part, bad, start, "a number 0..1")
    return levels.from_units(part)


def _from_bytes(tensor: Tensor, part: NDArray[Any], start: int) -> NDArray[np.uint8]:
    """Convert consecutive elements 0..255 to pixels; `start` is the flat index of the first one."""
    bad = levels.invalid_bytes(part)
    if bad.any():
        hint = ' (numbers 0..1 need the parameter "scale": "unit")' if part.dtype.kind == "f" else ""
        raise _invalid_element(tensor, part, bad, start, f"a whole number 0..255{hint}")
    return levels.from_bytes(part)


def encode(content: NDArray[Any] | Sequence[bytes]) -> bytes:
    """Encode numbers, or the elements of a BYTES tensor, as binary."""
    if not isinstance(content, np.ndarray):
        return b"".join(_LENGTH.pack(len(element)) + element for element in content)
    if _IS_LITTLE_ENDIAN and content.dtype.isnative:
        return content.tobytes()
    return content.astype(content.dtype.newbyteorder("<"), copy=False).tobytes()


def _unpack(tensor: Tensor, content: memoryview) -> Iterator[memoryview]:
    """Yield the elements of a binary BYTES tensor."""
    start = 0
    while start < content.nbytes:
        if content.nbytes - start < _LENGTH.size:
            raise TensorMismatch(tensor.title, "elements with their length in four bytes", "fewer bytes")
        (length,) = _LENGTH.unpack_from(content, start)
        start += _LENGTH.size
        if length > content.nbytes - start:
            got = f"{content.nbytes - start:,} at its end"
            raise TensorMismatch(tensor.title, f"{length:,} bytes, the declared length of an element", got)
        yield content[start : start + length]
        start += length


def _flat(tensor: Tensor, content: Sequence[Any]) -> Sequence[Any]:
    """Flatten lists that are nested as the shape says; return a flat sequence unchanged."""
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
    """Convert consecutive elements to an array; `start` is the flat index of the first one."""
    kinds = set(map(type, flat))
    if kinds <= ({bool} if dtype.kind == "b" else {int, float}):
        if dtype == np.uint8 and kinds == {int}:
            try:
                return np.frombuffer(bytes(flat), np.uint8)
            except ValueError:  # an element is out of range; it is found below
                pass
        array = _convert(flat, dtype)
        if array is not None:
            return array
    index = next(i for i, value in enumerate(flat) if _convert([value], dtype) is None)
    where = ", ".join(str(i) for i in np.unravel_index(start + index, tensor.shape))
    if dtype.kind == "b":
        expected = "true or false"
    elif dtype.kind == "f":
        expected = f"a number that fits {tensor.datatype}"
    else:
        bounds = np.iinfo(dtype)
        expected = f"a whole number {bounds.min}..{bounds.max}, for {tensor.datatype}"
    raise MalformedRequest(f"Element [{where}] of {tensor.named}", expected, _quote_value(flat[index]))


def _convert(values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return values as an array; None if one has a wrong type or is out of range."""
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
    except OverflowError:  # a whole number is out of range
        return None


def _invalid_element(
    tensor: Tensor, part: NDArray[Any], bad: NDArray[np.bool_], start: int, expected: str
) -> MalformedRequest:
    place = int(bad.argmax())
    index = ", ".join(str(i) for i in np.unravel_index(start + place, tensor.shape))
    return MalformedRequest(f"Element [{index}] of {tensor.named}", expected, number_text(part[place]))


def _quote_value(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "an object" if isinstance(value, dict) else quote(value)
