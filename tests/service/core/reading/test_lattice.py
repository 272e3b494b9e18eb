"""`service/core/reading/lattice.py`: the path with the highest score, against all paths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.core.reading.candidates import Candidate
from service.core.reading.lattice import best_path, features


def candidate(start: int, end: int) -> Candidate:
    return Candidate(0, start, end, (0, 0, 1, 1), 0.1 * (end - start - 1), 0.0, 1.0)


def paths(candidates: list[Candidate], position: int, pieces: int) -> list[list[int]]:
    """Return every sequence of candidates that covers the pieces from a position on."""
    if position == pieces:
        return [[]]
    return [
        [index, *rest]
        for index, one in enumerate(candidates)
        if one.start == position
        for rest in paths(candidates, one.end, pieces)
    ]


@given(st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_best_path_has_the_highest_total(pieces: int, random: st.DataObject) -> None:
    """
    As the best of all sequences, listed one by one.
    """
    candidates = [
        candidate(start, end)
        for start in range(pieces)
        for end in range(start + 1, min(start + 3, pieces) + 1)
    ]
    scores = np.array([random.uniform(-5, 1) for _ in candidates])  # type: ignore[attr-defined]

    found = best_path(candidates, scores, pieces)

    every = paths(candidates, 0, pieces)
    assert found in every
    assert np.isclose(scores[found].sum(), max(scores[path].sum() for path in every))


def test_features_count_likelihood_and_doubt_per_piece() -> None:
    """
    One row per candidate, in the order of `Weights`.
    """
    probabilities = np.array([[0.5, 0.5], [1, 0]], np.float32)

    found = features([candidate(0, 2), candidate(2, 3)], probabilities, np.array([-1.0, 3.0]))

    expected = [[2 * np.log(0.5), -2, 0.1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
