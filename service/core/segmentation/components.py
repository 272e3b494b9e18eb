"""Connected components of small binary images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Components:
    """The connected components of a binary image; pixels that share a side or a corner are connected.

    Attributes:
        labels: (H, W) int32: 0 where the image is false, otherwise 1 to the number of components.
        boxes: (N, 4) int64: left, top, right and bottom of each, right and bottom exclusive.
    """

    labels: NDArray[np.int32]
    boxes: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of components."""
        return len(self.boxes)

    def sums(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the sum of (H, W) values over each component: (N,)."""
        labels = self.labels.ravel()
        places = np.flatnonzero(labels)
        sums = np.bincount(labels[places], values.ravel()[places], self.count + 1)
        return np.asarray(sums[1:], np.float64)


def connected(image: NDArray[np.bool_]) -> Components:
    """Return the connected components of a binary image.

    Args:
        image: (H, W) bool, at most a few hundred pixels a side: each row's runs are joined in Python.
    """
    height, width = image.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = image
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps > 0)
    ends = np.nonzero(steps < 0)[1]
    count = len(rows)
    parents = list(range(count))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    firsts = np.searchsorted(rows, np.arange(height + 1)).tolist()
    left, right = starts.tolist(), ends.tolist()
    for row in range(1, height):
        above, last = firsts[row - 1], firsts[row]
        for run in range(firsts[row], firsts[row + 1]):
            while above < last and right[above] < left[run]:
                above += 1
            other = above
            while other < last and left[other] <= right[run]:
                one, two = root(run), root(other)
                if one != two:
                    parents[max(one, two)] = min(one, two)
                other += 1
    roots = np.array([root(run) for run in range(count)], np.int64)
    kinds, numbers = np.unique(roots, return_inverse=True)
    boxes = np.empty((len(kinds), 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = max(height, width), 0
    np.minimum.at(boxes[:, 0], numbers, starts)
    np.minimum.at(boxes[:, 1], numbers, rows)
    np.maximum.at(boxes[:, 2], numbers, ends)
    np.maximum.at(boxes[:, 3], numbers, rows + 1)
    changes = np.zeros((height, width + 1), np.int32)
    changes[rows, starts] = numbers + 1
    changes[rows, ends] -= np.asarray(numbers + 1, np.int32)
    return Components(np.cumsum(changes, axis=1, dtype=np.int32)[:, :width], boxes)
