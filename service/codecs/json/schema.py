"""JSON Schema of `application/json` bodies with images or strokes."""

from typing import Any


def image_body() -> dict[str, Any]:
    """Return the JSON Schema of the bodies of `predict`, `probabilities`, `explain` for 28 x 28 images."""
    byte = {"type": "integer", "minimum": 0, "maximum": 255}
    unit = {"type": "number", "minimum": 0, "maximum": 1}

    def image(number: dict[str, Any]) -> dict[str, Any]:
        row = {"type": "array", "items": number, "minItems": 28, "maxItems": 28}
        return {
            "anyOf": [
                {"type": "array", "items": row, "minItems": 28, "maxItems": 28, "title": "nested"},
                {"type": "array", "items": number, "minItems": 784, "maxItems": 784, "title": "flat"},
                {"type": "string", "title": "picture", "description": "A PNG, JPEG or WebP in base64"},
            ]
        }

    def body(name: str, value: dict[str, Any], scales: list[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "title": name,
            "properties": {name: value, "scale": {"enum": scales}},
            "required": [name] if "byte" in scales else [name, "scale"],
            "additionalProperties": False,
        }

    coordinate = {"type": "number", "minimum": -1e9, "maximum": 1e9}
    point = {"type": "array", "items": coordinate, "minItems": 2, "maxItems": 2}
    stroke = {"type": "array", "items": point, "minItems": 1}
    bodies = []
    for number, scale in ((byte, "byte"), (unit, "unit")):
        bodies.append(body("image", image(number), [scale]))
        many = {"type": "array", "items": image(number), "minItems": 1}
        bodies.append(body("images", many, [scale]))
    strokes = {"type": "array", "items": stroke, "minItems": 1}
    bodies.append(body("strokes", strokes, ["byte", "unit"]))
    return {"anyOf": bodies}
