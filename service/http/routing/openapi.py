"""OpenAPI description of operations, and their routes in the web framework, which collects it."""

import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from service.codecs.json import schema
from service.codecs.json.schema_examples import example_of
from service.http.messages import problems
from service.http.routing.operations import Operation

_REFERENCE = "#/components/schemas/{model}"

_LIMITS = {
    True: "Needs no key, and counts against no rate.",
    False: "Counts as one request against the client's rate, if there is one.",
}
"""Limits of operations without a body, by whether they need no key."""

_PATH_PARAMETERS = {
    "model": ("Name of a model, as `GET /v1/models` lists it", "mlp-128"),
    "version": ("Published version, a whole number", "1"),
    "layer": ("Name of a layer, as `GET …/weights` lists it", "hidden1"),
    "unit": ("Index of a unit of the layer, from 0", "3"),
    "picture": ("Name of a chart, as `GET …/report` lists it", "confusion-test"),
}
"""Description and example of each path parameter."""


def mount(app: FastAPI, tag: str, operations: Sequence[Operation]) -> None:
    """Add the routes of operations to an application.

    Args:
        app: The application.
        tag: Tag that groups the operations in OpenAPI.
        operations: The operations; an earlier path takes precedence.
    """
    for operation in operations:
        described = operation.paths()
        for path, endpoint in operation.endpoints():
            if path not in described:
                app.add_api_route(path, endpoint, methods=[operation.method], include_in_schema=False)
                continue
            versioned = "_of_version" if "{version}" in path else ""
            app.add_api_route(
                path,
                endpoint,
                methods=[operation.method],
                summary=operation.summary,
                operation_id=operation.name.replace(" ", "_") + versioned,
                tags=[tag],
                response_class=Response,
                description=f"{operation.description} {operation.limits or _LIMITS[operation.right is None]}",
                openapi_extra=_describe(operation, path),
            )


def components(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the schemas that the descriptions of operations refer to, by name."""
    schemas: list[type[BaseModel]] = [problems.ProblemDocument]
    for operation in operations:
        schemas += [found for found in operation.responses.values() if not isinstance(found, str)]
    found: dict[str, Any] = _without_titles({**_schemas(schemas), **schema.bodies(_REFERENCE)})
    return found


def _schemas(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """Return the schemas of models, and those that they refer to, by name."""
    _, document = models_json_schema(
        [(found, "serialization") for found in dict.fromkeys(models)], ref_template=_REFERENCE
    )
    found: dict[str, Any] = document["$defs"]
    return found


def _without_titles(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Return a schema without titles: pydantic makes them of names, and generators make types of these."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }


def _describe(operation: Operation, path: str) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    for name in re.findall(r"{(\w+)}", path):
        description, example = _PATH_PARAMETERS[name]
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": description,
                "schema": {"type": "string", "minLength": 1},
                "example": example,
            }
        )
    for name, described in operation.options.model_json_schema().get("properties", {}).items():
        description = described.pop("description", "")
        parameter = {
            "name": name,
            "in": "query",
            "required": False,
            "description": description,
            "schema": _without_titles(described),
        }
        if described.get("type") == "array":
            parameter |= {"style": "form", "explode": False}  # comma-separated
        parameters.append(parameter)
    extra: dict[str, Any] = {"parameters": parameters, "responses": _responses(operation)}
    if operation.body:
        extra["requestBody"] = {"required": operation.requires_body, "content": dict(operation.body)}
    return extra


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for kind, found in operation.responses.items():
        if isinstance(found, str):
            binary = {"type": "string", "contentMediaType": kind, "description": found}
            content[kind] = {"schema": binary}
        else:
            described = _schemas([found])
            reference = {"$ref": _REFERENCE.format(model=found.__name__)}
            content[kind] = {"schema": reference, "example": example_of(reference, described)}
    responses = {"200": {"description": "Success", "content": content}}
    titles: dict[int, list[str]] = {}
    for problem in problems.TABLE.values():
        titles.setdefault(problem.status, []).append(problem.title)
    problem_content = {
        problems.CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(model="ProblemDocument")}}
    }
    statuses = {*operation.errors, 400}
    if operation.right is not None:
        statuses |= {401, 403, 429}
    if "{model}" in operation.path:
        statuses |= {404, 503}
    for status in sorted(statuses):
        description = "; ".join(dict.fromkeys(titles[status]))
        responses[str(status)] = {"description": description, "content": problem_content}
    return responses
