"""Routes requests to operations, after host, CORS and API key checks.

The web framework has the same routes, for OpenAPI, and handles all other requests: documentation, page,
unknown paths and wrong methods. Its own routing takes longer than a small network.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import ServiceError
from service.http.messages import problems
from service.http.messages.request_scope import context_of
from service.http.routing.operations import Endpoint, Operation
from service.http.security.access_control import AccessControl, host_of
from service.http.security.cors import PREFLIGHT_STATUS
from service.inference.admission.access import GRANT

_CACHED = 1024
"""Number of cached paths."""

_CACHED_LENGTH = 200
"""Characters of the longest path that is cached."""


@dataclass(frozen=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    endpoint: Endpoint


class Routes:
    """Finds the endpoint of a path."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._routes = [
            _Route(operation.method, compile_path(path)[0], endpoint)
            for operation in operations
            for path, endpoint in operation.endpoints()
        ]
        self._find_cached = lru_cache(_CACHED)(self._find)

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """Return the endpoint of a path and the path parameters; None if there is none."""
        return self._find_cached(method, path) if len(path) <= _CACHED_LENGTH else self._find(method, path)

    def _find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        for route in self._routes:
            if route.method == method and (match := route.pattern.match(path)):
                return route.endpoint, match.groupdict()
        return None


class Router:
    """ASGI application: handles requests of operations, and passes all others to the web framework."""

    def __init__(self, app: ASGIApp, routes: Routes, control: AccessControl) -> None:
        """Wrap an application.

        Args:
            app: Handles all other requests.
            routes: The endpoints.
            control: Checks host, origin and API key.
        """
        self._app = app
        self._routes = routes
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._handle(request)
        except (ServiceError, ClientDisconnect) as error:
            response = problems.response_to(request, error)
        await (response or self._app)(scope, receive, send)

    async def _handle(self, request: Request) -> Response | None:
        """Return the response of an operation; None if the web framework should handle the request."""
        scope, control = request.scope, self._control
        headers = scope["headers"]
        if control.hosts.is_enforced:
            control.check_host(host_of(headers))
        if scope["method"] == "OPTIONS":
            allowed = control.cors.preflight("OPTIONS", scope["path"], dict(headers))
            if allowed is not None:
                response = Response(status_code=PREFLIGHT_STATUS)
                response.raw_headers = list(allowed)
                return response
        found = self._routes.find(scope["method"], scope["path"])
        if found is None:
            return None
        endpoint, scope["path_params"] = found
        context = context_of(request)
        context.route = endpoint.path
        key = control.key(headers)
        client = scope["client"][0] if scope.get("client") else "-"
        if control.access.needs_verify(key):
            await control.access.verify(key, client)
        right, model = endpoint.operation.right, scope["path_params"].get("model")
        context.grant = scope[GRANT] = control.authorize(key, client, right, model)
        return await endpoint(request)
