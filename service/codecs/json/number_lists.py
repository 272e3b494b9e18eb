"""Long lists of numbers in JSON, parsed to arrays.

`read_uint8` parses the digits with NumPy: it creates no Python object for a number and releases the global
interpreter lock. `read_numbers` parses other numbers in short pieces.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.codecs.json.list_spans import ListSpan, parse_items, parse_values

_STEP_BYTES = 65_536
"""Bytes parsed at once: they and the intermediate arrays fit into the processor's cache."""

_MAX_EXACT = 2**53
"""Largest magnitude up to which float64 represents every integer."""

_WHITE_SPACE = b" \t\r\n"
_DIGIT = ord("0")


def read_uint8(span: ListSpan, sides: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Parse a list of integers 0..255.

    Args:
        span: The list.
        sides: Shape of each item, a nested list; empty if items are numbers.

    Returns:
        All numbers, flat; None if the text is anything else, JSON or not.
    """
    item, repeated = _layout(sides)
    codes = np.frombuffer(span.text, np.uint8)
    start, stop = span.start + 1, span.stop - 1
    parts = []
    read = 0  # characters of the layout: brackets, commas, and one 0 for each number
    while start < stop:
        end = stop if stop - start <= _STEP_BYTES else span.text.rfind(b",", start, start + _STEP_BYTES) + 1
        found = _numbers(codes[start:end]) if end else None
        if found is None:
            return None
        numbers, layout = found
        place = read % item
        if not np.array_equal(layout, repeated[place : place + len(layout)]):
            return None
        parts.append(numbers)
        read += len(layout)
        start = end
    return np.concatenate(parts) if parts and (read + 1) % item == 0 else None


@lru_cache(maxsize=16)
def _layout(sides: tuple[int, ...]) -> tuple[int, NDArray[np.uint8]]:
    """Return the layout of an item, each number replaced by 0, and its comma: its length, and repetitions.

    The repetitions are long enough to compare a step at any position.
    """
    item = b"0"
    for side in reversed(sides):
        item = b"[%b]" % b",".join([item] * side)
    item += b","
    return len(item), np.frombuffer(item * (_STEP_BYTES // len(item) + 2), np.uint8)


def _numbers(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return the numbers in a text, and its layout: the text without white space, each number replaced by 0.

    None if a number is above 255 or has leading zeros, or if there is a control character that JSON forbids.
    """
    white = np.frombuffer(_WHITE_SPACE, np.uint8)
    if codes.min() < _WHITE_SPACE[0] and not np.isin(codes[codes < _WHITE_SPACE[0]], white).all():
        return None
    digits = codes - np.uint8(_DIGIT)
    is_digit = digits < 10
    digits *= is_digit
    is_last = is_digit.copy()
    is_last[:-1] &= ~is_digit[1:]
    in_layout = codes > _WHITE_SPACE[0]
    in_layout &= ~is_digit
    in_layout |= is_last
    layout = (codes - digits).take(np.flatnonzero(in_layout))
    two = is_digit[1:] & is_digit[:-1]  # two digits from this position on
    three = two[1:] & two[:-1]
    leading_zero = (codes[:-1] == _DIGIT) & two
    leading_zero[1:] &= ~is_digit[:-2]
    if leading_zero.any() or (three[1:] & three[:-1]).any():
        return None
    hundreds = digits[:-2] * three
    numbers = digits.copy()
    numbers[1:] += digits[:-1] * np.uint8(10)
    numbers[2:] += hundreds * np.uint8(100)
    if ((hundreds > 2) | ((hundreds == 2) & (numbers[2:] < 200))).any():  # uint8 wraps around at 256
        return None
    return numbers.take(np.flatnonzero(is_last)), layout


def read_numbers(span: ListSpan, sides: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Parse a list of numbers or of booleans.

    Args:
        span: The list.
        sides: Shape of each item, a nested list; empty if items are numbers.
        dtype: Boolean, integer or real floating-point.

    Returns:
        All numbers, flat, of `dtype`; None if there is anything else, JSON or not, or a number out of range.
    """
    if (
        dtype.kind != "b"
        and max(span.text.find(letter, span.start, span.stop) for letter in (b"r", b"f")) >= 0
    ):
        return None  # true or false, which NumPy would convert to 1 and 0
    found = bytearray()  # grows in place: concatenating parts would take twice the memory
    try:
        for items in parse_items(span, sides) if sides else _flat_parts(span):
            part = np.array(items)
            converted = _converted(part, dtype) if part.shape[1:] == sides else None
            if converted is None:
                return None
            found += converted.tobytes()
    except (orjson.JSONDecodeError, ValueError):  # ValueError: lists of different lengths
        return None
    return np.frombuffer(found, dtype)


def _converted(part: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Convert numbers to another dtype; return None if one is out of range or not an integer as required."""
    if dtype.kind == "b":
        return part if part.dtype.kind == "b" else None
    if part.dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            converted = part.astype(np.float64).astype(dtype)
        return converted if np.isfinite(converted).all() else None
    bounds = np.iinfo(dtype)
    least, most = bounds.min, bounds.max
    if part.dtype.kind == "f":
        least, most = max(least, -_MAX_EXACT), min(most, _MAX_EXACT)
        if not (part == np.rint(part)).all():
            return None
    return part.astype(dtype) if ((part >= least) & (part <= most)).all() else None


def _flat_parts(span: ListSpan) -> Iterator[list[Any]]:
    """Parse a list without nested lists in steps; yields and raises as `parse_items`."""
    start, stop = span.start + 1, span.stop - 1
    while stop - start > _STEP_BYTES:
        end = span.text.find(b",", start + _STEP_BYTES, stop)
        if end < 0:
            break
        yield parse_values(span.text[start:end], ())
        start = end + 1
    yield parse_values(span.text[start:stop], ())
