"""Pictures to a lattice: lines of connected components, cut along seams where digits may meet."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import mnist
from service.core.reading import seams
from service.core.reading.candidates import WIDEST, Box, Candidate, Lattice, TooManyCandidates, lines
from service.core.reading.seams import Seam
from service.core.segmentation import components, cutting, morphology
from service.core.segmentation.paper import Blank

_PIXELS = 480**2
"""Pixels of the reduced picture on which lines are found."""

_LONGEST = 1920
"""Larger side of the reduced picture at most, in pixels."""

_TALLEST = 96
"""Usual height of the digits of a line at most, in pixels: larger ones are reduced."""

_THINNEST = 3.0
"""Width of the strokes at least that they are reduced to, in pixels."""

_INK = 0.4
"""Ink from which on a pixel belongs to a component."""

_SPECK = 0.01
"""Share of the largest component's pixels below which a component is a speck."""

_MOST_RUNS = 30_000
"""Runs of ink in the rows of the reduced picture at most: noise has more, and would take long to connect."""

_COSTLIEST = 0.6
"""Ink on a seam at most, in usual heights."""

_MOST_SEAMS = 64
"""Seams of one line at most: five per digit."""

_FREE = 0.5
"""Pixels of ink on a seam below which it separates parts that do not touch."""

_LOWEST, _LEAST_INK = 0.25, 0.15
"""Height and length of strokes, in usual heights, below which several parts are no digit."""

_NEAR = 0.12
"""Rows above and below, in usual heights, that count when the width of a gap is measured."""

_FAR = 1e6
"""Larger than every distance."""


@dataclass(frozen=True)
class _Line:
    """The ink of one line of text.

    Attributes:
        ink: (h, w) float32, 0 to 1, with soft edges.
        mask: (h, w) bool: pixels of components.
        height: Usual height of a digit, in pixels.
        pen: Width of the strokes, in pixels.
        left, top: Position of its corner, in pixels of the picture.
        unit: Pixels of the picture for one of the line.
    """

    ink: NDArray[np.float32]
    mask: NDArray[np.bool_]
    height: float
    pen: float
    left: float
    top: float
    unit: float


def cut(picture: Image.Image | NDArray[np.uint8], most: int) -> Lattice:
    """Return the candidates of a picture of one or more digits.

    Args:
        picture: As `cutting.cut_out` takes it.
        most: Number of candidates at most. Of too many, those between costly cuts are left out.

    Raises:
        Blank: There is no ink on the paper.
        TooManyCandidates: There are too many even of those that do not touch.
    """
    text = _lines(picture, most)
    costliest, most_seams = _COSTLIEST, _MOST_SEAMS
    while True:
        cuts = [_seams(line, costliest, most_seams) for line in text]
        parts = [_parts(line, found) for line, found in zip(text, cuts, strict=True)]
        count = sum(len(found) for found in parts)
        if count <= most:
            break
        if costliest == 0:
            raise TooManyCandidates(count)
        costliest = costliest / 2 if costliest > _COSTLIEST / 8 else 0
    candidates, images = [], []
    for number, (line, found, chosen) in enumerate(zip(text, cuts, parts, strict=True)):
        gaps = _gaps(line, found)
        for part in chosen:
            candidates.append(_candidate(line, number, found, gaps, part))
            images.append(mnist.from_ink(_cropped(line, found, part)))
    return Lattice(tuple(candidates), tuple(len(found) - 1 for found in cuts), np.stack(images))


def _lines(picture: Image.Image | NDArray[np.uint8], most: int) -> list[_Line]:
    """Return the lines of a picture, top to bottom."""
    ink, unit = cutting.ink_of(picture, _side(picture))
    ink = np.minimum(np.maximum(ink, 0), 1)
    drawn = ink > _INK
    runs = int(np.count_nonzero(drawn[:, 1:] & ~drawn[:, :-1]))
    if runs > _MOST_RUNS:
        raise TooManyCandidates(runs)
    found = components.connected(drawn)
    if not found.count:
        raise Blank
    pixels = found.sums(np.ones(ink.shape, np.float32))
    kept = np.flatnonzero(pixels >= _SPECK * pixels.max())
    if len(kept) > most:
        raise TooManyCandidates(len(kept))
    boxes: list[Box] = [(box[0], box[1], box[2], box[3]) for box in found.boxes[kept].tolist()]
    return [_line(ink, found, kept[list(line.pieces)], line.height, unit) for line in lines(boxes)]


def _side(picture: Image.Image | NDArray[np.uint8]) -> int:
    """Return the larger side of the reduced picture: as many pixels for a long one as for a square."""
    height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else picture.size[::-1]
    longest = math.sqrt(_PIXELS * max(height, width) / min(height, width))
    return min(_LONGEST, round(longest))


