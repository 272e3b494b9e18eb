"""HTTP as it arrives: what uvicorn leaves open is closed here.

A connection must send a request's head in time and within its size, there are not more connections than
the process can hold, and what is no HTTP gets the same kind of answer as any other error.
"""

import asyncio
import logging
from typing import Any

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http import problems
from service.http.problems import Problem

log = logging.getLogger(__name__)


class Transport(HttpToolsProtocol):
    """One connection. The limits are the class's: uvicorn makes the instances.

    Attributes:
        max_connections: Open connections; one more is answered with 503 and closed.
        max_head_bytes: Size of a request's line and headers.
        header_timeout_s: Longest time from a connection's or request's first byte to its head's last.
    """

    max_connections: int
    max_head_bytes: int
    header_timeout_s: float

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take a connection if there is room for it."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            got = f"{len(self.connections) - 1:,} are open"
            self._refuse(
                problems.TOO_MANY_CONNECTIONS,
                f"Connections should be at most {self.max_connections:,}; {got}.",
            )
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless the connection is being closed."""
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)
        if idle and self._head_timer is not None and self._head_bytes > self.max_head_bytes:
            expected = f"Request line and headers should be at most {self.max_head_bytes:,} bytes"
            self._refuse(problems.HEAD_TOO_LARGE, f"{expected}; got more.")

    def on_headers_complete(self) -> None:
        """Start to answer: the head has arrived."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.max_head_bytes:
            raise HttpParserError("head too large")
        self._stop_timer()
        self._head_bytes = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP."""
        del msg
        if not self.transport.is_closing():
            self._refuse(problems.BROKEN_HTTP, "Bytes should be an HTTP/1.1 request; got others.")

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.header_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem, detail: str) -> None:
        log.warning("connection refused", extra={"fields": {"reason": problem.kind}})
        self._stop_timer()
        body = problems.body(problem, detail, "", "")
        head = (
            f"HTTP/1.1 {problem.status} {problem.title}\r\n"
            f"content-type: {problems.CONTENT_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"{'retry-after: 1' + chr(13) + chr(10) if problem.status == 503 else ''}"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def with_limits(**limits: Any) -> type[Transport]:  # noqa: ANN401 - the class's attributes say the types
    """Return the kind of connection that has these limits: `Transport`'s attributes, by name."""
    return type("LimitedTransport", (Transport,), limits)
