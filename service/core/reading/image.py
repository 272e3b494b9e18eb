"""Pieces of an image that are at most one digit each: connected components, wide ones cut."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import components, segmentation
from service.core.reading.candidates import Box, Line, lines

_COARSE_SIDE = 480
"""Larger side, in pixels, of the image on which components and the usual height are found."""

_INK = 0.4
"""Ink from which on a pixel belongs to a component."""

_SPECK = 0.01
"""Share of the largest component's pixels below which a component is a speck."""

_WIDE = 0.75
"""Width of a component, in usual heights, from which on it is cut."""

_APART = 0.2
"""Least distance of two cuts, in usual heights."""

_SIDEWAYS = 0.1
"""Cost of a step of a seam to the side, in pixels of ink."""

_USUAL_WIDTH = 0.75
"""Width of a digit, in usual heights: a component as wide as two is cut whatever it costs."""

_COSTLIEST = 0.42
"""Cost of a cut at most, in usual heights of ink."""

_MOST_CUTS = 8
"""Cuts of one component at most."""


@dataclass(frozen=True)
class _Component:
    """A connected component of the ink: position of its bounding box, and (h, w) bool."""

    left: int
    top: int
    mask: NDArray[np.bool_]

    @property
    def height(self) -> int:
        return len(self.mask)

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])


@dataclass(frozen=True)
class Piece:
    """A part of an image's ink.

    Attributes:
        left, top: Position of its corner in the ink.
        ink: (h, w) float32, 0 where the ink belongs to another piece.
        box: Bounding box in pixels of the picture.
    """

    left: int
    top: int
    ink: NDArray[np.float32]
    box: Box


def pieces(picture: Image.Image | NDArray[np.uint8]) -> tuple[list[Piece], list[Line]]:
    """Return the pieces of a picture of one or more digits, and its lines of text.

    Args:
        picture: As `segmentation.cut_out` takes it.

    Raises:
        Blank: There is no ink on the paper.
    """
    ink, unit = segmentation.ink_of(picture, _COARSE_SIDE)
    found = _components(ink > _INK)
    heights = np.sort([component.height for component in found])
    usual = float(heights[np.searchsorted(np.cumsum(heights), heights.sum() / 2)])
    soft = np.maximum(ink, 0)
    parts: list[Piece] = []
    of_component: list[range] = []
    for component in found:
        cut = [_piece(component, mask, soft, unit) for mask in _cut(component, usual)]
        of_component.append(range(len(parts), len(parts) + len(cut)))
        parts += cut
    boxes = [
        (one.left * unit, one.top * unit, (one.left + one.width) * unit, (one.top + one.height) * unit)
        for one in found
    ]
    text = []
    for line in lines(boxes):
        members = [part for number in line.pieces for part in of_component[number]]
        members.sort(key=lambda part: parts[part].box[0] + parts[part].box[2])
        text.append(Line(tuple(members), line.height))
    return parts, text


def _components(ink: NDArray[np.bool_]) -> list[_Component]:
    """Return the components that are no specks; raises Blank if there are none."""
    found = components.connected(ink)
    if not found.count:
        raise segmentation.Blank
    pixels = found.sums(np.ones(ink.shape, np.float32))
    result = []
    for number in np.flatnonzero(pixels >= _SPECK * pixels.max()).tolist():
        left, top, right, bottom = found.boxes[number].tolist()
        result.append(_Component(left, top, found.labels[top:bottom, left:right] == number + 1))
    return result


