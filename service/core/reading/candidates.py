"""Parts of a drawing that may each be one digit, and the lines of text that they are in.

Heuristic over-segmentation: a line of text is cut wherever two digits may meet, and what lies between two
cuts that are not too far apart is a candidate. `strokes` cuts between strokes, `image` along seams.

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

WIDEST = 2.0
"""Width of a candidate of several parts at most, in usual heights; a wide zero has 1.8."""

_TALL = 0.45
"""Share of the usual height from which a piece is tall: a digit or most of one, not a bar or a dot."""

_SAME_LINE = 0.4
"""Share of the smaller height by which two tall pieces of one line overlap vertically."""


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
    """The ink between two cuts of a line. Lengths are in usual heights of the line.

    Attributes:
        line: Index of the line.
        start: Position of the cut at its left, from 0.
        end: Position of the cut at its right.
        box: Its bounding box, in units of the drawing.
        width: Its width.
        height: Its height.
        ink: Length of its strokes: their area over the width of the pen.
        gap: Largest free gap within it, 0 without one.
        joins: Number of places without ink at which it could be cut.
        overlap: Horizontal overlap with the ink at its right, 0 without one.
        cut: Ink on the cut at its right.
    """

    line: int
    start: int
    end: int
    box: Box
    width: float
    height: float
    ink: float
    gap: float
    joins: int
    overlap: float = 0.0
    cut: float = 0.0


@dataclass(frozen=True)
class Lattice:
    """All candidates of a drawing.

    Attributes:
        candidates: The candidates; those of a line are neighbours. Between neighbouring cuts there always is
            one, so that each line can be read.
        cuts: Position of the last cut of each line, from top to bottom.
        images: (N, 28, 28) uint8: each candidate, prepared for the networks.
    """

    candidates: tuple[Candidate, ...]
    cuts: tuple[int, ...]
    images: NDArray[np.uint8]


class TooManyCandidates(ValueError):
    """A drawing has more parts that may be a digit than the limit; the argument is their number."""


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
    tops, bottoms = np.array([spans[number] for number in order]).T
    for piece in np.setdiff1d(np.arange(len(corners)), tall).tolist():
        middle = (corners[piece, 1] + corners[piece, 3]) / 2
        members[int(np.argmin(np.maximum(tops - middle, middle - bottoms)))].append(piece)
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
    """Return tall pieces grouped by vertical overlap with the last two of a group, from left to right."""
    order = tall[np.argsort(corners[tall, 0])]
    groups: list[list[int]] = []
    lows, highs = np.empty(len(order)), np.empty(len(order))  # of the last two of each group
    for piece in order.tolist():
        top, bottom = corners[piece, 1], corners[piece, 3]
        low, high = lows[: len(groups)], highs[: len(groups)]
        smaller = np.maximum(np.minimum(bottom - top, high - low), 1e-9)
        overlaps = (np.minimum(bottom, high) - np.maximum(top, low)) / smaller
        if groups and overlaps.max() > _SAME_LINE:
            number = int(overlaps.argmax())
            groups[number].append(piece)
        else:
            number = len(groups)
            groups.append([piece])
        recent = corners[groups[number][-2:]]
        lows[number], highs[number] = recent[:, 1].min(), recent[:, 3].max()
    return groups
