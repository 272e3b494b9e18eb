"""The most likely sequence of digits in a lattice of candidates."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.reading.candidates import Candidate, Lattice

_LOWEST_HEIGHT = 0.7
"""Height in usual heights below which a candidate loses score."""

_LOWEST_DOUBT = -10.0

LOWEST_SIZE = 0.05
"""Usual heights; what is smaller counts as this."""

_LEAST_DEVIATION = 0.08
"""Standard deviation of the logarithm of a size at least: about 8 %."""

_FARTHEST = 4.0
"""Standard deviations from the mean of a size at most: more counts as this."""


class Weights(NamedTuple):
    """Weights of the terms of a candidate's score; `features` says what each is the weight of."""

    likelihood: float
    wide_likelihood: float
    doubt: float
    cut: float
    is_cut: float
    gap: float
    overlap: float
    joins: float
    small: float
    digit: float
    width: float
    ink: float
    height: float


class Sizes(NamedTuple):
    """Usual size of a digit: mean and standard deviation of the logarithm of each, in usual heights.

    Attributes:
        width: Of the bounding box.
        ink: Length of the strokes.
        height: Of the bounding box.
    """

    width: tuple[float, float]
    ink: tuple[float, float]
    height: tuple[float, float]


def log_sizes(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """Return the logarithms of the candidates' sizes: (N, 3) in the order of `Sizes`."""
    sizes = np.array([(one.width, one.ink, one.height) for one in candidates])
    return np.asarray(np.log(np.maximum(sizes, LOWEST_SIZE)), np.float64)


def features(
    candidates: Sequence[Candidate],
    probabilities: NDArray[np.float32],
    certainty: NDArray[np.float64],
    usual: Sequence[Sizes | None],
) -> NDArray[np.float64]:
    """Return the terms of each candidate's score.

    Args:
        candidates: The candidates.
        probabilities: (N, classes) of the network.
        certainty: (N,) negative energy less the threshold of the model; 0 for a model without one.
        usual: Usual sizes of each class; None where they are unknown.

    Returns:
        (N, 13) in the order of `Weights`: log-probability of the top class, and the same times the width;
        how far the image is out of distribution; ink on the cut at the right, and whether there is any; gap;
        overlap; joins; lack of height; 1; less a quarter of the squared deviation of width, ink and height
        from those of the top class, in standard deviations.
    """
    likelihood = np.log(np.maximum(probabilities.max(axis=1).astype(np.float64), 1e-9))
    doubt = np.clip(certainty, _LOWEST_DOUBT, 0)
    given = np.array(
        [(one.width, one.cut, one.gap, one.overlap, one.joins, one.height) for one in candidates]
    )
    width, cut, gap, overlap, joins, height = given.T
    return np.column_stack(
        (
            likelihood,
            np.minimum(width, 2) * likelihood,
            doubt,
            cut,
            cut > 0,
            np.minimum(gap, 1),
            overlap,
            joins,
            np.minimum(height - _LOWEST_HEIGHT, 0),
            np.ones(len(candidates)),
            _deviations(log_sizes(candidates), probabilities.argmax(axis=1), usual),
        )
    )


def _deviations(
    sizes: NDArray[np.float64], classes: NDArray[np.intp], usual: Sequence[Sizes | None]
) -> NDArray[np.float64]:
    """Return the terms of the sizes: (N, 3)."""
    known = np.array([one is not None for one in usual])
    table = np.array([one or ((0.0, 1.0),) * 3 for one in usual])  # (classes, 3, 2)
    mean, deviation = table[classes, :, 0], np.maximum(table[classes, :, 1], _LEAST_DEVIATION)
    away = np.minimum(np.abs(sizes - mean) / deviation, _FARTHEST)
    return np.asarray(-(away**2) / 4 * known[classes, None], np.float64)


def read(lattice: Lattice, scores: NDArray[np.float64]) -> list[list[int]]:
    """Return the candidates of each line that cover it with the highest total score.

    Args:
        lattice: The candidates.
        scores: (N,) score of each.

    Returns:
        Indices of candidates from left to right, for each line from top to bottom.
    """
    found = []
    for line, cuts in enumerate(lattice.cuts):
        rows = [row for row, one in enumerate(lattice.candidates) if one.line == line]
        path = best_path([lattice.candidates[row] for row in rows], scores[rows], cuts)
        found.append([rows[step] for step in path])
    return found


def best_path(candidates: Sequence[Candidate], scores: NDArray[np.float64], cuts: int) -> list[int]:
    """Return the candidates of one line that cover it with the highest total score (Viterbi).

    Args:
        candidates: The candidates of the line; between neighbouring cuts there always is one.
        scores: (N,) score of each.
        cuts: Position of the last cut.

    Returns:
        Indices of candidates, from left to right.
    """
    total = np.full(cuts + 1, -np.inf)
    total[0] = 0.0
    chosen = [-1] * (cuts + 1)
    for index in sorted(range(len(candidates)), key=lambda number: candidates[number].end):
        one = candidates[index]
        score = total[one.start] + scores[index]
        if score > total[one.end]:
            total[one.end], chosen[one.end] = score, index
    path = []
    position = cuts
    while position:
        path.append(chosen[position])
        position = candidates[chosen[position]].start
    return path[::-1]
