"""Decoders of rows of numbers, for networks whose input is not an image: JSON and NumPy files."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.codecs import arrays
from service.codecs.drawings import Limits, Shape, check_count
from service.codecs.json import parser
from service.codecs.json.images import describe, is_number
from service.core.errors import MalformedRequest
from service.core.wording import quote

_LARGEST = float(np.finfo(np.float32).max)


def read_json(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.float32]:
    """Decode `{"row": […]}` or `{"rows": [[…], …]}`.

    Args:
        body: The whole body.
        shape: Shape of one row of the model, (n,).
        limits: Limits of one request.

    Returns:
        (B, n) float32, B >= 1.

    Raises:
        MalformedRequest: The body is not JSON, or has another member, or a row another length or a value that
            is no number of float32.
        PayloadTooLarge: There are more rows or JSON values than the limits allow.
    """
    document = parser.parse(body, parser.max_values(shape, limits), shape)
    if not isinstance(document, dict):
        raise MalformedRequest("Body", "a JSON object", describe(document))
    if len(document) != 1 or not document.keys() <= {"row", "rows"}:
        got = " and ".join(quote(name) for name in list(document)[:4]) or "none of them"
        raise MalformedRequest("Body", "an object with row or rows for this model", f"one with {got}")
    if "row" in document:
        return _rows([document["row"]], ["row"], shape)
    return _named(document["rows"], "rows", shape, limits)


def read_instances(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.float32]:
    """Decode `{"instances": [[…], …]}` of KServe's V1 protocol; as `read_json`. Other members are ignored."""
    document = parser.parse(body, parser.max_values(shape, limits), shape)
    if not isinstance(document, dict) or "instances" not in document:
        raise MalformedRequest("Body", "a JSON object with instances", describe(document))
    return _named(document["instances"], "instances", shape, limits)


def read_npy(body: bytes, shape: Shape, limits: Limits) -> NDArray[np.float32]:
    """Decode a NumPy file of one row or many.

    Args:
        body: The whole body.
        shape: Shape of one row of the model, (n,).
        limits: Limits of one request.

    Returns:
        (B, n) float32, B >= 1.

    Raises:
        MalformedRequest: The file is invalid, or its array has another shape or dtype, or a number that is
            not finite in float32.
        PayloadTooLarge: There are more rows than the limit.
    """
    array = arrays.load_npy(body)
    if array.dtype == np.bool_:
        raise MalformedRequest("Array", "of integers or floats", "bool")
    rows = array[None] if array.shape == shape else array
    if rows.shape[1:] != shape or not len(rows):
        raise MalformedRequest("Array", f"of shape ({shape[0]},) or (n, {shape[0]})", str(array.shape))
    check_count(len(rows), limits)
    return to_float32(rows, "Array")


def to_float32(rows: NDArray[Any], field: str) -> NDArray[np.float32]:
    """Convert rows of numbers to float32.

    Args:
        rows: (B, n) of any numeric dtype.
        field: Name of the array in messages.

    Raises:
        MalformedRequest: A number is not finite in float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = rows.astype(np.float32)
    finite = np.isfinite(found)
    if not finite.all():
        row, column = np.unravel_index(int(finite.argmin()), finite.shape)
        expected = f"a finite number within \u00b1{_LARGEST:.2g}"
        raise MalformedRequest(f"{field}[{row}, {column}]", expected, f"{rows[row, column]:g}")
    return found


def _named(values: object, member: str, shape: Shape, limits: Limits) -> NDArray[np.float32]:
    """Convert a JSON list of rows of numbers to float32."""
    if not isinstance(values, list) or not values:
        raise MalformedRequest(f"Field {member!r}", "a list of at least one row", describe(values))
    check_count(len(values), limits)
    return _rows(values, [f"{member}[{index}]" for index in range(len(values))], shape)


def _rows(values: list[Any], names: list[str], shape: Shape) -> NDArray[np.float32]:
    """Convert lists of numbers; `names` are those of the rows in messages."""
    for value, name in zip(values, names, strict=True):
        if not isinstance(value, list) or len(value) != shape[0]:
            raise MalformedRequest(f"Field {name!r}", f"a list of {shape[0]:,} numbers", describe(value))
        for column, number in enumerate(value):
            if not is_number(number) or not abs(number) <= _LARGEST:
                expected = f"a number within \u00b1{_LARGEST:.2g}"
                raise MalformedRequest(f"Field '{name}[{column}]'", expected, describe(number))
    return np.array(values, np.float64).astype(np.float32)
