"""The page for people: the files of `service/static` as they stand there, read once and kept in memory.

A browser that shows them may run, load and ask for nothing that is not the service's own.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from service.http.conditional import Constant
from service.http.exchange import exchange_of

FOLDER = Path(__file__).parents[1] / "static"

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Content types of what the folder may hold; anything else in it is not served."""

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""What the page may do; pictures that were dropped on it or drawn by it are `data:` and `blob:`."""

_UNUSED = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")

HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Said with every file of the page. A referrer would tell others the drawing that an address carries."""


def install(app: FastAPI) -> None:
    """Give an app the page at `/` and the files that it asks for under `/static`.

    Raises:
        OSError: A file of the page cannot be read.
    """
    for file in sorted(FOLDER.rglob("*")):
        if file.suffix in KINDS:
            name = file.relative_to(FOLDER).as_posix()
            path = "/" if name == "index.html" else f"/static/{name}"
            app.add_route(path, _route(path, Constant(file.read_bytes(), KINDS[file.suffix], HEADERS)))


def _route(path: str, constant: Constant) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        exchange_of(request).route = path
        return constant.respond(request)

    return route
