"""`application/json` to drawings.

A long document of many images is not parsed as a whole if it can be read otherwise; it means the same.
"""

import math
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.codecs.drawings import Drawing, Drawings, Limits, Shape, check_count
from service.codecs.json import memory, number_lists
from service.codecs.json.images import ImageReader, kind, reader_of
from service.codecs.json.images import is_number as _is_number
from service.core.errors import BlankImage, MalformedRequest, PayloadTooLarge, RequestError
from service.core.wording import quote

LONG_BYTES = 8192
"""From this size on it pays to look at a document before it is parsed."""

_PIECES_BYTES = 65_536
"""From this size on a list is parsed item by item; a shorter one takes less time as a whole."""

_MAX_COORDINATE = 1e9
_COUNTED_BYTES = 65_536
_BLANK = "0 everywhere"


def read(body: bytes, shape: Shape, limits: Limits, is_blank_allowed: bool = False) -> Drawings:
    """Read `{"image": …}`, `{"images": […]}` or `{"strokes": […]}`, each with an optional `scale`.

    Args:
        body: The whole body.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.
        is_blank_allowed: Whether an image may be nothing but zeros.

    Returns:
        At least one image.

    Raises:
        MalformedRequest: It is not JSON, or a field is of another shape, type or range.
        PayloadTooLarge: More images or points than the limits allow.
        BlankImage: A drawing without points, or an image of zeros that is not allowed.
    """
    most = most_values(shape, limits)
    if len(body) >= LONG_BYTES:
        images = _read_long(body, "images", most, shape, limits, is_blank_allowed)
        if images is not None:
            return images
    document = load(body, most, shape)
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
    reader = reader_of(shape, scale == "unit", may_hold_booleans(body))
    if given[0] == "image":
        return _image(value, reader, is_blank_allowed)
    return _images(value, "images", reader, limits, is_blank_allowed)


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
    most = most_values(shape, limits)
    if len(body) >= LONG_BYTES:
        images = _read_long(body, "instances", most, shape, limits)
        if images is not None:
            return images
    document = load(body, most, shape)
    if not isinstance(document, dict) or "instances" not in document:
        raise MalformedRequest("Body", "a JSON object with instances", kind(document))
    reader = reader_of(shape, False, may_hold_booleans(body))
    return _images(document["instances"], "instances", reader, limits)


def load(body: bytes, most_values: int, shape: Shape = ()) -> Any:  # noqa: ANN401 - JSON can be anything; every caller checks it
    """Parse JSON.

    Its commas and opening brackets are counted first: there is at most one value more than both together,
    and a few bytes of JSON can become a hundred times as much memory.

    Args:
        body: The whole body.
        most_values: Numbers, strings, lists and objects that it may hold together.
        shape: Of one image, if it may hold one.

    Returns:
        What it says.

    Raises:
        MalformedRequest: It is not JSON, holds NaN, an infinity or bytes that are no UTF-8, or is nested
            more than 1,024 deep; the message says where.
        PayloadTooLarge: It may hold more values, or parsing it may take more memory than its size allows.
    """
    if len(body) > most_values:
        check_values(body, most_values)
    memory.check(body, shape)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        got = f"{error.msg} at line {error.lineno} column {error.colno}" if body.strip() else "nothing"
        raise MalformedRequest("Body", "JSON in UTF-8, nested at most 1,024 deep", got) from error


def check_values(body: bytes, most_values: int) -> None:
    """Raise PayloadTooLarge if JSON may hold more values than that, as `load` counts them."""
    if len(body) <= most_values:
        return
    text = np.frombuffer(body, np.uint8)
    marks = 0
    for start in range(0, len(text), _COUNTED_BYTES):
        part = text[start : start + _COUNTED_BYTES]
        marks += int(np.count_nonzero((part == ord(",")) | (part == ord("[")) | (part == ord("{"))))
    if marks > most_values:
        raise PayloadTooLarge("Body", most_values, "JSON values", "more")


def most_values(shape: Shape, limits: Limits) -> int:
    """Return how many JSON values the largest allowed request has, and a few more."""
    lists = math.prod(shape[:-1]) + 1
    return limits.images * (math.prod(shape) + lists) + 4 * limits.points + 100


def may_hold_booleans(body: bytes) -> bool:
    """Tell whether true or false may stand in JSON; a single letter is found much quicker than a word."""
    return (b"r" in body and b"true" in body) or (b"f" in body and b"false" in body)


