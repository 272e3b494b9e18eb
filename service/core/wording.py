"""Formatting of values in error messages: shapes, lists, and short representations of what came."""

import reprlib
from collections.abc import Sequence

_REPR = reprlib.Repr()
"""Writes as `repr` does, but of a long value only the beginning: its whole may be many megabytes."""
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 20
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 200
_REPR.maxlevel = 3


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape as `28 x 28`."""
    return " x ".join(str(size) for size in shape)


def list_text(labels: Sequence[str]) -> str:
    """Name labels, of very many only the first, for a message."""
    text = ", ".join(labels)
    return text if len(text) <= 200 else text[:196] + " ..."


def quote(value: object) -> str:
    """Repeat a little of what came, so that a message stays a line and never holds a payload."""
    text = _REPR.repr(value)
    return text if len(text) <= 40 else text[:36] + " ..."
