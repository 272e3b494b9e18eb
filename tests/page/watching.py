"""Records console messages, exceptions and requests of pages, and reports faults."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, WebError

ABORTED = "net::ERR_ABORTED"
"""Failure text of a request that the page itself aborted, as those for older drawings."""


@dataclass
class Watch:
    """Recorder of all pages of a browser context.

    Attributes:
        origin: The only origin that pages may request.
        faults: Console errors and warnings, exceptions, failed requests, and requests to other hosts.
        requests: All requests, in order.
    """

    origin: str
    faults: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    _expected: list[re.Pattern[str]] = field(default_factory=list)

    def listen(self, context: BrowserContext) -> None:
        """Start recording; pages that open later are included."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_exception)
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failure)

    def expect(self, *patterns: str) -> None:
        """Declare faults that a test causes on purpose, by patterns found in them."""
        self._expected += [re.compile(pattern) for pattern in patterns]

    def unexpected(self) -> list[str]:
        """Return the faults that were not declared."""
        return [line for line in self.faults if not any(known.search(line) for known in self._expected)]

    def paths(self, page: Page | None = None) -> Sequence[str]:
        """Return the requested paths, of one page or of all."""
        return [
            urlsplit(request.url).path
            for request in self.requests
            if page is None or request.frame.page == page
        ]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.faults.append(f"console {message.type}: {message.text} ({message.location['url']})")

    def _on_exception(self, error: WebError) -> None:
        self.faults.append(f"uncaught: {error.error}")

    def _on_request(self, request: Request) -> None:
        self.requests.append(request)
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and f"{address.scheme}://{address.netloc}" != self.origin:
            self.faults.append(f"other host: {request.url}")

    def _on_failure(self, request: Request) -> None:
        if request.failure != ABORTED:
            self.faults.append(f"failed: {request.method} {request.url}: {request.failure}")
