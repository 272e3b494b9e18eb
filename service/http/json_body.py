"""`application/json` to drawings.

One image as whole numbers takes no loop in Python: `bytes` checks type and range of all of them at
once. Only what it refuses is looked at number by number, to say which one is wrong.
"""

import base64
import binascii
import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.core.errors import BlankImage, MalformedRequest, PayloadTooLarge
from service.http.drawings import (
    Drawing,
    Drawings,
    Limits,
    Shape,
    by,
    check_count,
    from_unit,
    quote,
)

_MAX_COORDINATE = 1e9
_OF_NUMBERS = b"0123456789.-, []\n"
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


def read(body: bytes, shape: Shape, limits: Limits) -> Drawings:
    """Read `{"image": …}`, `{"images": […]}` or `{"strokes": […]}`, each with an optional `scale`.

    Args:
        body: The whole body.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.

    Returns:
        At least one image.

    Raises:
        MalformedRequest: It is not JSON, or a field is of another shape, type or range.
        PayloadTooLarge: More images or points than the limits allow.
        BlankImage: A drawing without points, or an image of zeros.
    """
    document = load(body, most_values(shape, limits))
    if not isinstance(document, dict):
        raise MalformedRequest("Body", "a JSON object", kind(document))
    for name in document:
        if name not in ("image", "images", "strokes", "scale"):
            expected = "an object with image, images or strokes, and perhaps scale"
            raise MalformedRequest("Body", expected, f"one with {quote(name)}")
    given = [name for name in ("image", "images", "strokes") if name in document]
    if len(given) != 1:
        got = f"one with {' and '.join(given) or 'none of them'}"
        raise MalformedRequest("Body", "an object with one of image, images, strokes", got)
    scale = document.get("scale", "byte")
    if scale not in ("byte", "unit"):
        raise MalformedRequest("Field 'scale'", "'byte' (0..255) or 'unit' (0..1)", kind(scale))
    value = document[given[0]]
    if given[0] == "strokes":
        return [Drawing("Field 'strokes'", _strokes(value, limits))]
    reader = _ImageReader(shape, scale == "unit", _may_hold_booleans(body))
    if given[0] == "image":
        return _batch([reader.read(value, "image")], shape)
    return _images(value, "images", reader, limits)


def read_instances(body: bytes, shape: Shape, limits: Limits) -> Drawings:
    """Read `{"instances": […]}`, as KServe's first protocol has it.

    Args:
        body: The whole body.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.

    Returns:
        At least one image: each as `read` takes one of `images`, or a picture file as `{"b64": …}`. Other
        members of the document are passed over, because other servers' clients send some.

    Raises:
        MalformedRequest, PayloadTooLarge, BlankImage: As `read`.
    """
    document = load(body, most_values(shape, limits))
    if not isinstance(document, dict) or "instances" not in document:
        raise MalformedRequest("Body", "a JSON object with instances", kind(document))
    instances = document["instances"]
    if isinstance(instances, list):
        instances = [
            item["b64"] if isinstance(item, dict) and item.keys() == {"b64"} else item for item in instances
        ]
    return _images(instances, "instances", _ImageReader(shape, False, _may_hold_booleans(body)), limits)


def load(body: bytes, most_values: int) -> Any:  # noqa: ANN401 - JSON can be anything; every caller checks it
    """Parse JSON.

    Its commas and opening brackets are counted first: there is at most one value more than both together,
    and a few bytes of JSON can become a hundred times as much memory.

    Args:
        body: The whole body.
        most_values: Numbers, strings, lists and objects that it may hold together.

    Returns:
        What it says.

    Raises:
        MalformedRequest: It is not JSON, holds NaN, an infinity or bytes that are no UTF-8, or is nested
            more than 1,024 deep; the message says where.
        PayloadTooLarge: It may hold more values.
    """
    if len(body) > most_values and sum(map(body.count, (b",", b"[", b"{"))) > most_values:
        raise PayloadTooLarge("Body", most_values, "JSON values", "more")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        got = f"{error.msg} at line {error.lineno} column {error.colno}" if body.strip() else "nothing"
        raise MalformedRequest("Body", "JSON in UTF-8, nested at most 1,024 deep", got) from error


