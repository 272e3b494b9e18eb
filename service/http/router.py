"""From a path straight to its operation, past the framework's own routing; on both ways.

The framework knows the same operations, documents them, and answers whatever else comes: the documentation,
the page, unknown paths and wrong methods. Its own way to them takes longer than a small network does.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import ClientDisconnect, Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import ServiceError
from service.http import problems
from service.http.operations import Endpoint, Operation

_REMEMBERED = 1024
"""Paths whose operations are remembered."""

_LONGEST = 200
"""Characters of a path that is worth remembering."""


@dataclass(frozen=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    endpoint: Endpoint


class Routes:
    """Every operation by its paths."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._routes = [
            _Route(operation.method, compile_path(path)[0], endpoint)
            for operation in operations
            for path, endpoint in operation.endpoints()
        ]
        self._remembered = lru_cache(_REMEMBERED)(self._find)

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """Return what answers on a path, and the parameters that it holds; None if no operation does."""
        return self._remembered(method, path) if len(path) <= _LONGEST else self._find(method, path)

    def _find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        for route in self._routes:
            if route.method == method and (match := route.pattern.match(path)):
                return route.endpoint, match.groupdict()
        return None


class Router:
    """Answers what an operation answers, and leaves the rest to the framework."""

    def __init__(self, app: ASGIApp, routes: Routes) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI asks."""
        found = self._routes.find(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        endpoint, scope["path_params"] = found
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except (ServiceError, ClientDisconnect) as error:
            response = problems.answer_to(request, error)
        await response(scope, receive, send)
