"""Decoder of `application/json` bodies: images, image files in base64, strokes.

Long documents of many images are parsed item by item, with the same result as if they were parsed at once.
"""

import math
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.codecs.drawings import Drawing, Drawings, Limits, Shape, check_count
from service.codecs.json import list_spans, number_lists, parser, strokes
from service.codecs.json.images import ImageReader, describe, reader_of
from service.core.errors import BlankImage, MalformedRequest, RequestError
from service.core.wording import list_text, quote

_MIN_ITEMS_BYTES = 65_536
"""Size from which on a list is parsed item by item; shorter lists are faster to parse as a whole."""

_BLANK = "0 everywhere"


def read(body: bytes, shape: Shape, limits: Limits, is_blank_allowed: bool = False) -> Drawings:
    """Decode `{"image": …}`, `{"images": […]}` or `{"strokes": […]}`, each with an optional `scale`.

    Args:
        body: The whole body.
        shape: Shape of one image of the model.
        limits: Limits of one request.
        is_blank_allowed: Whether all pixels of an image may be 0.

    Returns:
        At least one image.

    Raises:
        MalformedRequest: The body is not JSON, or a field has the wrong shape, type or range.
        PayloadTooLarge: There are more images, points or JSON values than the limits allow.
        BlankImage: A drawing has no points, or all pixels of an image are 0 and that is not allowed.
    """
    body = parser.without_bom(body)
    max_values = parser.max_values(shape, limits)
    if len(body) >= list_spans.LONG_BYTES:
        images = _read_long(body, "images", max_values, shape, limits, is_blank_allowed)
        if images is not None:
            return images
    document = parser.parse(body, max_values, shape)
    if not isinstance(document, dict):
        raise MalformedRequest("Body", "a JSON object", describe(document))
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
        raise MalformedRequest("Field 'scale'", "'byte' (0..255) or 'unit' (0..1)", describe(scale))
    value = document[given[0]]
    if given[0] == "strokes":
        return [Drawing("Field 'strokes'", strokes.read(value, limits))]
    reader = reader_of(shape, scale == "unit", parser.may_contain_booleans(body))
    if given[0] == "image":
        return _image(value, reader, is_blank_allowed)
    return _images(value, "images", reader, limits, is_blank_allowed)


def read_instances(body: bytes, shape: Shape, limits: Limits) -> Drawings:
    """Decode `{"instances": […]}` of KServe's V1 protocol.

    Args:
        body: The whole body.
        shape: Shape of one image of the model.
        limits: Limits of one request.

    Returns:
        At least one image: each as an item of `images` in `read`, or an image file as `{"b64": …}`. Other
        members are ignored, since clients of other servers send some.

    Raises:
        MalformedRequest, PayloadTooLarge, BlankImage: As `read`.
    """
    body = parser.without_bom(body)
    max_values = parser.max_values(shape, limits)
    if len(body) >= list_spans.LONG_BYTES:
        images = _read_long(body, "instances", max_values, shape, limits)
        if images is not None:
            return images
    document = parser.parse(body, max_values, shape)
    if not isinstance(document, dict):
        raise MalformedRequest("Body", "a JSON object with instances", describe(document))
    if "instances" not in document:
        names = list_text([quote(name) for name in document]) or "no members"
        raise MalformedRequest("Body", "a JSON object with instances", f"one with {names}")
    reader = reader_of(shape, False, parser.may_contain_booleans(body))
    return _images(document["instances"], "instances", reader, limits)


