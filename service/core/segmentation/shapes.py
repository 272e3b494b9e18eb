"""Shapes of ink: a table, a sheet of paper, a frame, and a digit of which only the outline is drawn."""

import numpy as np
from numpy.typing import NDArray

from service.core.segmentation import components, levels, morphology
from service.core.segmentation.components import Components

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_ANGLES = np.radians(np.arange(0, 90, 6))
"""Angles at which a rectangle round a shape is tried."""

_RECTANGULAR, _WRITTEN_ON = 0.86, 0.015
"""Share of the smallest rectangle around it that a sheet covers, its holes counted, and share of its holes.
An ellipse covers 0.79."""

_STRONG = 0.6
"""Ink from which on a pixel belongs to an outline; an outlined digit may be filled with a lighter grey."""

_THIN, _LEAST = 0.085, 0.004
"""Mean width of an outline, relative to the larger side, at most; and the smallest hole, of the whole
area."""

_RUNS = 1.5
"""Mean number of runs of ink in a row, and in a column: two where the outline has two sides."""

_BENT = 0.62
"""Share of its convex hull that the inside of an outlined digit covers at most; holes of digits are
convex."""

_COVERED = 0.7
"""Share of the digit's box that the box of the inside has, in both directions."""

_STRAIGHT, _NARROW = 0.88, 3.5
"""Share of its smallest rectangle that the inside of an outlined one covers, and its length over its width; a
narrow zero is pointed."""

_TABLE = 0.15
"""Share of ink along a small picture's edge from which on it is a table."""

_THICK = 0.3
"""Mean stroke width relative to the digit's larger side from which on the ink is no digit's: a sheet on a
table."""

_THINNEST_FRAME = 12
"""Smaller side in reduced pixels from which on a box is examined for being a frame."""

_OFF, _UNEVEN = 0.4, 0.1
"""Distance from the paper, relative to the least ink, and share of pixels beyond it from which on the paper
is not flat."""

_DEEP, _RULED = 4, 0.45
"""Depth of a side of the digit's box, in reduced pixels, and share of ink along it from which on it may be a
side of a frame or an axis, if another side has as much."""

_SOLID = 0.5
"""Share of ink in the digit's box from which on it may be a sheet on a table."""


def is_sheet(mask: Mask) -> bool:
    """Return whether a shape is a rectangle with something on it, at any angle.

    Args:
        mask: (h, w) bool, cropped.
    """
    holes = _holes(mask)
    if np.count_nonzero(holes) < _WRITTEN_ON * mask.size:
        return False
    return _rectangularity(mask | holes)[0] > _RECTANGULAR