def _line(
    ink: NDArray[np.float32],
    found: components.Components,
    members: NDArray[np.intp],
    height: float,
    unit: float,
) -> _Line:
    """Return the ink of some components with its soft edges: their neighbours that are no component's."""
    boxes = found.boxes[members]
    left, top = np.maximum(boxes[:, :2].min(axis=0) - 1, 0).tolist()
    right, bottom = (boxes[:, 2:].max(axis=0) + 1).tolist()
    labels = found.labels[top:bottom, left:right]
    own = np.isin(labels, members + 1)
    near = own.copy()
    near[1:] |= own[:-1]
    near[:-1] |= own[1:]
    near[:, 1:] |= own[:, :-1]
    near[:, :-1] |= own[:, 1:]
    part = np.where(own | (near & (labels == 0)), ink[top:bottom, left:right], 0).astype(np.float32)
    pen = max(morphology.stroke_width(np.pad(own, 1)), 1.0)
    scale = max(1.0, min(height / _TALLEST, pen / _THINNEST))
    if scale > 1:
        tall, wide = (max(1, round(side / scale)) for side in part.shape)
        part = np.asarray(Image.fromarray(part).resize((wide, tall), Image.Resampling.BOX), np.float32)
        own = part > _INK
    return _Line(part, own, height / scale, pen / scale, left * unit, top * unit, unit * scale)


def _seams(line: _Line, costliest: float, most: int) -> list[Seam]:
    """Return the seams of a line, with its left and its right edge."""
    hard = line.mask.astype(np.float32)
    rows, width = hard.shape
    found = seams.find(hard, line.height, line.pen, costliest, most)
    edges = np.zeros(rows, np.intp), np.full(rows, width)
    return [Seam(edges[0], 0.0, 0.0), *found, Seam(edges[1], 0.0, float(hard.sum()))]


@dataclass(frozen=True)
class _Part:
    """What lies between two seams.

    Attributes:
        start, end: Positions of the seams.
        box: Left, top, right and bottom of its ink, in pixels of the line.
    """

    start: int
    end: int
    box: tuple[int, int, int, int]


def _parts(line: _Line, cuts: list[Seam]) -> list[_Part]:
    """Return what lies between two seams that are not too far apart; between neighbours whatever it is."""
    found = []
    for start in range(len(cuts) - 1):
        for end in range(start + 1, len(cuts)):
            part = _part(line, cuts, start, end)
            width, height = part.box[2] - part.box[0], part.box[3] - part.box[1]
            if end > start + 1:
                if width > WIDEST * line.height:
                    break
                ink = (cuts[end].left - cuts[start].left) / line.pen
                if height < _LOWEST * line.height or ink < _LEAST_INK * line.height:
                    continue
            found.append(part)
    return found


def _part(line: _Line, cuts: list[Seam], start: int, end: int) -> _Part:
    left, between = _between(cuts[start], cuts[end])
    ink = line.mask[:, left : left + between.shape[1]] & between
    x, y = np.flatnonzero(ink.any(axis=0)) + left, np.flatnonzero(ink.any(axis=1))
    return _Part(start, end, (int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1))


def _between(one: Seam, two: Seam) -> tuple[int, NDArray[np.bool_]]:
    """Return the first column between two seams, and the pixels between them from there on: (h, w) bool."""
    left, right = int(one.columns.min()), int(two.columns.max())
    columns = np.arange(left, right)
    return left, (columns >= one.columns[:, None]) & (columns < two.columns[:, None])


def _cropped(line: _Line, cuts: list[Seam], part: _Part) -> NDArray[np.float32]:
    """Return the ink of a part, with a pixel for its soft edges: (h, w) float32."""
    first, between = _between(cuts[part.start], cuts[part.end])
    left, top, right, bottom = part.box
    x, y = max(left - 1, first), max(top - 1, 0)
    ink = line.ink[y : bottom + 1, x : min(right + 1, first + between.shape[1])]
    return ink * between[y : bottom + 1, x - first : x - first + ink.shape[1]]


def _candidate(line: _Line, number: int, cuts: list[Seam], gaps: list[float], part: _Part) -> Candidate:
    left, top, right, bottom = part.box
    inner = range(part.start + 1, part.end)
    return Candidate(
        line=number,
        start=part.start,
        end=part.end,
        box=(
            line.left + left * line.unit,
            line.top + top * line.unit,
            line.left + right * line.unit,
            line.top + bottom * line.unit,
        ),
        width=(right - left) / line.height,
        height=(bottom - top) / line.height,
        ink=(cuts[part.end].left - cuts[part.start].left) / line.pen / line.height,
        gap=max((gaps[seam] for seam in inner), default=0.0),
        joins=sum(cuts[seam].ink < _FREE for seam in inner),
        cut=cuts[part.end].ink / line.height,
    )


def _gaps(line: _Line, cuts: list[Seam]) -> list[float]:
    """Return the width of the free gap at each seam, in usual heights; 0 where the seam crosses ink.

    It is the least distance in x of ink on both sides, within rows that are near each other.
    """
    rows, width = line.mask.shape
    columns = np.arange(width)
    last = np.maximum.accumulate(np.where(line.mask, columns, -_FAR), axis=1)
    following = np.minimum.accumulate(np.where(line.mask, columns, _FAR)[:, ::-1], axis=1)[:, ::-1]
    every = np.arange(rows)
    reach = max(1, int(_NEAR * line.height))
    gaps = []
    for seam in cuts:
        at = seam.columns
        if seam.ink >= _FREE or (at[0] == at[-1] and at[0] in (0, width)):
            gaps.append(0.0)
            continue
        before = np.where(at > 0, last[every, np.maximum(at - 1, 0)], -_FAR)
        after = np.where(at < width, following[every, np.minimum(at, width - 1)], _FAR)
        padded = np.pad(before, reach, constant_values=-_FAR)
        before = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
        gaps.append(max(float((after - before).min()) / line.height, 0.0))
    return gaps
