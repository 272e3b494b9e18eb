"""The description of the interface, for programs and for people; no other host is asked for anything."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from service.http import operations
from service.http.exchange import exchange_of
from service.http.operations import Operation
from service.http.security_headers import DOCUMENT_HEADERS

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


def install(app: FastAPI, described: Sequence[Operation], root_path: str = "") -> None:
    """Give an app `/openapi.json` and `/docs`.

    Args:
        app: Where.
        described: What the description lists.
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

    def docs() -> Response:
        return HTMLResponse(_PAGE, headers=DOCUMENT_HEADERS)

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI's documentation gives
    _add(app, "/openapi.json", lambda: JSONResponse(app.openapi()))
    _add(app, "/docs", docs)
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_offline", "static")]))


def _add(app: FastAPI, path: str, answer: Callable[[], Response]) -> None:
    app.add_route(path, _route(path, answer))


def _route(path: str, answer: Callable[[], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        exchange_of(request).route = path
        return answer()

    return route
