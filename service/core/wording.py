"""Formatting of values in error messages: shapes, lists, and shortened representations."""

import reprlib
from collections.abc import Sequence

_REPR = reprlib.Repr()
"""`repr` that converts only the beginning of a long value, which may be many megabytes."""
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 20
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 200
_REPR.maxlevel = 3


def shape_text(shape: Sequence[int]) -> str:
    """Format a shape, such as `28 x 28`."""
    return " x ".join(str(size) for size in shape)


def list_text(labels: Sequence[str]) -> str:
    """Join labels; a long list is cut."""
    text = ", ".join(labels)
    return text if len(text) <= 200 else text[:196] + " ..."


def quote(value: object) -> str:
    """Return the representation of a value, at most 40 characters in one line."""
    text = _REPR.repr(value)
    return text if len(text) <= 40 else text[:36] + " ..."


def number_text(value: object) -> str:
    """Return a number in the fewest digits that identify it, at most 40 characters.

    With fewer digits a number slightly out of range would look valid.
    """
    return str(value)[:40]
