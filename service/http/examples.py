"""What a POST may carry, documented with examples that work."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from service.core import ink
from service.http import schemas, wire

_SEVEN = [[[20, 20], [80, 20], [40, 110]]]


def image_bodies() -> Mapping[str, Any]:
    """Document what a POST may carry, with examples that work."""
    seven = ink.from_strokes([np.array(stroke, np.float64) for stroke in _SEVEN])
    json_body = {
        "schema": {"$ref": "#/components/schemas/ImageBody"},
        "examples": {
            "strokes": {"summary": "A drawing, as strokes", "value": {"strokes": _SEVEN}},
            "image": {"summary": "28 x 28 numbers", "value": {"image": seven.tolist()}},
            "images": {"summary": "Two images, flat", "value": {"images": [seven.ravel().tolist()] * 2}},
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
        wire.JSON: json_body,
        **dict.fromkeys(schemas.BINARY_BODIES, binary),
        wire.FORM: form,
    }