def most_values(shape: Shape, limits: Limits) -> int:
    """Return how many JSON values the largest allowed request has, and a few more."""
    lists = math.prod(shape[:-1]) + 1
    return limits.images * (math.prod(shape) + lists) + 4 * limits.points + 100


def _may_hold_booleans(body: bytes) -> bool:
    words = body.translate(None, _OF_NUMBERS)  # much shorter, and quicker to search
    return b"true" in words or b"false" in words


def _images(value: object, name: str, reader: "_ImageReader", limits: Limits) -> Drawings:
    if not isinstance(value, list) or not value:
        raise MalformedRequest(f"Field {name!r}", "a list of at least one image", kind(value))
    check_count(len(value), limits)
    return _batch([reader.read(item, f"{name}[{row}]") for row, item in enumerate(value)], reader.shape)


def _batch(images: list[Drawing], shape: Shape) -> Drawings:
    for image in images:
        pixels = image.content
        if isinstance(pixels, np.ndarray) and pixels.ndim == 2 and not pixels.any():
            raise BlankImage(image.field, "0 everywhere")  # a black photograph may well be one
    whole = [
        image.content[None]
        for image in images
        if isinstance(image.content, np.ndarray) and image.content.shape == shape
    ]
    if len(whole) < len(images):
        return images
    return whole[0] if len(whole) == 1 else np.concatenate(whole)


@dataclass(frozen=True)
class _ImageReader:
    """Reads the images of one document.

    Attributes:
        shape: Of one image as the model takes it.
        unit: Whether numbers are 0..1 instead of 0..255.
        booleans: Whether the document may hold true or false, which Python takes for 1 and 0.
    """

    shape: Shape
    unit: bool
    booleans: bool

    def read(self, value: object, name: str) -> Drawing:
        field = f"Field {name!r}"
        if isinstance(value, str):
            return Drawing(field, decode_base64(value, field))
        if not isinstance(value, list):
            raise self._no_image(name, kind(value))
        flat = self._flat(value, name)
        pixels = self._units(flat, name) if self.unit else self._bytes(flat, name)
        return Drawing(field, pixels.reshape(self.shape))

    def _bytes(self, flat: list[Any], name: str) -> NDArray[np.uint8]:
        if self.booleans:
            return self._whole(flat, name)
        try:
            return np.frombuffer(bytes(flat), np.uint8)
        except (TypeError, ValueError):  # a number that is no byte, or something that is no number
            return self._whole(flat, name)

    def _whole(self, flat: list[Any], name: str) -> NDArray[np.uint8]:
        """Take numbers such as 12.0 too, or say which number cannot be a pixel."""
        array = self._numbers(flat)
        if array is not None and ((array >= 0) & (array <= 255) & (array == np.rint(array))).all():
            return array.astype(np.uint8)
        for index, item in enumerate(flat):
            if not _is_number(item) or not 0 <= item <= 255 or item != int(item):
                hint = ' (for numbers 0..1 add "scale": "unit")' if isinstance(item, float) else ""
                field = f"Field {self._at(name, index)!r}"
                raise MalformedRequest(field, "a whole number 0..255", kind(item) + hint)
        return np.array(flat, np.float64).astype(np.uint8)

    def _numbers(self, flat: list[Any]) -> NDArray[Any] | None:
        """Return an array of numbers, or None if there is, or may be, anything else among them."""
        if self.booleans:
            return None
        try:
            array = np.array(flat)
        except ValueError:  # lists of different lengths among them
            return None
        return array if array.ndim == 1 and array.dtype.kind in "iuf" else None

    def _units(self, flat: list[Any], name: str) -> NDArray[np.uint8]:
        array = self._numbers(flat)
        if array is not None and ((array >= 0) & (array <= 1)).all():
            return from_unit(array)
        for index, item in enumerate(flat):
            if not _is_number(item) or not 0 <= item <= 1:
                field = f"Field {self._at(name, index)!r}"
                raise MalformedRequest(field, "a number 0..1", kind(item))
        return from_unit(np.array(flat, np.float64))

    def _flat(self, value: list[Any], name: str) -> list[Any]:
        """Return the numbers of an image that is nested as its shape says, or flat already."""
        size = math.prod(self.shape)
        if not value or not isinstance(value[0], list):
            if len(value) != size:
                raise self._no_image(name, f"a list of {len(value):,}")
            return value
        if len(value) != self.shape[0]:
            raise self._no_image(name, f"a list of {len(value):,} lists")
        for depth, width in enumerate(self.shape[1:], start=1):
            if {*map(type, value)} != {list} or {*map(len, value)} != {width}:
                index = next(i for i, row in enumerate(value) if not _is_list(row, width))
                field = f"Field {self._at(name, index, depth)!r}"
                raise MalformedRequest(field, f"a list of {width}", kind(value[index]))
            value = list(chain.from_iterable(value))
        return value

    def _at(self, name: str, index: int, depth: int | None = None) -> str:
        """Say where something stands in the image, as `image[2][7]`."""
        where = np.unravel_index(index, self.shape[:depth])
        return name + "".join(f"[{i}]" for i in where)

    def _no_image(self, name: str, got: str) -> MalformedRequest:
        size = math.prod(self.shape)
        expected = f"{by(self.shape)} numbers nested, {size:,} flat, or a picture file in base64"
        return MalformedRequest(f"Field {name!r}", expected, got)