def _piece(component: _Component, mask: NDArray[np.bool_], ink: NDArray[np.float32], unit: float) -> Piece:
    """Return a piece with its soft edges: its own pixels, and their neighbours that are no component's."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = component.top + int(rows[0]), component.left + int(columns[0])
    height, width = mask.shape
    y, x = max(top - 1, 0), max(left - 1, 0)
    bottom, right = min(top + height + 1, ink.shape[0]), min(left + width + 1, ink.shape[1])
    own = np.zeros((bottom - y, right - x), np.bool_)
    own[top - y : top - y + height, left - x : left - x + width] = mask
    edge = own.copy()
    edge[1:] |= own[:-1]
    edge[:-1] |= own[1:]
    edge[:, 1:] |= own[:, :-1]
    edge[:, :-1] |= own[:, 1:]
    part = ink[y:bottom, x:right]
    soft = np.where(own | (edge & (part <= _INK)), part, 0).astype(np.float32)
    return Piece(x, y, soft, (left * unit, top * unit, (left + width) * unit, (top + height) * unit))


def _cut(component: _Component, usual: float) -> list[NDArray[np.bool_]]:
    """Cut a wide component along seams with little ink; return the mask of each part."""
    mask = component.mask
    if component.width < _WIDE * usual or component.height < 0.3 * usual:
        return [mask]
    columns = np.arange(component.width)
    parts = []
    rest = mask
    for seam in _seams(mask, usual):
        left = rest & (columns < seam[:, None])
        rest = rest & (columns >= seam[:, None])
        parts.append(left)
    return [part for part in (*parts, rest) if part.any()]


def _seams(mask: NDArray[np.bool_], usual: float) -> list[NDArray[np.intp]]:
    """Return seams from top to bottom that cross little ink, from left to right.

    A seam moves by at most one column a row. Between two digits that touch it crosses one stroke, through a
    loop two. (S. Avidan, A. Shamir, "Seam carving", SIGGRAPH 2007.)

    Returns:
        The column of each seam in each row: (h,) each.
    """
    height, width = mask.shape
    ink = mask.astype(np.float32)
    down, up = _least(ink), _least(ink[::-1])[::-1]
    middle = height // 2
    cost = down[middle] + up[middle] - ink[middle]
    margin = max(2, round(_APART * usual))
    allowed = max(0, round(width / (_USUAL_WIDTH * usual)) - 1)
    chosen: list[int] = []
    for column in (np.argsort(cost[margin:-margin], kind="stable") + margin).tolist():
        if len(chosen) == _MOST_CUTS or (cost[column] > _COSTLIEST * usual and len(chosen) >= allowed):
            break
        if all(abs(column - other) >= margin for other in chosen):
            chosen.append(column)
    return [_seam(down, up, middle, column) for column in sorted(chosen)]


def _least(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the least cost of a seam from the first row to each pixel: (h, w) float32."""
    total = ink.copy()
    for row in range(1, len(ink)):
        above = total[row - 1]
        best = above.copy()
        np.minimum(best[1:], above[:-1] + _SIDEWAYS, out=best[1:])
        np.minimum(best[:-1], above[1:] + _SIDEWAYS, out=best[:-1])
        total[row] += best
    return total


def _seam(down: NDArray[np.float32], up: NDArray[np.float32], middle: int, column: int) -> NDArray[np.intp]:
    """Return the cheapest seam through a pixel."""
    height = len(down)
    seam = np.empty(height, np.intp)
    for costs, rows in ((down, range(middle, -1, -1)), (up, range(middle, height))):
        at = column
        for row in rows:
            if row != middle:
                low = max(at - 1, 0)
                near = costs[row, low : at + 2]
                away = np.abs(np.arange(low, low + len(near)) - at) * _SIDEWAYS
                at = low + int(np.argmin(near + away))
            seam[row] = at
    return seam


def joined(parts: list[Piece]) -> NDArray[np.float32]:
    """Return the ink of several pieces in one image, cropped: (h, w) float32."""
    left, top = min(part.left for part in parts), min(part.top for part in parts)
    right = max(part.left + part.ink.shape[1] for part in parts)
    bottom = max(part.top + part.ink.shape[0] for part in parts)
    image = np.zeros((bottom - top, right - left), np.float32)
    for part in parts:
        y, x = part.top - top, part.left - left
        height, width = part.ink.shape
        view = image[y : y + height, x : x + width]
        np.maximum(view, part.ink, out=view)
    return image
