"""JSON Schemas of `application/json` bodies with images or strokes.

Each variant is a schema with a name of its own, because generators of clients name their types after it.
"""

from typing import Any

Schema = dict[str, Any]

_SIDE = 28

_SCALES = {"Pixels": "byte", "Units": "unit"}
"""Scale of the numbers of an image, by the end of the schema's name."""


def bodies(reference: str) -> dict[str, Schema]:
    """Return the schemas of bodies with images of 28 x 28 or strokes, by name.

    Args:
        reference: Template of a reference to a schema, with `{model}` for its name.
    """

    def ref(name: str) -> Schema:
        return {"$ref": reference.format(model=name)}

    found: dict[str, Schema] = {
        "ImageBody": {
            "description": "Images or a drawing: exactly one of `image`, `images` and `strokes`",
            "anyOf": [
                ref(name)
                for name in ("PixelImage", "PixelImages", "UnitImage", "UnitImages", "StrokeDrawing")
            ],
        },
        "Base64Picture": {
            "type": "string",
            "description": "A PNG, JPEG or WebP file in base64, alone or as a data: URL",
        },
        "StrokeDrawing": _body(
            "A drawing as strokes", "strokes", _strokes(), ref("Scale"), is_required=False
        ),
        "Scale": {
            "type": "string",
            "enum": ["byte", "unit"],
            "description": "byte: numbers 0..255; unit: numbers 0..1",
        },
        "Instance": {
            "description": "An image in the KServe v1 protocol",
            "anyOf": [ref("NestedPixels"), ref("FlatPixels"), ref("Base64Picture"), ref("EncodedInstance")],
        },
        "EncodedInstance": {
            "type": "object",
            "description": "An image file, as TensorFlow Serving encodes bytes",
            "properties": {"b64": ref("Base64Picture")},
            "required": ["b64"],
            "additionalProperties": False,
        },
    }
    for kind, scale in _SCALES.items():
        number: Schema = {"type": "integer", "minimum": 0, "maximum": 255}
        words = "whole numbers 0..255; 0 is the background, 255 is ink"
        if scale == "unit":
            number, words = {"type": "number", "minimum": 0, "maximum": 1}, "numbers 0..1; 1 is ink"
        image: Schema = {"anyOf": [ref(f"Nested{kind}"), ref(f"Flat{kind}"), ref("Base64Picture")]}
        images = {"type": "array", "items": image, "minItems": 1}
        fixed = {"type": "string", "const": scale}
        one, is_required = kind.removesuffix("s"), scale == "unit"
        found |= {
            f"Nested{kind}": {
                "description": f"28 rows of 28 {words}",
                **_list(_list(number, _SIDE), _SIDE),
            },
            f"Flat{kind}": {"description": f"784 {words}, row by row", **_list(number, _SIDE * _SIDE)},
            f"{one}Image": _body(f"One image of {words}", "image", image, fixed, is_required),
            f"{one}Images": _body(f"Images of {words}", "images", images, fixed, is_required),
        }
    return found


def _body(description: str, name: str, value: Schema, scale: Schema, is_required: bool) -> Schema:
    """Return the schema of a body with one member and the scale.

    Args:
        description: What it is.
        name: Name of the member.
        value: Schema of the member.
        scale: Schema of the scale.
        is_required: Whether the scale must be given.
    """
    return {
        "type": "object",
        "description": description,
        "properties": {name: value, "scale": scale},
        "required": [name, "scale"] if is_required else [name],
        "additionalProperties": False,
    }


def _strokes() -> Schema:
    coordinate = {"type": "number", "minimum": -1e9, "maximum": 1e9}
    stroke = {
        "type": "array",
        "description": "Points [x, y]; y points down, the unit is free",
        "items": _list(coordinate, 2),
        "minItems": 1,
    }
    return {"type": "array", "items": stroke, "minItems": 1}


def _list(items: Schema, length: int) -> Schema:
    return {"type": "array", "items": items, "minItems": length, "maxItems": length}