def _strokes(value: object, limits: Limits) -> list[NDArray[np.float64]]:
    if not isinstance(value, list):
        raise MalformedRequest("Field 'strokes'", "a list of strokes", kind(value))
    strokes = []
    points = 0
    for row, stroke in enumerate(value):
        name = f"strokes[{row}]"
        if not isinstance(stroke, list):
            raise MalformedRequest(f"Field {name!r}", "a list of points [x, y]", kind(stroke))
        points += len(stroke)
        if points > limits.points:
            raise PayloadTooLarge("Field 'strokes'", limits.points, "points", f"{points:,} or more")
        if stroke:
            strokes.append(_points(stroke, name))
    if not strokes:
        raise BlankImage("Field 'strokes'", "no points")
    return strokes


def _points(stroke: list[Any], name: str) -> NDArray[np.float64]:
    """Return the points of a stroke that is not empty, (points, 2)."""
    if {*map(type, stroke)} == {list} and {*map(len, stroke)} == {2}:
        numbers = list(chain.from_iterable(stroke))
        if {*map(type, numbers)} <= {int, float}:
            points = np.array(numbers, np.float64)
            if np.abs(points).max() <= _MAX_COORDINATE:
                return points.reshape(-1, 2)
    column, point = next((column, point) for column, point in enumerate(stroke) if not _is_point(point))
    expected = f"a point [x, y], two numbers within ±{_MAX_COORDINATE:g}"
    raise MalformedRequest(f"Field '{name}[{column}]'", expected, kind(point))


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(_is_number(number) and abs(number) <= _MAX_COORDINATE for number in point)
    )


def decode_base64(text: str, field: str) -> bytes:
    """Return the bytes of a `data:` URL or of plain base64.

    Args:
        text: What came.
        field: As messages call it.

    Raises:
        MalformedRequest: It is neither.
    """
    head = _DATA_URL.match(text)
    if head is None and text[:5].lower() == "data:":
        raise MalformedRequest(field, "a data: URL of an image in base64", quote(text[:40]))
    try:
        return base64.b64decode(text[head.end() if head else 0 :], validate=True)
    except (binascii.Error, ValueError) as error:
        expected = "base64 of a PNG, JPEG or WebP file, alone or as a data: URL"
        raise MalformedRequest(field, expected, f"text that is no base64 ({error})") from error


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def kind(value: object) -> str:
    """Say what a JSON value is without repeating all of it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    return quote(value)
