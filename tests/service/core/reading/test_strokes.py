"""`service/core/reading/strokes.py`: candidates of several strokes."""

import numpy as np
import pytest

from service.core.reading import strokes
from service.core.reading.candidates import Box, TooManyCandidates, lines
from service.core.reading.strokes import MOST_STROKES, runs


def test_candidates_are_runs_of_neighbours_that_are_not_too_wide() -> None:
    """
    Each stroke alone, and runs within a width and a number of strokes.
    """
    boxes: list[Box] = [(at, 0, at + 60, 100) for at in (0, 70, 400)]
    (line,) = lines(boxes)

    found = runs(boxes, [100, 200, 300], line)

    assert [(one.start, one.end) for one in found] == [(0, 1), (0, 2), (1, 2), (2, 3)]
    assert [round(one.gap, 2) for one in found] == [0, 0.1, 0, 0]
    assert [one.ink for one in found] == [1, 3, 2, 3]
    assert [one.joins for one in found] == [0, 1, 0, 0]
    narrow: list[Box] = [(at, 0, at + 1, 100) for at in range(10)]
    (line,) = lines(narrow)
    assert max(one.end - one.start for one in runs(narrow, [100] * 10, line)) == MOST_STROKES


def test_overlap_is_that_with_the_next_stroke() -> None:
    """
    In usual heights.
    """
    boxes: list[Box] = [(0, 0, 60, 100), (40, 0, 100, 100)]
    (line,) = lines(boxes)

    assert [round(one.overlap, 2) for one in runs(boxes, [100, 100], line)] == [0.2, 0, 0]


@pytest.mark.parametrize("count", [200, 5000])
def test_many_strokes_are_too_many(count: int) -> None:
    """
    Five candidates a stroke, or more strokes than candidates; nothing is rendered.
    """
    dots = [np.array([[at, 0.0], [at, 1.0]]) for at in np.linspace(0, 1, count)]

    with pytest.raises(TooManyCandidates):
        strokes.cut(dots, 512)
