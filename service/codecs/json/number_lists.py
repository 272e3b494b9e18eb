"""A long list in a JSON document: cut out of it, and read without a Python object for each number.

Parsing millions of numbers at once would hold Python's lock, and all other requests with it, for hundreds of
milliseconds. NumPy lets go of the lock while it counts; and a document whose list was cut out is short.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.codecs.json import memory

_HEAD_BYTES = 4096
"""Where a list is looked for: so far from the document's beginning at most."""

_STEP_BYTES = 65_536
"""Text that is read at once: it and what is made of it stay in the processor's cache."""

_MOST_BORDER_BYTES = 1 << 20
"""How long the first of several items may be for the others to be read one by one."""

_TOKEN = secrets.token_hex(16)
"""Stands for a list that was cut out; no document can hold it."""

_EXACT = 2**53
"""Up to where double precision holds every whole number."""

_WHITE = b" \t\r\n"
_DIGIT = ord("0")


@dataclass(frozen=True)
class Cut:
    """A list that was cut out of a document.

    Attributes:
        body: The whole text.
        start: Where the list begins, at its bracket.
        stop: Where it ends, behind its bracket.
    """

    body: bytes
    start: int
    stop: int

    def depth(self) -> int:
        """Return how many lists begin where it does: 1 if it holds no others."""
        head = self.body[self.start : min(self.stop, self.start + 256)].translate(None, _WHITE)
        return len(head) - len(head.lstrip(b"["))


def load_rest(cut: Cut) -> Any:  # noqa: ANN401 - JSON can be anything; every caller checks it
    """Parse a document that a list was cut out of; None if it is no JSON.

    Raises:
        PayloadTooLarge: Parsing it may take more memory than its size allows.
    """
    rest = b'%b"%b"%b' % (cut.body[: cut.start], _TOKEN.encode(), cut.body[cut.stop :])
    memory.check(rest)
    try:
        return orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None


def is_cut(value: object) -> bool:
    """Tell whether a value of a parsed document stands for the list that was cut out of its text."""
    return value == _TOKEN


def cut(body: bytes, member: bytes, is_last: bool) -> Cut | None:
    """Find the list that a member of an object is.

    Nothing is certain before the rest is parsed and `is_cut` finds the list in its place: a JSON value with
    another value in place of one of its values is one again.

    Args:
        body: A document.
        member: The member's name.
        is_last: Whether the list ends with the last bracket of the document; otherwise it ends with the last
            one before any text or closing brace, so it holds nothing but numbers and lists.

    Returns:
        Where it seems to be; None if it is not found.
    """
    found = _member(member).search(body, 0, _HEAD_BYTES)
    if found is None:
        return None
    start = found.end() - 1
    ends = (
        [len(body)] if is_last else [at for at in (body.find(b'"', start), body.find(b"}", start)) if at > 0]
    )
    stop = body.rfind(b"]", start, min(ends, default=0)) + 1
    return Cut(body, start, stop) if stop else None


