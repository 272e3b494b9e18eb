"""Pages of other origins in a real Chromium, and a proxy that serves the service under a path."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, sync_playwright

from tests.page.conftest import ARGUMENTS, found_browser

REBOUND = "rebound.example"
"""A name that the browser resolves to this machine, as an attacker's name server would."""

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a Chromium that resolves one more host name to 127.0.0.1; skip if none is installed."""
    found = found_browser()
    if found is None:
        pytest.skip("no browser: Chromium is not installed")
    rules = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, headless=True, args=[*ARGUMENTS, rules])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def foreign_page() -> Iterator[int]:
    """Serve an empty page on a port of its own; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b"<!doctype html><title>another origin</title>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            del format, arguments

    with _serving(Handler) as port:
        yield port


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        port: Where it listens.
        outside: Paths that were asked for outside of its prefix, where the service is not.
    """

    port: int = 0
    outside: list[str] = field(default_factory=list)


@contextmanager
def proxy(target: int, prefix: str, strips: bool) -> Iterator[Proxy]:
    """Serve the service under a path prefix.

    Args:
        target: The service's port.
        prefix: Such as `/inkling`.
        strips: Whether the prefix is removed from the path, as nginx does for `proxy_pass http://host/`.
    """
    found = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._forward()

        def do_POST(self) -> None:
            self._forward()

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not re.match(rf"{re.escape(prefix)}(?:[/?]|$)", self.path):
                found.outside.append(self.path)
                self.send_error(404)
                return
            path = self.path.removeprefix(prefix) or "/"
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            with closing(http.client.HTTPConnection("127.0.0.1", target, timeout=30)) as connection:
                connection.request(self.command, path if strips else self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            with suppress(ConnectionError):  # the page has given up the request
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            del format, arguments

    with _serving(Handler) as port:
        found.port = port
        yield found
