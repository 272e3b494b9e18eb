"""`service/core/reading/candidates.py`: pieces grouped into lines of text."""

from service.core.reading.candidates import Box, lines


def test_pieces_are_grouped_into_lines_from_left_to_right() -> None:
    """
    A short bar belongs to the line that it is in, wherever it was drawn.
    """
    boxes: list[Box] = [(120, 0, 170, 100), (0, 5, 60, 105), (10, 200, 70, 300), (30, 45, 80, 55)]

    found = lines(boxes)

    assert [line.pieces for line in found] == [(1, 3, 0), (2,)]
    assert [line.height for line in found] == [100, 100]
