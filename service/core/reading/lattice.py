"""The most likely sequence of digits in a lattice of candidates."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.reading.candidates import Candidate

_LOWEST_HEIGHT = 0.7
"""Height in usual heights below which a candidate loses score."""

_LOWEST_DOUBT = -10.0


class Weights(NamedTuple):
    """Weights of the terms of a candidate's score; `features` says what each is the weight of."""

    likelihood: float
    doubt: float
    gap: float
    overlap: float
    join: float
    small: float
    digit: float


def features(
    candidates: Sequence[Candidate],
    probabilities: NDArray[np.float32],
    certainty: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the terms of each candidate's score.

    Likelihood and doubt are counted once per piece, so that sequences of few and of many digits compete on
    equal terms.

    Args:
        candidates: The candidates.
        probabilities: (N, classes) of the network.
        certainty: (N,) negative energy less the threshold of the model; 0 for a model without one.

    Returns:
        (N, 7) in the order of `Weights`: log-probability of the top class; how far the image is out of
        distribution; gap; overlap; number of joins of pieces; lack of height; 1.
    """
    pieces = np.array([one.end - one.start for one in candidates], np.float64)
    likelihood = np.log(np.maximum(probabilities.max(axis=1).astype(np.float64), 1e-9))
    doubt = np.clip(certainty, _LOWEST_DOUBT, 0)
    return np.column_stack(
        (
            pieces * likelihood,
            pieces * doubt,
            [one.gap for one in candidates],
            [one.overlap for one in candidates],
            pieces - 1,
            [min(one.height - _LOWEST_HEIGHT, 0) for one in candidates],
            np.ones(len(candidates)),
        )
    )


def best_path(candidates: Sequence[Candidate], scores: NDArray[np.float64], pieces: int) -> list[int]:
    """Return the candidates of one line that cover its pieces with the highest total score (Viterbi).

    Args:
        candidates: The candidates of the line; each single piece is one of them.
        scores: (N,) score of each.
        pieces: Number of pieces of the line.

    Returns:
        Indices of candidates, from left to right.
    """
    total = np.full(pieces + 1, -np.inf)
    total[0] = 0.0
    chosen = [-1] * (pieces + 1)
    for index in sorted(range(len(candidates)), key=lambda number: candidates[number].end):
        one = candidates[index]
        score = total[one.start] + scores[index]
        if score > total[one.end]:
            total[one.end], chosen[one.end] = score, index
    path = []
    position = pieces
    while position:
        path.append(chosen[position])
        position = candidates[chosen[position]].start
    return path[::-1]
