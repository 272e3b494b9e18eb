"""How the strokes of a drawing lie: whether they may be several digits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TALL = 0.45
"""Height, in usual heights, from which on a group of strokes may be a digit; bars and dots are lower."""

_BESIDE = -0.3
"""Horizontal distance of two groups, in usual heights, from which on they may be two digits. 99.8 % of
composed numbers of two or three digits have such a distance; most digits of two tall strokes, such as fours,
overlap more."""

_BELOW = 0.0
"""The same of groups one below the other."""


def may_be_several(strokes: Sequence[NDArray[np.float64]]) -> bool:
    """Return whether strokes fall into two groups, both tall, beside or below each other.

    Args:
        strokes: One (points, 2) array per stroke: x to the right, y downwards, in any unit.
    """
    drawn = [stroke for stroke in strokes if len(stroke)]
    if len(drawn) < 2:
        return False
    low = np.array([stroke.min(axis=0) for stroke in drawn])
    high = np.array([stroke.max(axis=0) for stroke in drawn])
    heights = np.sort(high[:, 1] - low[:, 1])
    usual = float(heights[np.searchsorted(np.cumsum(heights), heights.sum() / 2)])
    if usual <= 0 or heights[-2] < _TALL * usual:
        return False
    return any(
        _are_apart(low, high, axis, least * usual, _TALL * usual)
        for axis, least in ((0, _BESIDE), (1, _BELOW))
    )


def _are_apart(
    low: NDArray[np.float64], high: NDArray[np.float64], axis: int, least: float, tall: float
) -> bool:
    """Return whether a line across an axis separates two groups by `least`, both at least `tall` high.

    Args:
        low: (N, 2) left and top of each stroke.
        high: (N, 2) right and bottom.
        axis: 0 to separate along x, 1 along y.
        least: Distance at least; negative if the groups may overlap.
        tall: Height at least.
    """
    order = np.argsort(low[:, axis] + high[:, axis], kind="stable")
    low, high = low[order], high[order]
    before = np.maximum.accumulate(high)[:-1]
    after = np.minimum.accumulate(low[::-1])[::-1][1:]
    top_before = np.minimum.accumulate(low[:, 1])[:-1]
    bottom_after = np.maximum.accumulate(high[::-1, 1])[::-1][1:]
    return bool(
        np.any(
            (after[:, axis] - before[:, axis] >= least)
            & (before[:, 1] - top_before >= tall)
            & (bottom_after - after[:, 1] >= tall)
        )
    )