@lru_cache
def _member(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*\[' % name)


def whole_numbers(body: bytes, start: int, stop: int, sides: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Read items, each of so many whole numbers 0..255 as its sides say, joined by commas.

    Args:
        body: A text.
        start: Where the first item begins in it.
        stop: Where the last one ends.
        sides: Of the nested lists that every item is; none for items that are numbers.

    Returns:
        All numbers, one after the other; None if the text is anything else, JSON or not.
    """
    item, repeated = _layout(sides)
    text = np.frombuffer(body, np.uint8)
    parts = []
    read = 0  # characters that count: brackets, commas, and one digit for every number
    while start < stop:
        end = stop if stop - start <= _STEP_BYTES else body.rfind(b",", start, start + _STEP_BYTES) + 1
        found = _numbers(text[start:end]) if end else None
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
    """Return how long an item and its comma are, each number written as 0, and enough of them in a row."""
    item = b"0"
    for side in reversed(sides):
        item = b"[%b]" % b",".join([item] * side)
    item += b","
    return len(item), np.frombuffer(item * (_STEP_BYTES // len(item) + 2), np.uint8)


def _numbers(text: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return the numbers of a text, and the text with 0 for each of them and without white space.

    Whatever is no digit counts as what stands between numbers. None if a number is above 255 or begins with a
    0 that is not all of it, or if there is a character that no JSON holds.
    """
    if text.min() < _WHITE[0] and not np.isin(text[text < _WHITE[0]], np.frombuffer(_WHITE, np.uint8)).all():
        return None
    digits = text - np.uint8(_DIGIT)
    is_digit = digits < 10
    digits *= is_digit
    is_last = is_digit.copy()
    is_last[:-1] &= ~is_digit[1:]
    counts = text > _WHITE[0]
    counts &= ~is_digit
    counts |= is_last
    layout = (text - digits).take(np.flatnonzero(counts))
    two = is_digit[1:] & is_digit[:-1]  # as all of these, by the first of them
    three = two[1:] & two[:-1]
    zero_first = (text[:-1] == _DIGIT) & two
    zero_first[1:] &= ~is_digit[:-2]
    if zero_first.any() or (three[1:] & three[:-1]).any():
        return None
    hundreds = digits[:-2] * three
    numbers = digits.copy()
    numbers[1:] += digits[:-1] * np.uint8(10)
    numbers[2:] += hundreds * np.uint8(100)
    if ((hundreds > 2) | ((hundreds == 2) & (numbers[2:] < 200))).any():  # from 256 on they begin at 0 again
        return None
    return numbers.take(np.flatnonzero(is_last)), layout


def numbers(cut: Cut, sides: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Read a list of any numbers, or of true and false.

    Args:
        cut: The list.
        sides: Of the nested lists that every item is; none for items that are numbers.
        dtype: Of the numbers: of any kind of NumPy's but complex ones.

    Returns:
        All numbers, one after the other, of that dtype; None if there is anything else among them, JSON or
        not, or a number that does not fit.
    """
    if dtype.kind != "b" and max(cut.body.find(letter, cut.start, cut.stop) for letter in (b"r", b"f")) >= 0:
        return None  # true or false, which NumPy would take for 1 and 0
    found = bytearray()  # grows in place: joining parts would take twice the memory
    try:
        for items in pieces(cut, sides) if sides else _stretches(cut):
            part = np.array(items)
            fitted = _fitted(part, dtype) if part.shape[1:] == sides else None
            if fitted is None:
                return None
            found += fitted.tobytes()
    except (orjson.JSONDecodeError, ValueError):  # lists of different lengths among them
        return None
    return np.frombuffer(found, dtype)


def _fitted(part: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return numbers in another dtype, or None if one of them does not fit, or may not."""
    if dtype.kind == "b":
        return part if part.dtype.kind == "b" else None
    if part.dtype.kind not in "iuf":
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            fitted = part.astype(np.float64).astype(dtype)
        return fitted if np.isfinite(fitted).all() else None
    bounds = np.iinfo(dtype)
    least, most = bounds.min, bounds.max
    if part.dtype.kind == "f":
        least, most = max(least, -_EXACT), min(most, _EXACT)
        if not (part == np.rint(part)).all():
            return None
    return part.astype(dtype) if ((part >= least) & (part <= most)).all() else None


def _stretches(cut: Cut) -> Iterator[list[Any]]:
    """Parse a list that holds no others, as `pieces` does, a step at once."""
    start, stop = cut.start + 1, cut.stop - 1
    while stop - start > _STEP_BYTES:
        end = cut.body.find(b",", start + _STEP_BYTES, stop)
        if end < 0:
            break
        yield _loaded(cut.body[start:end], ())
        start = end + 1
    yield _loaded(cut.body[start:stop], ())


def _loaded(items: bytes, shape: tuple[int, ...]) -> list[Any]:
    memory.check(items, shape)
    found: list[Any] = orjson.loads(b"[%b]" % items)
    return found


def pieces(cut: Cut, shape: tuple[int, ...]) -> Iterator[list[Any]]:
    """Parse a list piece by piece, divided where its items seem to end.

    Pieces of a text that are values, each, joined by commas and enclosed in brackets, are a list of exactly
    these values: wherever it was divided, no list is understood otherwise than as a whole.

    Args:
        cut: The list.
        shape: Of one item, if it is an image.

    Yields:
        Its items, most often one at once.

    Raises:
        PayloadTooLarge: Parsing a piece may take more memory than its size allows.
        orjson.JSONDecodeError: It is no JSON, or was divided within an item.
    """
    body, stop = cut.body, cut.stop - 1
    at = cut.start + 1
    border = _border(cut.depth() - 1).search(body, at, min(stop, at + _MOST_BORDER_BYTES))
    if border is not None:
        text, before, behind = border[0], len(border[1]), len(border[2])
        found = border.start()
        while found >= 0:
            yield _loaded(body[at : found + before], shape)
            at = found + len(text) - behind
            found = body.find(text, at + behind, stop)
    yield _loaded(body[at:stop], shape)


@lru_cache(maxsize=16)
def _border(depth: int) -> re.Pattern[bytes]:
    white = rb"[ \t\r\n]*"
    ends, begins = white.join([rb"\]"] * depth), white.join([rb"\["] * depth)
    return re.compile(rb"(%b)%b,%b(%b)" % (ends, white, white, begins))