def filled(ink: Floats) -> Floats:
    """Return a digit with its strokes filled, if only their outline is drawn.

    The strokes' inside is a hole that contains closed loops, as in an outlined zero, or that is bent, as in
    a two. A narrow rectangle is the inside of a one.

    Args:
        ink: (h, w) float32, 0 paper and 1 the middle of the strokes.

    Returns:
        `ink` itself if it shows no outline.
    """
    strong = ink > _STRONG
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    if not len(rows):
        return ink
    mask = strong[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if min(_runs(mask), _runs(mask.T)) < _RUNS or morphology.stroke_width(np.pad(mask, 1)) > _THIN * max(
        mask.shape
    ):
        return ink
    inside = _inside(mask)
    if inside is None:
        return ink
    inside = morphology.grown(np.pad(inside, 2), 2, np.maximum)[2:-2, 2:-2]
    whole = ink.copy()
    part = whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.maximum(part, inside, out=part)
    return whole


def _inside(mask: Mask) -> Mask | None:
    """Return the inside of an outlined digit's strokes; None if it is no outlined digit."""
    holes = components.connected(_holes(mask))
    areas = holes.sums(np.ones(mask.shape, np.float32))
    large = np.flatnonzero(areas > _LEAST * mask.size)
    if not len(large):
        return None
    inked = components.connected(mask)
    nested = _nested(holes, inked, large)
    if nested:
        return np.isin(holes.labels, np.array(nested) + 1)
    largest = int(areas.argmax())
    if areas[largest] < 0.85 * areas.sum():
        return None
    left, top, right, bottom = holes.boxes[largest].tolist()
    if bottom - top < _COVERED * mask.shape[0] or right - left < 0.5 * _COVERED * mask.shape[1]:
        return None
    hole = holes.labels == largest + 1
    crop = hole[top:bottom, left:right]
    share, ratio = _rectangularity(crop)
    if ratio > _NARROW and share > _STRAIGHT:
        return np.asarray(hole, np.bool_)
    if right - left < _COVERED * mask.shape[1] or areas[largest] > _BENT * _hull_area(crop):
        return None
    return np.asarray(hole, np.bool_)


def _nested(holes: Components, inked: Components, large: NDArray[np.intp]) -> list[int]:
    """Return the holes in which a component of the ink encloses another hole."""
    found = []
    for outer in large.tolist():
        inner = [box for box in inked.boxes.tolist() if _encloses(holes.boxes[outer].tolist(), box)]
        if any(_encloses(box, holes.boxes[other].tolist()) for box in inner for other in large.tolist()):
            found.append(outer)
    return found


def _encloses(outer: list[int], inner: list[int]) -> bool:
    """Return whether a box lies within another and is smaller on every side."""
    return outer[0] < inner[0] and outer[1] < inner[1] and outer[2] > inner[2] and outer[3] > inner[3]


def _holes(mask: Mask) -> Mask:
    """Return the pixels that a shape encloses."""
    empty = components.connected(np.pad(~mask, 1, constant_values=True))
    inside = (empty.labels != empty.labels[0, 0]) & (empty.labels > 0)
    return np.asarray(inside[1:-1, 1:-1], np.bool_)


def _runs(mask: Mask) -> float:
    """Return the mean number of runs in a row that has any."""
    starts = np.count_nonzero(mask[:, 1:] & ~mask[:, :-1]) + np.count_nonzero(mask[:, 0])
    return float(starts / max(int(np.count_nonzero(mask.any(axis=1))), 1))


def _rectangularity(mask: Mask) -> tuple[float, float]:
    """Return how much of the smallest rectangle round a shape it covers, and that one's length over width."""
    points = _ends(mask)
    along = points @ np.stack((np.cos(_ANGLES), np.sin(_ANGLES)))
    across = points @ np.stack((-np.sin(_ANGLES), np.cos(_ANGLES)))
    lengths, widths = np.ptp(along, axis=0) + 1, np.ptp(across, axis=0) + 1
    best = int((lengths * widths).argmin())
    length, width = max(lengths[best], widths[best]), min(lengths[best], widths[best])
    return float(np.count_nonzero(mask) / (length * width)), float(length / width)


def _ends(mask: Mask) -> NDArray[np.float64]:
    """Return x and y of the first and last pixel of each row: (points, 2)."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    return np.stack((np.concatenate((first, last)), np.concatenate((rows, rows))), axis=1).astype(np.float64)


def _hull_area(mask: Mask) -> float:
    """Return the area of a shape's convex hull: the intersection of half-planes at many angles, in pixels."""
    points = _ends(mask)
    angles = np.radians(np.arange(0, 360, 10))
    reach = (points @ np.stack((np.cos(angles), np.sin(angles)))).max(axis=0) + 0.5
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    inside = np.ones(mask.shape, np.bool_)
    for angle, limit in zip(angles, reach, strict=True):
        inside &= x * np.cos(angle) + y * np.sin(angle) <= limit
    return float(np.count_nonzero(inside))


def is_flat(ink: Floats, floor: float) -> bool:
    """Return whether what is no ink lies near the surface of the paper; a shadow's edge does not."""
    empty = np.abs(ink[ink < floor])
    changes = np.sort(np.abs(ink[:, 1:] - ink[:, :-1]).ravel()[::3])
    grain = levels.SIGMA * float(changes[len(changes) // 2]) if len(changes) else 0.0
    return bool(np.count_nonzero(empty > max(_OFF * floor, 2.5 * grain)) < _UNEVEN * empty.size)


def reaches_edge(ink: Floats) -> bool:
    """Return whether there is ink at the picture's edge."""
    return bool(ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


def shows_table(ink: Floats, box: tuple[int, int, int, int]) -> bool:
    """Return whether the ink of a small picture is a table at its edge, or a sheet on a table."""
    edge = np.concatenate((ink[0], ink[-1], ink[:, 0], ink[:, -1]))
    if np.count_nonzero(edge) > _TABLE * len(edge):
        return True
    left, top, right, bottom = box
    digit = ink[top:bottom, left:right]
    return bool(min(digit.shape) >= _THINNEST_FRAME and np.count_nonzero(digit) > _SOLID * digit.size)


def is_alone(ink: Floats, box: tuple[int, int, int, int]) -> bool:
    """Return whether there is nothing but the digit on the paper.

    Args:
        ink: (h, w) float32, 0 where there is none.
        box: Left, top, right and bottom of the digit.
    """
    if reaches_edge(ink):
        return False
    left, top, right, bottom = box
    digit = ink[top:bottom, left:right] > 0
    if not digit.any(axis=0).all() or not digit.any(axis=1).all():  # it falls into parts
        return False
    if min(digit.shape) >= _THINNEST_FRAME:
        sides = (
            digit[:_DEEP].any(axis=0),
            digit[-_DEEP:].any(axis=0),
            digit[:, :_DEEP].any(axis=1),
            digit[:, -_DEEP:].any(axis=1),
        )
        is_ruled = sum(int(np.count_nonzero(side)) > _RULED * side.size for side in sides) > 1
        if is_ruled and components.connected(digit).count > 1:
            return False
        if np.count_nonzero(digit) > _SOLID * digit.size:
            return False
    return bool(morphology.stroke_width(np.pad(digit, 1)) < _THICK * max(digit.shape))
