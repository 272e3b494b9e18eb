"""OpenAPI description and Swagger UI, rendered once; no other host is asked for anything.

The files of Swagger UI are read at first use, off the event loop, and sent whole: a static file server would
read them anew for each request, and answer one request for many ranges with many times the file.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.codecs import content_types
from service.http.messages import conditional
from service.http.messages.conditional import Constant
from service.http.messages.request_scope import context_of
from service.http.messages.response_cache import Key, ResponseCache
from service.http.routing import operations
from service.http.routing.operations import Operation
from service.http.security.response_headers import DOCUMENT_HEADERS

FILES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
"""What the page of Swagger UI asks for: content types by name."""

_FOLDER = "/docs/static"
_HEADERS = {"Cache-Control": "no-cache"}

_COST = 16 * 2**20
"""Upper limit of the memory that rendering takes, in bytes: the description as Python objects, or a file."""

_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Inkling: interface</title>
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
"""Swagger UI without inline scripts, which the content security policy forbids; links are relative."""

_HTML = Constant(_PAGE.encode(), "text/html; charset=utf-8", DOCUMENT_HEADERS)


def install(app: FastAPI, described: Sequence[Operation], bodies: ResponseCache, root_path: str = "") -> None:
    """Give an app `/openapi.json`, `/docs` and the files that `/docs` asks for.

    Args:
        app: Every operation is mounted already.
        described: The operations whose schemas the description holds.
        bodies: Renders and keeps the bodies.
        root_path: Prefix under which a proxy shows the service, for programs that read the description.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            document["components"] = {"schemas": operations.components(described)}
            if root_path:
                document["servers"] = [{"url": root_path}]
            app.openapi_schema = document
        return app.openapi_schema

    @cache  # making it takes a hundred times as long as reading a file, and it is small
    def description() -> bytes:
        return bytes(JSONResponse(openapi()).body)

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI's documentation gives
    app.add_route("/openapi.json", _route("/openapi.json", description, content_types.JSON, bodies))
    app.add_route("/docs", _page)
    for name, content_type in FILES.items():
        file = resources.files("fastapi_offline") / "static" / name
        path = f"{_FOLDER}/{name}"
        app.add_route(path, _route(path, file.read_bytes, content_type, bodies))


async def _page(request: Request) -> Response:
    context_of(request).route = "/docs"
    return _HTML.respond(request)


def _route(
    path: str, render: Callable[[], bytes], content_type: str, bodies: ResponseCache
) -> Callable[[Request], Awaitable[Response]]:
    key = Key("documentation", details=(path,))

    async def route(request: Request) -> Response:
        context_of(request).route = path
        return await conditional.respond(request, bodies, key, render, _COST, content_type, _HEADERS)

    return route
