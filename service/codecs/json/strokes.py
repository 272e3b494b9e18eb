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
    for column, point in enumerate(stroke):
        field = f"{name}[{column}]"
        if not isinstance(point, list) or len(point) != 2:
            raise MalformedRequest(f"Field {field!r}", "a point [x, y], two numbers", describe(point))
        for axis, number in enumerate(point):
            if not is_number(number):
                raise MalformedRequest(f"Field '{field}[{axis}]'", "a number", describe(number))
            if abs(number) > _MAX_COORDINATE:
                expected = f"a number -{_MAX_COORDINATE:,.0f}..{_MAX_COORDINATE:,.0f}"
                raise MalformedRequest(f"Field '{field}[{axis}]'", expected, describe(number))
    return np.array(stroke, np.float64)