def _read_long(
    body: bytes,
    member: str,
    most_values: int,
    shape: Shape,
    limits: Limits,
    is_blank_allowed: bool = False,
) -> Drawings | None:
    """Read a document of many images so that no step of it keeps Python's lock for long.

    Returns:
        What it holds; None if that is not known: the whole is to be parsed, if only to say what is wrong.
    """
    is_whole = b"." not in body
    if not is_whole and len(body) < _PIECES_BYTES:
        return None
    check_values(body, most_values)
    cut = number_lists.cut(body, member.encode(), is_last=True)
    document = None if cut is None else number_lists.load_rest(cut)
    if cut is None or not isinstance(document, dict) or not number_lists.is_cut(document.pop(member, None)):
        return None
    scale = "byte"
    if member == "images":
        scale = document.pop("scale", "byte")
        if document or scale not in ("byte", "unit"):
            return None
    depth = cut.depth() - 1
    sides = shape if depth == len(shape) else (math.prod(shape),)
    numbers = None
    if depth == len(sides) and is_whole:
        numbers = number_lists.whole_numbers(body, cut.start + 1, cut.stop - 1, sides)
    if numbers is None or (scale == "unit" and numbers.max() > 1):
        if len(body) < _PIECES_BYTES:
            return None
        reader = reader_of(shape, scale == "unit", may_hold_booleans(body))
        return _read_pieces(cut, member, reader, limits, is_blank_allowed)
    images = numbers.reshape(-1, *shape)
    check_count(len(images), limits)
    if not is_blank_allowed:
        _check_drawn(images, member)
    return images * np.uint8(255) if scale == "unit" else images


def _read_pieces(
    cut: number_lists.Cut, member: str, reader: ImageReader, limits: Limits, is_blank_allowed: bool
) -> Drawings | None:
    images: list[Drawing] = []
    seen = 0
    wrong: RequestError | None = None
    try:
        for items in number_lists.pieces(cut, reader.shape):
            for item in items:
                if seen == limits.images:
                    return None
                try:
                    if wrong is None:
                        images.append(reader.read(_file_of(item, member), f"{member}[{seen}]"))
                except RequestError as error:  # raised once it is certain that the rest is JSON
                    wrong = error
                seen += 1
    except orjson.JSONDecodeError:
        return None
    if wrong is not None:
        raise wrong
    return _batch(images, reader.shape, is_blank_allowed) if images else None


def _image(value: object, reader: ImageReader, is_blank_allowed: bool) -> Drawings:
    pixels = reader.pixels(value)
    if pixels is None:
        return _batch([reader.read(value, "image")], reader.shape, is_blank_allowed)
    if not is_blank_allowed and len(reader.shape) == 2 and pixels == bytes(len(pixels)):
        raise BlankImage("Field 'image'", _BLANK)
    return np.frombuffer(pixels, np.uint8).reshape(1, *reader.shape)


def _images(
    value: object, member: str, reader: ImageReader, limits: Limits, is_blank_allowed: bool = False
) -> Drawings:
    if not isinstance(value, list) or not value:
        raise MalformedRequest(f"Field {member!r}", "a list of at least one image", kind(value))
    check_count(len(value), limits)
    images = _plain(value, reader)
    if images is None:
        items = [reader.read(_file_of(item, member), f"{member}[{row}]") for row, item in enumerate(value)]
        return _batch(items, reader.shape, is_blank_allowed)
    if not is_blank_allowed:
        _check_drawn(images, member)
    return images


def _plain(values: list[Any], reader: ImageReader) -> NDArray[np.uint8] | None:
    """Return images of whole numbers; None if one of them is anything else."""
    rows = []
    for value in values:
        pixels = reader.pixels(value)
        if pixels is None:
            return None
        rows.append(pixels)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, *reader.shape)


def _file_of(item: object, member: str) -> object:
    """Return an item of a document, or the picture file that it holds as KServe's first protocol has it."""
    if member == "instances" and isinstance(item, dict) and item.keys() == {"b64"}:
        return item["b64"]
    return item


def _check_drawn(images: NDArray[np.uint8], member: str) -> None:
    if len(images) == 1 and images.any():  # the quick answer to what is asked most
        return
    if images.ndim == 3:  # a black photograph may well be one
        drawn = images.reshape(len(images), -1).any(axis=1)
        if not drawn.all():
            raise BlankImage(f"Field '{member}[{drawn.argmin()}]'", _BLANK)


def _batch(images: list[Drawing], shape: Shape, is_blank_allowed: bool) -> Drawings:
    for image in () if is_blank_allowed else images:
        pixels = image.content
        if isinstance(pixels, np.ndarray) and pixels.ndim == 2 and not pixels.any():
            raise BlankImage(image.field, _BLANK)
    whole = [
        image.content[None]
        for image in images
        if isinstance(image.content, np.ndarray) and image.content.shape == shape
    ]
    if len(whole) < len(images):
        return images
    return whole[0] if len(whole) == 1 else np.concatenate(whole)


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


def dump(document: object) -> bytes:
    """Encode a document as JSON: arrays as lists, float32 in the fewest digits that identify it."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
