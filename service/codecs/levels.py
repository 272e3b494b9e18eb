"""Conversion of numbers to pixels: whole numbers 0..255, or numbers 0..1.

Computing with floats rounds: 1.0000001 is meant to be 1, and 254.99998 to be 255. So a number may differ by
`ROUNDING` of the range from one that is valid. docs/decisions/0049-what-is-certain-is-accepted.md
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-5
"""Accepted rounding error: about a hundred roundings of float32 near 1; half a level of 256 is 0.002."""

_MOST = 255

_BYTE_ROUNDING = ROUNDING * _MOST


def invalid_units(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which numbers are not 0..1; NaN is not."""
    return ~((values >= -ROUNDING) & (values <= 1 + ROUNDING))


def from_units(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels from valid numbers 0..1, rounded to the nearest of 256 levels."""
    return np.rint(values.astype(np.float64) * _MOST).astype(np.uint8)


def invalid_bytes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which numbers are not whole numbers 0..255; NaN is not."""
    if values.dtype.kind != "f":
        return ~((values >= 0) & (values <= _MOST))
    bad = ~((values >= -_BYTE_ROUNDING) & (values <= _MOST + _BYTE_ROUNDING))
    with np.errstate(invalid="ignore"):  # infinite, and so invalid already
        bad |= np.abs(values - np.rint(values)) > _BYTE_ROUNDING
    return bad


def from_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels from valid whole numbers 0..255."""
    return (np.rint(values) if values.dtype.kind == "f" else values).astype(np.uint8)


def is_unit(value: float) -> bool:
    """Return whether a number is 0..1."""
    return -ROUNDING <= value <= 1 + ROUNDING


def is_byte(value: float) -> bool:
    """Return whether a number is a whole number 0..255."""
    is_in_range = -_BYTE_ROUNDING <= value <= _MOST + _BYTE_ROUNDING
    return is_in_range and abs(value - round(value)) <= _BYTE_ROUNDING
