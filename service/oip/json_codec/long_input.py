"""Fast path for JSON with one long input: its numbers become an array without a Python object for each."""

import math
from typing import Any

from numpy.typing import NDArray

from service.codecs.drawings import Shape, without_ones
from service.codecs.json import list_spans, number_lists, parser
from service.oip import tensors

_MOST_IN_IMAGE = 65_536
"""Elements of the largest image that is read this way."""

_STACK_DIMENSIONS = 3
"""Dimensions of images of any size with one channel, which `prepare` accepts."""


def load(text: bytes, most_values: int, shape: Shape) -> object:
    """Parse JSON.

    Args:
        text: The JSON.
        most_values: Upper limit of JSON values.
        shape: Shape of one image of the model.

    Returns:
        The document. The member `data` of a single long input of numbers is binary, a memoryview.

    Raises:
        MalformedRequest: The text is not JSON.
        PayloadTooLarge: There are more values than the limit.
    """
    if len(text) >= list_spans.LONG_BYTES:
        parser.check_value_count(text, most_values)
        document = _load_long(text, shape)
        if document is not None:
            return document
    return parser.parse(text, most_values, shape)


def can_be_images(shape: tuple[int, ...], model_shape: Shape | None) -> bool:
    """Return whether a tensor of a shape can be images for a model: of its own shape, or of any size.

    Check this before elements are read by the declared shape.
    """
    if len(shape) < 2 or model_shape is None:
        return False
    return len(shape) == _STACK_DIMENSIONS or without_ones(shape[1:]) == without_ones(model_shape)


def _load_long(text: bytes, model_shape: Shape) -> object:
    """Parse the JSON of one numeric input, its `data` as binary; None if the text is anything else."""
    span = list_spans.find_list(text, b"data", is_last=False)
    document = None if span is None else list_spans.parse_rest(span)
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if span is None or not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        return None
    shape, datatype = inputs[0].get("shape"), inputs[0].get("datatype")
    if not list_spans.is_placeholder(inputs[0].get("data")) or not isinstance(datatype, str):
        return None
    if not isinstance(shape, list) or not all(type(side) is int and 0 < side <= len(text) for side in shape):
        return None
    if not can_be_images(tuple(shape), model_shape):
        return None
    sides = () if span.depth() == 1 else tuple(shape[1:])
    if span.depth() not in (1, len(shape)) or math.prod(sides) > _MOST_IN_IMAGE:
        return None
    numbers = _numbers(span, datatype, sides)
    if numbers is None or len(numbers) != math.prod(shape):
        return None
    inputs[0]["data"] = numbers.data
    return document


def _numbers(span: list_spans.ListSpan, datatype: str, sides: tuple[int, ...]) -> NDArray[Any] | None:
    if datatype == "UINT8":
        found = number_lists.read_uint8(span, sides)
        if found is not None:
            return found
    dtype = tensors.DTYPES.get(datatype)
    return None if dtype is None else number_lists.read_numbers(span, sides, dtype)
