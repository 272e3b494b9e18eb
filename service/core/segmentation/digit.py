"""Choice of the connected components that belong to the digit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.segmentation.components import Components
from service.core.segmentation.paper import Blank

Floats = NDArray[np.float32]

_DIRT = 0.03
"""What has less than this share of the digit's ink and lies apart from it is dirt."""

_RULED = 0.85
"""Share of a component's pixels near the edges of its box from which on it is a frame or a pair of axes."""

_FLAT = 0.22
"""Height of a horizontal line relative to its length; a line is no digit if there is anything else."""

_BEYOND = 0.08
"""How far a side of a box goes beyond the digit at both ends, relative to the digit's size."""

FROM_OUTSIDE = 0.2
"""Weight of what reaches in from the picture's edge, and of horizontal lines, in the search for the digit."""

_UNDERLINE = 0.45
"""Length of a horizontal line below the digit, relative to the digit's size, from which on it underlines."""

_BESIDE, _NEAR, _NEAR_WORD, _NEAR_EDGE = 0.14, 0.3, 0.1, 0.05
"""Distance from the digit's main component, relative to its size, up to which others belong to it: beside
it, above and below it, horizontal lines, and those that reach in from the picture's edge. Of 17,265 digits
of 305 writers 152 have separate parts, nine tenths of them nearer than 0.07."""

_SPECK = 0.05
"""What lies apart from the digit and has less than this share of all ink is dirt."""

_BARS = 2
"""Horizontal lines up to which one may be a digit's, such as the bar of a five; more are words or rules."""

EDGE = 1
"""Pixels between a component and the picture's edge up to which it reaches in from outside."""


class Chosen(NamedTuple):
    """The components of a digit.

    Attributes:
        indices: Of the components.
        dropped: Ink of the largest other component that may be a digit, relative to that of the main one.
    """

    indices: NDArray[np.intp]
    dropped: float


def components_of_digit(found: Components, ink: Floats) -> Chosen:
    """Return the digit's components.

    Args:
        found: The components of the ink.
        ink: (h, w) float32.
    """
    height, width = ink.shape
    mass = found.sums(np.maximum(ink, 0))
    boxes = found.boxes
    margins = np.minimum(boxes[:, :2], [width, height] - boxes[:, 2:]).min(axis=1)
    at_edge = np.asarray(margins <= EDGE, np.bool_)
    ruled = np.array([_is_ruled(found, index) for index in range(found.count)])
    middle = np.stack((boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]), axis=1) / 2
    away = np.abs(middle / [width, height] - 0.5).max(axis=1)
    flat = boxes[:, 3] - boxes[:, 1] <= _FLAT * (boxes[:, 2] - boxes[:, 0])
    score = mass * np.where(at_edge | flat, FROM_OUTSIDE, 1) * np.where(ruled, 0.05, 1) * (1.2 - away)
    main = int(score.argmax())
    left, top, right, bottom = boxes[main].tolist()
    size = max(right - left, bottom - top)
    x0, y0, x1, y1 = boxes.T
    gap = np.maximum(np.maximum(x0 - right, left - x1), np.maximum(y0 - bottom, top - y1))
    beside = np.maximum(x0 - right, left - x1) > 0
    near_flat = _NEAR_WORD if np.count_nonzero(flat) > _BARS else _NEAR
    near = np.where(flat, near_flat, np.where(beside, _BESIDE, _NEAR))
    is_near = gap <= np.where(at_edge & ~at_edge[main], _NEAR_EDGE, near) * size
    is_underline = flat & (y0 + y1 >= 2 * bottom) & (x1 - x0 > _UNDERLINE * size)
    beyond = _BEYOND * size
    is_side = (flat & (x0 < left - beyond) & (x1 > right + beyond)) | (
        (x1 - x0 <= _FLAT * (y1 - y0)) & (y0 < top - beyond) & (y1 > bottom + beyond)
    )  # of a box whose other sides were not found; the stem of a four begins where its angle does
    kept = is_near & ~is_underline & ~is_side & ~ruled & (mass >= _DIRT * mass[main])
    kept[main] = True
    others = mass[~kept & ~ruled & ~flat & ~is_side & ~at_edge]
    return Chosen(np.flatnonzero(kept), float(others.max() / mass[main]) if len(others) else 0.0)


def _is_ruled(found: Components, index: int) -> bool:
    """Return whether a component is a frame, or a pair of axes, with another component inside its box."""
    left, top, right, bottom = found.boxes[index].tolist()
    width, height = right - left, bottom - top
    if min(width, height) < 12:
        return False
    own = found.labels[top:bottom, left:right] == index + 1
    x, y = max(2, round(0.1 * width)), max(2, round(0.1 * height))
    inner = own[y:-y, x:-x]
    if np.count_nonzero(inner) > (1 - _RULED) * np.count_nonzero(own):
        return False
    others = found.labels[top + y : bottom - y, left + x : right - x]
    return bool(((others > 0) & (others != index + 1)).sum() > 8)


def box_of_ink(ink: Floats) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the digit, without the specks beside, above and below it."""
    left, right = _span(ink.sum(axis=0))
    rows = ink[:, left:right].sum(axis=1)
    top, bottom = _span(rows)
    if np.count_nonzero(rows) > np.count_nonzero(rows[top:bottom]):  # then it may have become narrower
        inner_left, inner_right = _span(ink[top:bottom, left:right].sum(axis=0))
        left, right = left + inner_left, left + inner_right
    return left, top, right, bottom


def _span(profile: Floats) -> tuple[int, int]:
    """Return the first and one after the last place with ink, runs of less than a speck left out."""
    places = profile.nonzero()[0]
    if not len(places):
        raise Blank
    first, last = int(places[0]), int(places[-1])
    if last - first < len(places):  # one run
        return first, last + 1
    gaps = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.concatenate(([0], gaps + 1))]
    ends = places[np.concatenate((gaps, [len(places) - 1]))] + 1
    amounts = np.add.reduceat(profile, starts)  # between runs there is none
    kept = np.flatnonzero(amounts >= _SPECK * amounts.sum())
    return int(starts[kept[0]]), int(ends[kept[-1]])
