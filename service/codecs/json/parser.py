"""JSON parser with limits of values and memory, both estimated from the text before it is parsed.

A parsed document takes up to 38 times the size of its text. Long regular lists are parsed item by item
(`list_spans`); the limits here apply to whatever is parsed at once.
"""

import codecs
import math
from typing import Any

import numpy as np
import orjson

from service.codecs.drawings import Limits, Shape
from service.core.errors import MalformedRequest, PayloadTooLarge
from service.memory import costs

_UNCHECKED_BYTES = 65_536
"""Shorter texts are always parsed: they take at most 38 times their size, 2.5 MB."""

_UTF_16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_BLOCK_BYTES = 65_536
"""Bytes in which characters are counted at once: they and the comparison results fit into the cache."""

_COMMA, _LIST, _OBJECT, _QUOTE = 84, 64, 264, 48
"""Bytes of memory per character `,`, `[`, `{` and `"`, measured with orjson 3.13 on Python 3.11. A number
takes up to 36 bytes, its place in a list 8, and up to 24 in the parser's own tree; an empty list takes 56, an
object 184 with one member and about 100 per member with many, a string 49 and its length.
`tests/service/codecs/json/test_parser.py` compares."""


def parse(text: bytes, max_values: int, shape: Shape = ()) -> Any:  # noqa: ANN401 - JSON can be anything; every caller checks it
    """Parse JSON.

    Args:
        text: The document.
        max_values: Upper limit of values (numbers, strings, lists and objects).
        shape: Shape of one image, if the document may contain one; its numbers may take up to 32 MiB.

    Returns:
        The document.

    Raises:
        MalformedRequest: The text is not JSON, contains NaN, infinity or invalid UTF-8, or is nested more
            than 1,024 deep; the message contains the position.
        PayloadTooLarge: There may be more values than `max_values`, or parsing may take more memory than the
            size of the text allows.
    """
    check_value_count(text, max_values)
    check_memory(text, shape)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        got = f"{error.msg} at line {error.lineno} column {error.colno}" if text.strip() else "nothing"
        if text.startswith(_UTF_16_BOMS):
            got = "UTF-16"
        raise MalformedRequest("Body", "JSON in UTF-8, nested at most 1,024 deep", got) from error


def without_bom(text: bytes) -> bytes:
    """Return a JSON text without the byte order mark of UTF-8, which editors on Windows write."""
    return text[len(codecs.BOM_UTF8) :] if text.startswith(codecs.BOM_UTF8) else text


def max_values(shape: Shape, limits: Limits) -> int:
    """Return the number of JSON values in the largest allowed request, rounded up."""
    lists = math.prod(shape[:-1]) + 1
    return limits.images * (math.prod(shape) + lists) + 4 * limits.points + 100


def check_value_count(text: bytes, max_values: int) -> None:
    """Raise PayloadTooLarge if a JSON text may contain more than `max_values` values.

    The number of commas, `[` and `{`, plus one, is an upper bound.
    """
    if len(text) <= max_values:
        return
    codes = np.frombuffer(text, np.uint8)
    count = 0
    for start in range(0, len(codes), _BLOCK_BYTES):
        block = codes[start : start + _BLOCK_BYTES]
        count += int(np.count_nonzero((block == ord(",")) | (block == ord("[")) | (block == ord("{"))))
    if count > max_values:
        raise PayloadTooLarge("Body", max_values, "JSON values", "more")


def check_memory(text: bytes, shape: Shape = ()) -> None:
    """Check that parsing a JSON text, or a part of one, takes no more memory than its size allows.

    Args:
        text: The text.
        shape: Shape of one image, if the text may contain one.

    Raises:
        PayloadTooLarge: It may take more.
        MalformedRequest: It may take more, and the document has no end.
    """
    if len(text) < _UNCHECKED_BYTES:
        return
    size = parsed_bytes(text)
    limit = costs.max_parsed_bytes(len(text), math.prod(shape))
    if size <= limit:
        return
    if not text.rstrip().endswith((b"}", b"]")):  # a better message for a truncated body
        raise MalformedRequest("Body", "a JSON object", "one without its end")
    raise PayloadTooLarge("Body", limit, "bytes when it is parsed as a whole", f"up to {size:,}")


def parsed_bytes(text: bytes) -> int:
    """Return an upper bound of the memory for parsing a JSON text, in bytes, without the text itself.

    The sum of one copy of the text, which the parser makes, of its strings with up to four bytes per
    character, and of a constant for each comma, bracket, brace and quote.
    """
    codes = np.frombuffer(text, np.uint8)
    commas = lists = objects = quotes = 0
    for start in range(0, len(codes), _BLOCK_BYTES):
        block = codes[start : start + _BLOCK_BYTES]
        commas += int(np.count_nonzero(block == ord(",")))
        lists += int(np.count_nonzero(block == ord("[")))
        objects += int(np.count_nonzero(block == ord("{")))
        quotes += int(np.count_nonzero(block == ord('"')))
    width = 1 if text.isascii() and b"\\u" not in text else 4
    strings = width * len(text) if quotes else 0
    return len(text) + strings + _COMMA * commas + _LIST * lists + _OBJECT * objects + _QUOTE * quotes


def may_contain_booleans(text: bytes) -> bool:
    """Return whether `true` or `false` may occur in a JSON text.

    Searching for one letter is much faster than for a word.
    """
    return (b"r" in text and b"true" in text) or (b"f" in text and b"false" in text)
