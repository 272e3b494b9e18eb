"""Operations of the HTTP API: one description of each, from which routes and OpenAPI are made.

An operation on a model has two paths, with and without `/versions/{version}`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from service.http.routing import options as queries
from service.http.routing.options import Options
from service.inference.admission.keys import Right

_MODEL, _VERSIONED = "/models/{model}", "/models/{model}/versions/{version}"
_OF_MODEL = re.compile(r"/v\d+/models/{model}")

Handler = Callable[[Request, Any], Awaitable[Response]]
"""Handles a request; the second argument is the query, parsed as `Operation.options`."""


@dataclass(frozen=True)
class Operation:
    """An operation of the HTTP API.

    Attributes:
        name: A unique name of one to three words; the operation id in OpenAPI.
        method: GET or POST.
        path: Path template.
        summary: What it does, in a few words.
        description: What it takes and returns, in a sentence or two.
        limits: Limits of its body, in a sentence; empty if it has no body.
        handle: Handles a request.
        responses: The response with status 200 by content type: the schema of a JSON response, or a
            description of any other.
        errors: Error statuses, besides those that every operation has.
        options: The query parameters.
        body: OpenAPI description of the request body by content type; empty for none.
        requires_body: Whether the body, if it is described, is required.
        allows_trailing_slash: Whether each path is also served with a slash at its end.
        right: The right that an API key needs; None if the operation needs no key.
    """

    name: str
    method: str
    path: str
    summary: str
    description: str
    handle: Handler
    responses: Mapping[str, type[BaseModel] | str]
    limits: str = ""
    errors: Sequence[int] = ()
    options: type[Options] = Options
    body: Mapping[str, Any] = field(default_factory=dict)
    requires_body: bool = True
    allows_trailing_slash: bool = False
    right: Right | None = Right.READ

    def paths(self) -> list[str]:
        """Return the path template, and for an operation on a model the one with a version too."""
        if not _OF_MODEL.match(self.path):
            return [self.path]
        return [self.path, self.path.replace(_MODEL, _VERSIONED)]

    def endpoints(self) -> list[tuple[str, "Endpoint"]]:
        """Return every path template that is served, with its endpoint."""
        found = []
        for path in self.paths():
            endpoint = Endpoint(self, path, self.options())
            found += [(f"{path}/", endpoint)] * self.allows_trailing_slash + [(path, endpoint)]
        return found


@dataclass(frozen=True)
class Endpoint:
    """An operation at one of its paths.

    Attributes:
        operation: The operation.
        path: Path template, without a trailing slash.
        defaults: The options for an empty query.
    """

    operation: Operation
    path: str
    defaults: Options

    async def __call__(self, request: Request) -> Response:
        """Handle a request."""
        return await self.operation.handle(request, self.options(request.scope["query_string"]))

    def options(self, query_string: bytes) -> Options:
        """Parse a query string; raises MalformedRequest as `options.parse`."""
        return queries.parse(self.operation.options, query_string) if query_string else self.defaults
