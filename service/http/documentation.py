"""The description of the interface, for programs and for people; no other host is asked for anything."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from service.http import operations
from service.http.exchange import exchange_of
from service.http.operations import Operation


def install(app: FastAPI, described: Sequence[Operation]) -> None:
    """Give an app `/openapi.json` and `/docs`."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            document["components"] = {"schemas": operations.components(described)}
            app.openapi_schema = document
        return app.openapi_schema

    def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon.png",
        )

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
