"""Serves the OpenAPI document and Swagger UI, without files from other hosts.

The files of Swagger UI are cached and always sent whole. A static file server would read them for each
request, and answer one request for many ranges with many times the file.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.codecs import content_types
from service.http.messages import conditional
from service.http.messages.cache_keys import Key
from service.http.messages.conditional import Constant
from service.http.messages.request_scope import context_of
from service.http.messages.response_cache import ResponseCache
from service.http.routing import openapi
from service.http.routing.operations import Operation
from service.http.security.response_headers import DOCUMENT_HEADERS

FILES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
"""Files of Swagger UI: content types by name."""

_FOLDER = "/docs/static"
_HEADERS = {"Cache-Control": "no-cache"}

_COST = 16 * 2**20
"""Upper limit of the memory for rendering in bytes: the document as Python objects, or a file."""

_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Inkling: HTTP API</title>
    <link rel="icon" href="docs/static/favicon.png">
    <link rel="stylesheet" href="docs/static/swagger-ui.css">
    <script src="docs/static/swagger-ui-bundle.js" defer></script>
    <script src="static/docs.js" defer></script>
  </head>
  <body>
    <div id="swagger-ui"></div>
  </body>
</html>
"""
"""Swagger UI, with relative links, and without inline scripts, which the content security policy forbids."""

_HTML = Constant(_PAGE.encode(), "text/html; charset=utf-8", DOCUMENT_HEADERS)


def install(app: FastAPI, operations: Sequence[Operation], cache: ResponseCache, root_path: str = "") -> None:
    """Add `/openapi.json`, `/docs` and the files of Swagger UI to an application.

    Args:
        app: The application, with the routes of all operations.
        operations: The operations.
        cache: Renders and caches the bodies.
        root_path: The setting `root_path`, for the document's `servers`.
    """

    def document_of_app() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            document["components"] = {"schemas": openapi.components(operations)}
            if root_path:
                document["servers"] = [{"url": root_path}]
            app.openapi_schema = document
        return app.openapi_schema

    @lru_cache  # it is small, and rendering it takes a hundred times as long as reading a file
    def render_document() -> bytes:
        return bytes(JSONResponse(document_of_app()).body)

    app.openapi = document_of_app  # type: ignore[method-assign]  # as FastAPI's documentation recommends
    app.add_route("/openapi.json", _route("/openapi.json", render_document, content_types.JSON, cache))
    app.add_route("/docs", _page)
    for name, content_type in FILES.items():
        file = resources.files("fastapi_offline") / "static" / name
        path = f"{_FOLDER}/{name}"
        app.add_route(path, _route(path, file.read_bytes, content_type, cache))


async def _page(request: Request) -> Response:
    context_of(request).route = "/docs"
    return _HTML.respond(request)


def _route(
    path: str, render: Callable[[], bytes], content_type: str, cache: ResponseCache
) -> Callable[[Request], Awaitable[Response]]:
    key = Key("documentation", details=(path,))

    async def route(request: Request) -> Response:
        context_of(request).route = path
        return await conditional.respond(request, cache, key, render, _COST, content_type, _HEADERS)

    return route