def _read_long(
    body: bytes,
    member: str,
    max_values: int,
    shape: Shape,
    limits: Limits,
    is_blank_allowed: bool = False,
) -> Drawings | None:
    """Decode a long document of images in steps that hold the global interpreter lock only briefly.

    Returns:
        The images; None if the document has another structure or an error that only parsing it as a whole can
        report.
    """
    is_integer = b"." not in body
    if not is_integer and len(body) < _MIN_ITEMS_BYTES:
        return None
    parser.check_value_count(body, max_values)
    span = list_spans.find_list(body, member.encode(), is_last=True)
    document = None if span is None else list_spans.parse_rest(span)
    if span is None or not isinstance(document, dict):
        return None
    if not list_spans.is_placeholder(document.pop(member, None)):
        return None
    scale = "byte"
    if member == "images":
        scale = document.pop("scale", "byte")
        if document or scale not in ("byte", "unit"):
            return None
    depth = span.depth() - 1
    sides = shape if depth == len(shape) else (math.prod(shape),)
    numbers = number_lists.read_uint8(span, sides) if depth == len(sides) and is_integer else None
    if numbers is None or (scale == "unit" and numbers.max() > 1):
        if len(body) < _MIN_ITEMS_BYTES:
            return None
        reader = reader_of(shape, scale == "unit", parser.may_contain_booleans(body))
        return _read_items(span, member, reader, limits, is_blank_allowed)
    images = numbers.reshape(-1, *shape)
    check_count(len(images), limits)
    if not is_blank_allowed:
        _check_not_blank(images, member)
    return images * np.uint8(255) if scale == "unit" else images


def _read_items(
    span: list_spans.ListSpan, member: str, reader: ImageReader, limits: Limits, is_blank_allowed: bool
) -> Drawings | None:
    """Decode a list of images item by item; return None if it is not JSON, or has too many or no items."""
    images: list[Drawing] = []
    count = 0
    first_error: RequestError | None = None
    try:
        for items in list_spans.parse_items(span, reader.shape):
            for item in items:
                if count == limits.images:
                    return None
                try:
                    if first_error is None:
                        images.append(reader.read(_file_of(item, member), f"{member}[{count}]"))
                except (
                    RequestError
                ) as error:  # raised after the rest was parsed: invalid JSON takes precedence
                    first_error = error
                count += 1
    except orjson.JSONDecodeError:
        return None
    if first_error is not None:
        raise first_error
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
        raise MalformedRequest(f"Field {member!r}", "a list of at least one image", describe(value))
    check_count(len(value), limits)
    images = _integer_images(value, reader)
    if images is None:
        items = [reader.read(_file_of(item, member), f"{member}[{row}]") for row, item in enumerate(value)]
        return _batch(items, reader.shape, is_blank_allowed)
    if not is_blank_allowed:
        _check_not_blank(images, member)
    return images


def _integer_images(values: list[Any], reader: ImageReader) -> NDArray[np.uint8] | None:
    """Return a batch of images of integers 0..255; None if one of them is anything else."""
    rows = []
    for value in values:
        pixels = reader.pixels(value)
        if pixels is None:
            return None
        rows.append(pixels)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, *reader.shape)


def _file_of(item: object, member: str) -> object:
    """Return the base64 text of an instance `{"b64": …}`, and any other item unchanged."""
    if member == "instances" and isinstance(item, dict) and item.keys() == {"b64"}:
        return item["b64"]
    return item


def _check_not_blank(images: NDArray[np.uint8], member: str) -> None:
    """Raise BlankImage if a greyscale image is 0 everywhere; black photographs are allowed."""
    if len(images) == 1 and images.any():  # fast path of the most frequent case
        return
    if images.ndim == 3:
        drawn = images.reshape(len(images), -1).any(axis=1)
        if not drawn.all():
            raise BlankImage(f"Field '{member}[{drawn.argmin()}]'", _BLANK)


def _batch(images: list[Drawing], shape: Shape, is_blank_allowed: bool) -> Drawings:
    """Return drawings as one array if all have the model's shape; otherwise unchanged."""
    for image in () if is_blank_allowed else images:
        pixels = image.content
        if isinstance(pixels, np.ndarray) and pixels.ndim == 2 and not pixels.any():
            raise BlankImage(image.field, _BLANK)
    arrays = [
        image.content[None]
        for image in images
        if isinstance(image.content, np.ndarray) and image.content.shape == shape
    ]
    if len(arrays) < len(images):
        return images
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def dump(document: object) -> bytes:
    """Encode a document as JSON: arrays as lists, float32 in the fewest digits that identify the number."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
