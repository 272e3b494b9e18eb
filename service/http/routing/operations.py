"""What callers can ask: one description of each operation, for its routes and for its documentation.

An operation on a model has two paths, with and without `/versions/{version}`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import models_json_schema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from service.codecs.json import schema
from service.core.errors import MalformedRequest
from service.http.messages import problems
from service.inference.admission.keys import Right

_MODEL, _VERSIONED = "/models/{model}", "/models/{model}/versions/{version}"
_OF_MODEL = re.compile(r"/v\d+/models/{model}")
_REFERENCE = "#/components/schemas/{model}"

_PATH_PARAMETERS = {
    "model": ("Name of a model, as `GET /v1/models` lists it", "mlp-128"),
    "version": ("Published version, a whole number", "1"),
    "layer": ("Name of a layer, as `GET …/weights` lists it", "hidden1"),
    "unit": ("Number of a unit of the layer, from 0", "3"),
    "picture": ("Name of a picture, as `GET …/report` lists it", "confusion-test"),
}


class _Joined:
    """What makes a tuple of words of one text in a query."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - a type
        known = get_args(get_args(source)[0])

        def split(text: str) -> tuple[str, ...]:
            words = tuple(text.split(",")) if text else ()
            if not set(words) <= set(known) or len(set(words)) < len(words):
                expected = f"among {', '.join(known)}, each at most once, joined by commas"
                raise PydanticCustomError("words", "{expected}", {"expected": expected})
            return words

        return core_schema.no_info_before_validator_function(split, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "uniqueItems": True}


_Word = TypeVar("_Word", bound=str)

CommaSeparated = Annotated[tuple[_Word, ...], _Joined()]
"""Words joined by commas in a query, at most once each; of a `Literal`: `CommaSeparated[Literal["seen", "steps"]]`."""


class Options(BaseModel):
    """What the query may hold: here nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Answers = Mapping[str, type[BaseModel] | str]
"""By content type: the schema of a JSON answer, or a sentence about any other."""

Handler = Callable[[Request, Any], Awaitable[Response]]
"""Takes the request, and its query as the operation's `options`."""


@dataclass(frozen=True)
class Operation:
    """One thing that callers can ask.

    Attributes:
        name: A word or two, unique; the operation's id in the documentation.
        method: GET or POST.
        path: Its template.
        summary: One sentence.
        handle: Answers it.
        answers: What the answer with status 200 may be.
        errors: Statuses of the errors it knows, beyond those that every operation knows.
        options: What the query may hold.
        body: The documentation of the request's body, by content type; empty for none.
        needs_body: Whether the body, if any is described, must come.
        has_slash_twin: Whether each of its paths answers with a slash at its end too.
        right: What an API key must allow; None for what everybody may ask.
    """

    name: str
    method: str
    path: str
    summary: str
    handle: Handler
    answers: Answers
    errors: Sequence[int] = ()
    options: type[Options] = Options
    body: Mapping[str, Any] = field(default_factory=dict)
    needs_body: bool = True
    has_slash_twin: bool = False
    right: Right | None = Right.READ

    def paths(self) -> list[str]:
        """Return its path, and for a model's operation the path with the version too."""
        if not _OF_MODEL.match(self.path):
            return [self.path]
        return [self.path, self.path.replace(_MODEL, _VERSIONED)]

    def endpoints(self) -> list[tuple[str, "Endpoint"]]:
        """Return every path that leads here, with what answers there; a slash twin before its path."""
        found = []
        for path in self.paths():
            endpoint = Endpoint(self, path, self.options())
            found += [(f"{path}/", endpoint)] * self.has_slash_twin + [(path, endpoint)]
        return found


@dataclass(frozen=True)
class Endpoint:
    """An operation on one of its paths.

    Attributes:
        operation: What is asked there.
        path: Its template, without the slash of a twin.
        usual: What an empty query means.
    """

    operation: Operation
    path: str
    usual: Options

    async def __call__(self, request: Request) -> Response:
        """Answer a request that came on the path."""
        return await self.operation.handle(request, self.options(request.scope["query_string"]))

    def options(self, query: bytes) -> Options:
        """Read a query; raises MalformedRequest if it is not what the operation takes."""
        return _read_options(self.operation.options, query) if query else self.usual


def mount(app: FastAPI, tag: str, operations: Sequence[Operation]) -> None:
    """Give every operation its routes.

    Args:
        app: Where.
        tag: Under which heading the documentation lists them.
        operations: In the order in which their paths are tried.
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
                openapi_extra=_describe(operation, path),
            )


def components(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return every schema that the descriptions of these operations refer to, by name."""
    answers: list[type[BaseModel]] = [problems.ProblemDocument]
    for operation in operations:
        answers += [answer for answer in operation.answers.values() if not isinstance(answer, str)]
    _, document = models_json_schema(
        [(answer, "serialization") for answer in dict.fromkeys(answers)], ref_template=_REFERENCE
    )
    return {**document["$defs"], "ImageBody": schema.image_body()}


def _read_options(options: type[Options], text: bytes) -> Options:
    query: dict[str, str] = {}
    for name, value in QueryParams(text).multi_items():
        if name in query:
            raise MalformedRequest(f"Query {name[:40]!r}", "given once", "more")
        query[name] = value
    try:
        return options.model_validate(query)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])[:40]
        if first["type"] == "extra_forbidden":
            known = ", ".join(options.model_fields) or "nothing"
            raise MalformedRequest("Query", f"among {known}", repr(name)) from error
        expected = re.sub(r"^Input should be ", "", first["msg"])
        raise MalformedRequest(f"Query {name!r}", expected, repr(query[name][:40])) from error


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
    for name, schema in operation.options.model_json_schema().get("properties", {}).items():
        description = schema.pop("description", "")
        parameter = {
            "name": name,
            "in": "query",
            "required": False,
            "description": description,
            "schema": schema,
        }
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}  # joined by commas
        parameters.append(parameter)
    extra: dict[str, Any] = {"parameters": parameters, "responses": _responses(operation)}
    if operation.body:
        extra["requestBody"] = {"required": operation.needs_body, "content": dict(operation.body)}
    return extra


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for kind, answer in operation.answers.items():
        if isinstance(answer, str):
            binary = {"type": "string", "contentMediaType": kind, "description": answer}
            content[kind] = {"schema": binary}
        else:
            content[kind] = {"schema": {"$ref": _REFERENCE.format(model=answer.__name__)}}
    responses = {"200": {"description": "The answer", "content": content}}
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
        words = "; ".join(dict.fromkeys(titles[status]))
        responses[str(status)] = {"description": words, "content": problem_content}
    return responses
