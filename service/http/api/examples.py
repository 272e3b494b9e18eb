"""OpenAPI description of request bodies with images, with examples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from service.codecs import content_types
from service.core.drawing import mnist
from service.http.api import schemas

SEVEN = [np.array([[20, 20], [80, 20], [40, 110]], np.float64)]
"""A drawing of a seven: strokes, each (points, 2), x and y."""


def image_bodies(is_batch: bool = True) -> Mapping[str, Any]:
    """Return the description of the body by content type.

    Args:
        is_batch: Whether several images are accepted.
    """
    seven = mnist.from_strokes(SEVEN)
    several = {"images": {"summary": "Two images, flat", "value": {"images": [seven.ravel().tolist()] * 2}}}
    json_body = {
        "schema": {"$ref": "#/components/schemas/ImageBody"},
        "examples": {
            "strokes": {
                "summary": "A drawing as strokes",
                "value": {"strokes": [stroke.tolist() for stroke in SEVEN]},
            },
            "image": {"summary": "One image of 28 x 28 numbers 0..255", "value": {"image": seven.tolist()}},
            **(several if is_batch else {}),
            "unit": {
                "summary": "Numbers 0..1",
                "value": {"image": (seven / 255).round(4).ravel().tolist(), "scale": "unit"},
            },
        },
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    files = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    form = {"schema": {"type": "object", "properties": {"images": files}, "required": ["images"]}}
    return {
        content_types.JSON: json_body,
        **dict.fromkeys(schemas.BINARY_BODIES, binary),
        content_types.FORM: form,
    }
