"""Resampling of polylines."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2): x and y."""


def cumulative_length(stroke: Points) -> Points:
    """Return the distance of each point of a polyline from its start, along the line: (n,)."""
    return np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))))


def resample(stroke: Points, count: int) -> tuple[Points, Points]:
    """Return evenly spaced points along a polyline.

    Args:
        stroke: (n, 2), n >= 1.
        count: Number of points to return.

    Returns:
        The points, (count, 2), and their distance from the start along the line, (count,).
    """
    lengths = cumulative_length(stroke)
    distances = np.linspace(0, lengths[-1], count)
    return np.stack([np.interp(distances, lengths, axis) for axis in stroke.T], axis=-1), distances
