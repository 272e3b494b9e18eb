"""`service/core/reading/lattice.py`: the path with the highest score, against all paths."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.core.reading.candidates import Candidate, Lattice
from service.core.reading.lattice import Sizes, Weights, best_path, features, read


def candidate(start: int, end: int) -> Candidate:
    return Candidate(
        line=0,
        start=start,
        end=end,
        box=(0, 0, 1, 1),
        width=0.5,
        height=0.6,
        ink=math.e,
        gap=0.1,
        joins=end - start - 1,
        overlap=0.2,
        cut=0.3,
    )


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


def test_the_terms_are_in_the_order_of_the_weights() -> None:
    """
    One row per candidate; classes of unknown sizes have no deviation.
    """
    probabilities = np.array([[0.5, 0.4], [0, 1]], np.float32)
    usual = [Sizes((math.log(0.5), 0.1), (0, 0.5), (math.log(0.6), 0.1)), None]

    found = features([candidate(0, 2), candidate(2, 3)], probabilities, np.array([-1.0, 3.0]), usual)

    shared = [0.3, 1, 0.1, 0.2]
    expected = [
        [np.log(0.5), 0.5 * np.log(0.5), -1, *shared, 1, -0.1, 1, 0, -1, 0],
        [0, 0, 0, *shared, 0, -0.1, 1, 0, 0, 0],
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape[1] == len(Weights._fields)


def test_lines_are_read_one_after_the_other() -> None:
    """
    Each with the best path of its own candidates.
    """
    first = [candidate(0, 1), candidate(1, 2), candidate(0, 2)]
    second = [replace(candidate(0, 1), line=1)]
    lattice = Lattice((*first, *second), (2, 1), np.zeros((4, 28, 28), np.uint8))

    assert read(lattice, np.array([1.0, 1.0, 1.5, -9.0])) == [[0, 1], [3]]
    assert read(lattice, np.array([1.0, 1.0, 2.5, -9.0])) == [[2], [3]]
