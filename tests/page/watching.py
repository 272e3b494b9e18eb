"""What a page says and asks for while a test looks at it, and whether that is as it should be."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, WebError

ABORTED = "net::ERR_ABORTED"
"""How a request ends that the page itself gave up, as it does with questions about older drawings."""


@dataclass
class Watch:
    """Listens to every page of a browser's context.

    Attributes:
        origin: The one place that may be asked.
        faults: What went wrong, one line each.
        asked: Every request, in order.
    """

    origin: str
    faults: list[str] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    _expected: list[re.Pattern[str]] = field(default_factory=list)

    def listen(self, context: BrowserContext) -> None:
        """Begin to listen; pages that open later are heard too."""
        context.on("console", self._hear)
        context.on("weberror", self._catch)
        context.on("request", self._see)
        context.on("requestfailed", self._miss)

    def expect(self, *patterns: str) -> None:
        """Declare faults that a test brings about on purpose, by a pattern found in their line."""
        self._expected += [re.compile(pattern) for pattern in patterns]

    def unexpected(self) -> list[str]:
        """Return the faults that no test has declared."""
        return [line for line in self.faults if not any(known.search(line) for known in self._expected)]

    def paths(self, page: Page | None = None) -> Sequence[str]:
        """Return the paths that were asked for, of one page or of all."""
        return [
            urlsplit(request.url).path for request in self.asked if page is None or request.frame.page == page
        ]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.faults.append(f"console {message.type}: {message.text} ({message.location['url']})")

    def _catch(self, error: WebError) -> None:
        self.faults.append(f"uncaught: {error.error}")

    def _see(self, request: Request) -> None:
        self.asked.append(request)
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and f"{address.scheme}://{address.netloc}" != self.origin:
            self.faults.append(f"other host: {request.url}")

    def _miss(self, request: Request) -> None:
        if request.failure != ABORTED:
            self.faults.append(f"failed: {request.method} {request.url}: {request.failure}")
