"""Connected components of ink, by runs of pixels and union-find."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Component:
    """Pixels that are connected, diagonally too.

    Attributes:
        left, top, right, bottom: Bounding box in pixels; right and bottom are exclusive.
        pixels: Number of pixels.
        mask: (bottom - top, right - left) bool.
    """

    left: int
    top: int
    right: int
    bottom: int
    pixels: int
    mask: NDArray[np.bool_]

    @property
    def height(self) -> int:
        """Height of the bounding box."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Width of the bounding box."""
        return self.right - self.left


def find(ink: NDArray[np.bool_]) -> list[Component]:
    """Return the 8-connected components of an image, from left to right.

    Args:
        ink: (H, W) bool.
    """
    height, width = ink.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = ink
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]  # in the same order: row by row, run by run
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first = np.searchsorted(rows, np.arange(height + 1)).tolist()
    begins, stops = starts.tolist(), ends.tolist()
    for row in range(1, height):
        above, below = first[row - 1], first[row]
        last_above, last_below = first[row], first[row + 1]
        while above < last_above and below < last_below:
            if begins[above] <= stops[below] and begins[below] <= stops[above]:  # diagonal neighbours too
                one, other = root(above), root(below)
                if one != other:
                    parent[max(one, other)] = min(one, other)
            if stops[above] < stops[below]:
                above += 1
            else:
                below += 1
    runs: dict[int, list[int]] = {}
    for run in range(len(parent)):
        runs.setdefault(root(run), []).append(run)
    return sorted(
        (_component(rows[members], starts[members], ends[members]) for members in runs.values()),
        key=lambda component: (component.left, component.top),
    )


def _component(
    rows: NDArray[np.intp], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> Component:
    left, top, right, bottom = int(starts.min()), int(rows[0]), int(ends.max()), int(rows[-1]) + 1
    mask = np.zeros((bottom - top, right - left), np.bool_)
    for row, start, end in zip((rows - top).tolist(), (starts - left).tolist(), (ends - left).tolist(), strict=True):
        mask[row, start:end] = True
    return Component(left, top, right, bottom, int((ends - starts).sum()), mask)
