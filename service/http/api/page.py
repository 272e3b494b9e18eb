"""The page for people: the files of `service/static` as they stand there, read once and kept in memory.

A browser that shows them may run, load and ask for nothing that is not the service's own.
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
"""Content types of what the folder may hold; anything else in it is not served."""


def install(app: FastAPI, root_path: str = "") -> None:
    """Give an app the page at `/` and the files that it asks for under `/static`.

    Args:
        app: Where.
        root_path: Prefix under which a proxy shows the page; without the slash after it, it redirects there.

    Raises:
        OSError: A file of the page cannot be read.
    """
    if root_path:
        app.add_route(root_path, _redirect(root_path))
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
