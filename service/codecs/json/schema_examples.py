"""Examples of documents, made from their JSON Schemas."""

from collections.abc import Mapping
from typing import Any

_BY_NAME: Mapping[str, Any] = {
    "name": "ink",
    "model": "ink",
    "model_name": "ink",
    "version": "4",
    "model_version": "4",
    "versions": ["3", "4"],
    "labels": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    "explained": "7",
}
"""Values of members with these names, if they are of the schema's type and it has no example of its own."""

_TYPES = {"string": str, "array": list}

_OF_TYPE: Mapping[str, Any] = {"string": "text", "integer": 1, "number": 0.5, "boolean": True, "null": None}


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any], name: str = "") -> Any:  # noqa: ANN401 - any JSON
    """Return a document that a schema describes: its own example, or one made of the examples of its members.

    Args:
        schema: A JSON Schema without recursion.
        components: Schemas that `$ref` refers to, by name.
        name: Name of the member that it describes.
    """
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components, name)
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return example_of(schema[union][0], components, name)
    kind = schema.get("type")
    if isinstance(_BY_NAME.get(name), _TYPES.get(str(kind), ())):
        return _BY_NAME[name]
    if kind == "object" or "properties" in schema:
        required = schema.get("required", ())
        return {
            member: example_of(described, components, member)
            for member, described in schema.get("properties", {}).items()
            if member in required or "examples" in described
        }
    if kind == "array":
        prefix = [example_of(item, components) for item in schema.get("prefixItems", ())]
        if prefix or "items" not in schema:
            return prefix
        return [example_of(schema["items"], components)] * max(1, schema.get("minItems", 0))
    if kind in ("integer", "number") and "minimum" in schema:
        return schema["minimum"]
    return _OF_TYPE.get(str(kind))
