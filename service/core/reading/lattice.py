"""The most likely sequence of digits in a lattice of candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.reading.candidates import Candidate


@dataclass(frozen=True)
class Weights:
    """Weights of a candidate's score, chosen on composed numbers of training writers."""

    energy: float
    gap: float
    piece: float
    small: float
    digit: float


def scores(
    candidates: Sequence[Candidate],
    probabilities: NDArray[np.float32],
    energy: NDArray[np.float32],
    threshold: float,
    weights: Weights,
) -> NDArray[np.float64]:
    """Return the score of each candidate as a digit; higher is likelier.

    Args:
        candidates: The candidates.
        probabilities: (N, classes), of the network.
        energy: (N,) negative energy of each candidate, lower for out-of-distribution images.
        threshold: The threshold of the energy.
        weights: Weights.
    """
    gaps = np.array([max(one.gap, 0.0) for one in candidates])
    heights = np.array([one.height for one in candidates])
    pieces = np.array([one.end - one.start for one in candidates])
    likelihood = np.log(np.maximum(probabilities.max(axis=1).astype(np.float64), 1e-12))
    doubt = np.minimum(energy - threshold, 0.0)
    small = np.minimum(heights - 0.6, 0.0)
    return np.asarray(
        pieces * (likelihood + weights.energy * doubt)
        - weights.gap * gaps
        + weights.piece * (pieces - 1)
        + weights.small * small
        - weights.digit
    )


def best_path(candidates: Sequence[Candidate], scores: NDArray[np.float64], pieces: int) -> list[int]:
    """Return the candidates of one line that cover its pieces with the highest total score.

    Args:
        candidates: The candidates of the line; each single piece is one of them.
        scores: (N,) score of each.
        pieces: Number of pieces of the line.
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
