"""Decoder of strokes: lists of points in JSON."""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Limits
from service.codecs.json.images import describe, is_number
from service.core.errors import BlankImage, MalformedRequest, PayloadTooLarge

_MAX_COORDINATE = 1e9


def read(value: object, limits: Limits) -> list[NDArray[np.float64]]:
    """Decode strokes.

    Args:
        value: JSON value of the field `strokes`: a list of strokes, each a list of points [x, y].
        limits: Limits of one request.

    Returns:
        One (points, 2) float64 array per stroke that has points.

    Raises:
        MalformedRequest: The value has another structure, or a coordinate is out of range.
        PayloadTooLarge: There are too many points.
        BlankImage: There are no points.
    """
    if not isinstance(value, list):
        raise MalformedRequest("Field 'strokes'", "a list of strokes", describe(value))
    strokes = []
    points = 0
    for row, stroke in enumerate(value):
        name = f"strokes[{row}]"
        if not isinstance(stroke, list):
            raise MalformedRequest(f"Field {name!r}", "a list of points [x, y]", describe(stroke))
        points += len(stroke)
        if points > limits.points:
            raise PayloadTooLarge("Field 'strokes'", limits.points, "points", f"{points:,} or more")
        if stroke:
            strokes.append(_points(stroke, name))
    if not strokes:
        raise BlankImage("Field 'strokes'", "no points")
    return strokes


def _points(stroke: list[Any], name: str) -> NDArray[np.float64]:
    """Return the points of a stroke of at least one point: (points, 2)."""
    if {*map(type, stroke)} == {list} and {*map(len, stroke)} == {2}:
        numbers = list(chain.from_iterable(stroke))
        if {*map(type, numbers)} <= {int, float}:
            points = np.array(numbers, np.float64)
            if np.abs(points).max() <= _MAX_COORDINATE:
                return points.reshape(-1, 2)
    column, point = next((column, point) for column, point in enumerate(stroke) if not _is_point(point))
    expected = f"a point [x, y], two numbers within ±{_MAX_COORDINATE:g}"
    raise MalformedRequest(f"Field '{name}[{column}]'", expected, describe(point))


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(is_number(number) and abs(number) <= _MAX_COORDINATE for number in point)
    )
