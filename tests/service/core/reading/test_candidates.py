"""`service/core/reading/candidates.py`: lines of text and candidates of several pieces."""

from service.core.reading.candidates import MOST_PIECES, Box, lines, runs


def test_pieces_are_grouped_into_lines_from_left_to_right() -> None:
    """
    A short bar belongs to the line that it is in, wherever it was drawn.
    """
    boxes: list[Box] = [(120, 0, 170, 100), (0, 5, 60, 105), (10, 200, 70, 300), (30, 45, 80, 55)]

    found = lines(boxes)

    assert [line.pieces for line in found] == [(1, 3, 0), (2,)]
    assert [line.height for line in found] == [100, 100]


def test_candidates_are_runs_of_neighbours_that_are_not_too_wide() -> None:
    """
    Each piece alone, and runs within a width and a number of pieces.
    """
    boxes: list[Box] = [(at, 0, at + 60, 100) for at in (0, 70, 400)]
    (line,) = lines(boxes)

    found = runs(boxes, line, 0)

    assert [(one.start, one.end) for one in found] == [(0, 1), (0, 2), (1, 2), (2, 3)]
    assert [round(one.gap, 2) for one in found] == [0, 0.1, 0, 0]
    narrow: list[Box] = [(at, 0, at + 1, 100) for at in range(10)]
    (line,) = lines(narrow)
    assert max(one.end - one.start for one in runs(narrow, line, 0)) == MOST_PIECES


def test_overlap_is_that_with_the_next_piece() -> None:
    """
    In usual heights.
    """
    boxes: list[Box] = [(0, 0, 60, 100), (40, 0, 100, 100)]
    (line,) = lines(boxes)

    assert [round(one.overlap, 2) for one in runs(boxes, line, 0)] == [0.2, 0, 0]
