"""Strokes to a lattice: every run of a few neighbouring strokes of a line may be one digit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.core.drawing import mnist
from service.core.reading.candidates import (
    WIDEST,
    Box,
    Candidate,
    Lattice,
    Line,
    TooManyCandidates,
    lines,
)

MOST_STROKES = 5
"""Strokes of one candidate: a seven with serif, bar and foot has four."""


def cut(strokes: Sequence[NDArray[np.float64]], most: int) -> Lattice:
    """Return the candidates of strokes.

    Args:
        strokes: One (points, 2) array per stroke, points >= 1: x to the right, y downwards, in any unit.
        most: Number of candidates at most.

    Raises:
        TooManyCandidates: There are more candidates.
    """
    if len(strokes) > most:
        raise TooManyCandidates(len(strokes))
    boxes: list[Box] = []
    for stroke in strokes:
        (left, top), (right, bottom) = stroke.min(axis=0).tolist(), stroke.max(axis=0).tolist()
        boxes.append((left, top, right, bottom))
    lengths = [float(np.hypot(*np.diff(stroke, axis=0).T).sum()) for stroke in strokes]
    text = lines(boxes)
    found = [
        replace(one, line=number) for number, line in enumerate(text) for one in runs(boxes, lengths, line)
    ]
    if len(found) > most:
        raise TooManyCandidates(len(found))
    images = [
        mnist.from_strokes([strokes[piece] for piece in text[one.line].pieces[one.start : one.end]])
        for one in found
    ]
    return Lattice(tuple(found), tuple(len(line.pieces) for line in text), np.stack(images))


def runs(boxes: Sequence[Box], lengths: Sequence[float], line: Line) -> list[Candidate]:
    """Return the candidates of a line: runs of up to `MOST_STROKES` strokes that are not too wide.

    Every single stroke is one.

    Args:
        boxes: Bounding box of each stroke.
        lengths: Length of each stroke.
        line: Strokes of the line.
    """
    found = []
    for start in range(len(line.pieces)):
        left, top, right, bottom = boxes[line.pieces[start]]
        gap = length = 0.0
        for end in range(start + 1, min(start + MOST_STROKES, len(line.pieces)) + 1):
            box = boxes[line.pieces[end - 1]]
            if end > start + 1:
                gap = max(gap, (box[0] - right) / line.height)
                left, top = min(left, box[0]), min(top, box[1])
                right, bottom = max(right, box[2]), max(bottom, box[3])
                if right - left > WIDEST * line.height:
                    break
            length += lengths[line.pieces[end - 1]]
            overlap = 0.0
            if end < len(line.pieces):
                overlap = max(0.0, (right - boxes[line.pieces[end]][0]) / line.height)
            found.append(
                Candidate(
                    line=0,
                    start=start,
                    end=end,
                    box=(left, top, right, bottom),
                    width=(right - left) / line.height,
                    height=(bottom - top) / line.height,
                    ink=length / line.height,
                    gap=gap,
                    joins=end - start - 1,
                    overlap=overlap,
                )
            )
    return found
