"""The web page: serves the files of `service/static` from memory.

The content security policy allows the page to load nothing from other origins.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.http.messages.conditional import Constant
from service.http.messages.request_scope import context_of
from service.http.security.response_headers import DOCUMENT_HEADERS

FOLDER = Path(__file__).parents[2] / "static"

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Content types by file extension; other files of the folder are not served."""


ELEMENT_PATH = "/pad.js"
"""Path of the web component `<inkling-pad>`, for pages of other origins."""

_ELEMENT = b'export * from "./static/element.js";\n'


def install(app: FastAPI, root_path: str = "") -> None:
    """Add the page at `/`, its files under `/static`, and the web component to an application.

    Args:
        app: The application.
        root_path: The setting `root_path`; if it is set, the path without a trailing slash redirects to the
            page.

    Raises:
        OSError: A file cannot be read.
    """
    if root_path:
        app.add_route(root_path, _redirect(root_path))
    element = Constant(_ELEMENT, KINDS[".js"], DOCUMENT_HEADERS)
    app.add_route(ELEMENT_PATH, _route(ELEMENT_PATH, element))
    for file in sorted(FOLDER.rglob("*")):
        if file.suffix in KINDS:
            name = file.relative_to(FOLDER).as_posix()
            path = "/" if name == "index.html" else f"/static/{name}"
            app.add_route(
                path, _route(path, Constant(file.read_bytes(), KINDS[file.suffix], DOCUMENT_HEADERS))
            )


def _route(path: str, constant: Constant) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        context_of(request).route = path
        return constant.respond(request)

    return route


def _redirect(root_path: str) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        context_of(request).route = root_path
        return RedirectResponse(f"{root_path}/")

    return route
