"""Seams: paths from the top to the bottom of a line of text that cross little ink.

Two digits that touch are separated where a seam crosses the least ink. Unlike a straight cut, a seam follows
the free space between slanted digits. It moves by at most one column a row, and is found by dynamic
programming, as in S. Avidan, A. Shamir, "Seam carving for content-aware image resizing", SIGGRAPH 2007.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SIDEWAYS = (0.1, 1.0)
"""Costs of a step of a seam to the side, in pixels of ink: seams that bend follow the space between digits;
stiff ones pass between two loops that touch, where one that bends crosses a loop."""

_ANCHORS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Rows through which seams are sought, as shares of the height: the cheapest through each local minimum."""

_MOST_ANCHORS = 128
"""Local minima of one row at most, the cheapest: a line of a hundred digits has fewer."""

_SAME = 0.25
"""Ink between two seams, in strokes as long as a digit's height, below which they are the same cut."""


@dataclass(frozen=True)
class Seam:
    """A cut of a line of text from top to bottom.

    Attributes:
        columns: (h,) first column of the right part in each row.
        ink: Pixels of ink on it.
        left: Pixels of ink left of it.
    """

    columns: NDArray[np.intp]
    ink: float
    left: float


def find(ink: NDArray[np.float32], height: float, pen: float, costliest: float, most: int) -> list[Seam]:
    """Return the seams that cross little ink, from left to right.

    Args:
        ink: (h, w) float32, 0 to 1: a line of text.
        height: Usual height of a digit, in pixels.
        pen: Width of the strokes, in pixels.
        costliest: Ink on a seam at most, in usual heights.
        most: Number of seams at most; the cheapest are kept.
    """
    rows, width = ink.shape
    before = np.zeros((rows, width + 1), np.float32)
    np.cumsum(ink, axis=1, out=before[:, 1:])
    whole = float(before[:, -1].sum())
    same = _SAME * pen * height
    columns = np.concatenate([_cheapest(ink, costliest * height, sideways) for sideways in _SIDEWAYS])
    profiles = np.take_along_axis(before[None], columns[:, :, None], axis=2)[:, :, 0]
    lefts = profiles.sum(axis=1)
    inks = np.take_along_axis(ink[None], columns[:, :, None], axis=2)[:, :, 0].sum(axis=1)
    slants = min(_SIDEWAYS) * np.abs(np.diff(columns, axis=1)).sum(axis=1)
    kept: list[int] = []
    for number in np.argsort(inks + slants, kind="stable").tolist():
        if len(kept) == most:
            break
        if min(lefts[number], whole - lefts[number]) < same:
            continue
        if kept and np.abs(profiles[kept] - profiles[number]).sum(axis=1).min() < same:
            continue
        kept.append(number)
    kept.sort(key=lambda number: float(lefts[number]))
    return [Seam(columns[number], float(inks[number]), float(lefts[number])) for number in kept]


def _cheapest(ink: NDArray[np.float32], costliest: float, sideways: float) -> NDArray[np.intp]:
    """Return the cheapest seam through each local minimum of some rows: (N, h) columns.

    Args:
        ink: (h, w) float32.
        costliest: Cost of a seam at most.
        sideways: Cost of a step to the side.
    """
    rows = len(ink)
    down, down_steps = _least(ink, sideways)
    up, up_steps = _least(ink[::-1], sideways)
    up, up_steps = up[::-1], up_steps[::-1]
    total = down + up - ink
    seams = []
    for row in sorted({round(share * (rows - 1)) for share in _ANCHORS}):
        places = _minima(total[row])
        places = places[total[row, places] <= costliest]
        if len(places) > _MOST_ANCHORS:
            places = np.sort(places[np.argsort(total[row, places], kind="stable")[:_MOST_ANCHORS]])
        seams.append(_through(down_steps, up_steps, row, places))
    return np.concatenate(seams)


def _minima(costs: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the places of the local minima of (w,) costs; of equal neighbours the first."""
    padded = np.concatenate(([np.inf], costs, [np.inf]))
    return np.flatnonzero((costs < padded[:-2]) & (costs <= padded[2:]))


def _least(ink: NDArray[np.float32], sideways: float) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return the least cost of a seam from the first row to each pixel, and its last step to the side.

    Returns:
        (h, w) float32, and (h, w) int8: column of the row before, less that of the pixel.
    """
    total = ink.copy()
    steps = np.zeros(ink.shape, np.int8)
    for row in range(1, len(ink)):
        above = total[row - 1]
        best = above.copy()
        step = steps[row]
        aside = above + np.float32(sideways)
        is_left = aside[:-1] < best[1:]
        best[1:][is_left] = aside[:-1][is_left]
        step[1:][is_left] = -1
        is_right = aside[1:] < best[:-1]
        best[:-1][is_right] = aside[1:][is_right]
        step[:-1][is_right] = 1
        total[row] += best
    return total, steps


def _through(
    down: NDArray[np.int8], up: NDArray[np.int8], row: int, places: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the cheapest seams through pixels of a row.

    Args:
        down: (h, w) steps to the row above.
        up: (h, w) steps to the row below.
        row: The row.
        places: (N,) columns.

    Returns:
        (N, h) columns.
    """
    height = len(down)
    seams = np.empty((len(places), height), np.intp)
    seams[:, row] = places
    for here in range(row, 0, -1):
        seams[:, here - 1] = seams[:, here] + down[here, seams[:, here]]
    for here in range(row, height - 1):
        seams[:, here + 1] = seams[:, here] + up[here, seams[:, here]]
    return seams
