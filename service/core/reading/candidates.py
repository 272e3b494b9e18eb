"""Parts of a drawing that may each be one digit: the lattice that `lattice` searches.

Heuristic over-segmentation: a drawing is cut into pieces that are at most one digit each, and every run of a
few neighbouring pieces is a candidate. Strokes are pieces as they are. In an image the pieces are connected
components, and wide components are cut further, since digits may touch.

Sources: R. Casey, E. Lecolinet, "A survey of methods and strategies in character segmentation", PAMI 18(7),
1996; Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998, section V.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in units of the drawing; y downwards."""

MOST_PIECES = 5
"""Pieces of one candidate: a seven in two strokes that a touching digit cuts has five."""

_TALL = 0.45
"""Share of the usual height from which a piece is tall: a digit or most of one, not a bar or a dot."""

_SAME_LINE = 0.4
"""Share of the smaller height by which two tall pieces of one line overlap vertically."""

_WIDEST = 1.9
"""Width of a candidate at most, in usual heights; a wide seven with its bar has 1.4."""


@dataclass(frozen=True)
class Line:
    """Pieces of one line of text, from left to right.

    Attributes:
        pieces: Indices of the pieces.
        height: Usual height of a digit, in units of the drawing.
    """

    pieces: tuple[int, ...]
    height: float


@dataclass(frozen=True)
class Candidate:
    """A run of neighbouring pieces of a line.

    Attributes:
        line: Index of the line.
        start: Position of its first piece in the line.
        end: One after the position of its last piece.
        box: Its bounding box.
        gap: Largest horizontal gap between neighbouring pieces of it, in usual heights; 0 without one.
        overlap: Horizontal overlap with the next piece of the line, in usual heights; 0 without one.
        height: Its height, in usual heights.
    """

    line: int
    start: int
    end: int
    box: Box
    gap: float
    overlap: float
    height: float


def lines(boxes: Sequence[Box]) -> list[Line]:
    """Group pieces into lines of text, top to bottom, and sort each from left to right.

    Args:
        boxes: Bounding box of each piece; at least one.
    """
    corners = np.asarray(boxes, np.float64)
    heights, widths = corners[:, 3] - corners[:, 1], corners[:, 2] - corners[:, 0]
    usual = _usual_height(heights, widths)
    tall = np.flatnonzero(heights >= _TALL * usual)
    if not len(tall):
        tall = np.arange(len(corners))
    groups = _groups(corners, tall)
    spans = [(np.median(corners[group, 1]), np.median(corners[group, 3])) for group in groups]
    order = sorted(range(len(groups)), key=lambda number: sum(spans[number]))
    members = [list(groups[number]) for number in order]
    spans = [spans[number] for number in order]
    for piece in set(range(len(corners))) - set(tall.tolist()):
        middle = (corners[piece, 1] + corners[piece, 3]) / 2
        away = [max(top - middle, middle - bottom) for top, bottom in spans]
        members[int(np.argmin(away))].append(piece)
    centres = (corners[:, 0] + corners[:, 2]) / 2
    return [
        Line(
            tuple(sorted((int(piece) for piece in group), key=lambda piece: centres[piece])),
            _usual_height(heights[group], widths[group]),
        )
        for group in members
    ]


def _usual_height(heights: NDArray[np.float64], widths: NDArray[np.float64]) -> float:
    """Return the median height of what is tall, every piece weighted by its height."""
    order = np.argsort(heights)
    weights = np.cumsum(heights[order])
    if weights[-1] <= 0:
        return float(max(widths.max(), 1e-9))
    return float(max(heights[order][np.searchsorted(weights, weights[-1] / 2)], 0.25 * widths.max(), 1e-9))


def _groups(corners: NDArray[np.float64], tall: NDArray[np.intp]) -> list[list[int]]:
    """Return tall pieces grouped by vertical overlap with their neighbours in x."""
    order = tall[np.argsort(corners[tall, 0])]
    groups: list[list[int]] = []
    for piece in order.tolist():
        top, bottom = corners[piece, 1], corners[piece, 3]
        best, most = None, _SAME_LINE
        for group in groups:
            recent = corners[group[-2:]]
            low, high = recent[:, 1].min(), recent[:, 3].max()
            overlap = (min(bottom, high) - max(top, low)) / max(min(bottom - top, high - low), 1e-9)
            if overlap > most:
                best, most = group, overlap
        if best is None:
            groups.append([piece])
        else:
            best.append(piece)
    return groups


def runs(boxes: Sequence[Box], line: Line, number: int) -> list[Candidate]:
    """Return the candidates of a line: runs of up to `MOST_PIECES` pieces that are not too wide.

    Every single piece is one, so that each line can be read.
    """
    found = []
    for start in range(len(line.pieces)):
        left, top, right, bottom = boxes[line.pieces[start]]
        gap = 0.0
        for end in range(start + 1, min(start + MOST_PIECES, len(line.pieces)) + 1):
            if end > start + 1:
                box = boxes[line.pieces[end - 1]]
                gap = max(gap, (box[0] - right) / line.height)
                left, top = min(left, box[0]), min(top, box[1])
                right, bottom = max(right, box[2]), max(bottom, box[3])
                if right - left > _WIDEST * line.height:
                    break
            overlap = 0.0
            if end < len(line.pieces):
                overlap = max(0.0, (right - boxes[line.pieces[end]][0]) / line.height)
            height = (bottom - top) / line.height
            found.append(Candidate(number, start, end, (left, top, right, bottom), gap, overlap, height))
    return found
