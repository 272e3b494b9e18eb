"""Memory that parsing JSON takes, told from its text before it is parsed.

A document of a few bytes a value takes up to 38 times its size. What is long and regular is read piece by
piece (`json_list`); what is parsed as a whole, or as one piece, is bounded here.
"""

import math

import numpy as np

from service.codecs.drawings import Shape
from service.core.errors import MalformedRequest, PayloadTooLarge
from service.memory import costs

_SHORT_BYTES = 65_536
"""A text below this size is parsed whatever it holds: it takes at most 38 times its size, 2.5 MB."""

_COUNTED_BYTES = 65_536
"""Bytes in which marks are counted at once: they and the results of comparing them stay in the cache."""

_COMMA, _LIST, _OBJECT, _QUOTE = 84, 64, 264, 48
"""Bytes for each mark, measured with orjson 3.13 on Python 3.11: a number takes up to 36 bytes, its place in
a list 8, and up to 24 in the parser's own tree; an empty list 56, an object of one member 184, of many about
100 each, a text 49 and its length. `tests/service/codecs/json/test_memory.py` compares."""


def parsed_bytes(text: bytes) -> int:
    """Return how much memory parsing JSON takes at most, beside its text.

    Counted are its commas, brackets, braces and quotes; one copy of the text, which the parser makes; and one
    of its strings, four bytes a character where there may be characters of other planes.
    """
    codes = np.frombuffer(text, np.uint8)
    commas = lists = objects = quotes = 0
    for start in range(0, len(codes), _COUNTED_BYTES):
        part = codes[start : start + _COUNTED_BYTES]
        commas += int(np.count_nonzero(part == ord(",")))
        lists += int(np.count_nonzero(part == ord("[")))
        objects += int(np.count_nonzero(part == ord("{")))
        quotes += int(np.count_nonzero(part == ord('"')))
    width = 1 if text.isascii() and b"\\u" not in text else 4
    strings = width * len(text) if quotes else 0
    return len(text) + strings + _COMMA * commas + _LIST * lists + _OBJECT * objects + _QUOTE * quotes


def check(text: bytes, shape: Shape = ()) -> None:
    """Check that JSON may be parsed as a whole.

    Args:
        text: The document, or a piece of one.
        shape: Of one image, if it may hold one.

    Raises:
        PayloadTooLarge: Parsing it may take more memory than its size allows.
        MalformedRequest: The same, and it is no whole document either.
    """
    if len(text) < _SHORT_BYTES:
        return
    size = parsed_bytes(text)
    most = costs.most_parsed_bytes(len(text), math.prod(shape))
    if size <= most:
        return
    if not text.rstrip().endswith((b"}", b"]")):  # a better message for a body that was cut off
        raise MalformedRequest("Body", "a JSON object", "one without its end")
    raise PayloadTooLarge("Body", most, "bytes when it is parsed as a whole", f"up to {size:,}")
