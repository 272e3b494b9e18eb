"""Long lists in JSON documents: found in the text, left out of it, and parsed item by item.

Parsing millions of numbers at once would hold Python's global interpreter lock for hundreds of milliseconds.
A document without its list is short, and the items of the list are parsed one by one.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from service.codecs.json import parser

LONG_BYTES = 8192
"""Size from which on a document is searched for a long list before it is parsed."""

_HEAD_BYTES = 4096
"""The list must begin within so many bytes of the document's start."""

_MAX_FIRST_ITEM_BYTES = 1 << 20
"""If the first item of a list is longer, the list is parsed as a whole."""

_PLACEHOLDER = secrets.token_hex(16)
"""String that replaces the list in the document; no client can guess it."""

_WHITE_SPACE = b" \t\r\n"


@dataclass(frozen=True)
class ListSpan:
    """Position of a list in a JSON text.

    Attributes:
        text: The whole text.
        start: Position of its opening bracket.
        stop: Position after its closing bracket.
    """

    text: bytes
    start: int
    stop: int

    def depth(self) -> int:
        """Return the number of lists that are nested at its start: 1 if its first item is not a list."""
        head = self.text[self.start : min(self.stop, self.start + 256)].translate(None, _WHITE_SPACE)
        return len(head) - len(head.lstrip(b"["))


def find_list(text: bytes, member: bytes, is_last: bool) -> ListSpan | None:
    """Find the list that is the value of a member.

    The result is a guess until `parse_rest` succeeds and `is_placeholder` finds the placeholder where the
    list was: replacing one JSON value with another keeps a document valid.

    Args:
        text: A JSON document.
        member: Name of the member.
        is_last: Whether the list ends at the last `]` of the document; otherwise at the last `]` before the
            next string or `}`, so the list must consist of numbers and lists.

    Returns:
        Its position; None if it is not found.
    """
    found = _member(member).search(text, 0, _HEAD_BYTES)
    if found is None:
        return None
    start = found.end() - 1
    ends = (
        [len(text)] if is_last else [at for at in (text.find(b'"', start), text.find(b"}", start)) if at > 0]
    )
    stop = text.rfind(b"]", start, min(ends, default=0)) + 1
    return ListSpan(text, start, stop) if stop else None


@lru_cache
def _member(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*\[' % name)


def parse_rest(span: ListSpan) -> Any:  # noqa: ANN401 - JSON can be anything; every caller checks it
    """Parse the document with a placeholder instead of the list; return None if it is not JSON.

    Raises:
        PayloadTooLarge: Parsing may take more memory than the size of the text allows.
    """
    rest = b'%b"%b"%b' % (span.text[: span.start], _PLACEHOLDER.encode(), span.text[span.stop :])
    parser.check_memory(rest)
    try:
        return orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None


def is_placeholder(value: object) -> bool:
    """Return whether a value of a parsed document is the placeholder of a list."""
    return value == _PLACEHOLDER


def parse_items(span: ListSpan, shape: tuple[int, ...]) -> Iterator[list[Any]]:
    """Parse a list in pieces, divided where its items seem to end.

    Each piece is parsed as a list of its own. If all pieces are valid JSON, their items are those of the
    whole list, wherever it was divided.

    Args:
        span: The list.
        shape: Shape of one item, if items are images.

    Yields:
        Consecutive items, usually one.

    Raises:
        PayloadTooLarge: Parsing a piece may take more memory than its size allows.
        orjson.JSONDecodeError: The list is not JSON, or was divided within an item.
    """
    text, stop = span.text, span.stop - 1
    at = span.start + 1
    border = _border(span.depth() - 1).search(text, at, min(stop, at + _MAX_FIRST_ITEM_BYTES))
    if border is not None:
        between, before, after = border[0], len(border[1]), len(border[2])
        found = border.start()
        while found >= 0:
            yield parse_values(text[at : found + before], shape)
            at = found + len(between) - after
            found = text.find(between, at + after, stop)
    yield parse_values(text[at:stop], shape)


def parse_values(values: bytes, shape: tuple[int, ...]) -> list[Any]:
    """Parse JSON values that are separated by commas; `shape` and errors as in `parse_items`."""
    parser.check_memory(values, shape)
    found: list[Any] = orjson.loads(b"[%b]" % values)
    return found


@lru_cache(maxsize=16)
def _border(depth: int) -> re.Pattern[bytes]:
    """Return a pattern of the text between two items that are nested lists of a depth."""
    white = rb"[ \t\r\n]*"
    ends, begins = white.join([rb"\]"] * depth), white.join([rb"\["] * depth)
    return re.compile(rb"(%b)%b,%b(%b)" % (ends, white, white, begins))
