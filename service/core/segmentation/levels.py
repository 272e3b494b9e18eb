"""Grey levels of small pictures: medians, the strongest ink, the plane of the paper."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIGMA = 1.4826
"""Standard deviation over median absolute deviation, for normal noise."""

EVERY = 5
"""Medians of a picture's pixels are taken of one pixel in so many."""


_CENTRAL = 0.6
"""Share of width and height in the middle of the picture whose median is the grey of the paper."""


def paper(grey: NDArray[np.uint8]) -> Floats:
    """Return the grey of the paper as a plane, fitted to what is near the median of the picture's middle."""
    height, width = grey.shape
    top, left = round(height * (1 - _CENTRAL) / 2), round(width * (1 - _CENTRAL) / 2)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    terms = _terms(height, width)
    values = grey.reshape(-1)[::EVERY].astype(np.float32)
    middle = grey[top : height - top : 2, left : width - left : 2]
    fit = np.array([median(middle.ravel()), 0, 0], np.float32)
    reach = max(24.0, 3 * SIGMA * median(np.abs(middle - fit[0]).ravel()))
    for _ in range(3):
        near = np.abs(values - terms @ fit) < reach
        chosen = terms[near]
        fit = np.linalg.solve(chosen.T @ chosen + np.eye(3, dtype=np.float32), chosen.T @ values[near])
    return np.asarray(fit[0] + fit[1] * x + fit[2] * y, np.float32)


def strongest(values: Floats) -> float:
    """Return about the seventh largest value: a few wild pixels are not what the pen did."""
    largest = float(values.max())
    strong = np.sort(values[values > 0.25 * largest])  # np.partition is slow where most values are equal
    return float(strong[max(len(strong) - 7, 0)]) if len(strong) else largest


def median(values: NDArray[Any]) -> float:
    """Return the upper median of (n,) values; np.median is slow where most values are equal."""
    return float(np.sort(values)[len(values) // 2])


@lru_cache(maxsize=64)
def _terms(height: int, width: int) -> Floats:
    """Return 1, x and y of one pixel in `EVERY`, from -1 to 1: (pixels, 3)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.stack((np.ones_like(x), x, y), axis=-1).reshape(-1, 3)[::EVERY]
