"""Request that is answered by the ASGI application."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from service.core.errors import ServiceError, Stopping
from service.http.messages import problems
from service.http.messages.request_scope import STARTED
from service.http.server.request import Refused, Request
from service.inference.request_context import new_request_id

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Scope

    from service.http.server.server_context import Responder

log = logging.getLogger(__name__)

_MOST_BUFFERED = 65_536
"""Buffered bytes of a body above which reading pauses until the application receives them."""


class AsgiCall:
    """Runs the ASGI application in a task, and translates between ASGI messages and the connection."""

    def __init__(self, app: ASGIApp, responder: Responder, request: Request) -> None:
        self._app = app
        self._responder = responder
        self._request = request
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._is_complete = request.is_complete
        self._has_read_all = False
        self._is_cancelled = False
        self._changed = asyncio.Event()
        self._head: tuple[int, bytes] | None = None  # status and header lines, until written
        self._has_begun = False  # to write the response
        self._has_ended = False
        self._is_bodiless = self._is_chunked = False
        self._missing: int | None = None  # bytes that are left of the declared length
        self._task = responder.loop.create_task(self._run())
        responder.server_state.tasks.add(self._task)
        self._task.add_done_callback(self._on_done)

    # Call

    def on_body(self, piece: bytes) -> None:
        """Buffer a piece of the body for the application."""
        self._pieces.append(piece)
        self._buffered += len(piece)
        self._changed.set()
        if self._buffered > _MOST_BUFFERED:
            self._responder.pause_body()

    def on_body_end(self) -> None:
        """Record that the body is complete."""
        self._is_complete = True
        self._changed.set()

    def on_body_error(self, error: ServiceError | Refused) -> None:
        """Answer invalid framing; the application limits the time of a body itself."""
        if not isinstance(error, Refused):
            return
        self._is_cancelled = True
        self._changed.set()
        self._responder.close_after_response()
        request_id = new_request_id()
        self._answer(
            problems.problem_response(error.problem, error.detail, self._request.path, request_id), request_id
        )

    def on_disconnect(self) -> None:
        """Send the application `http.disconnect`."""
        self._is_cancelled = True
        self._changed.set()

    def cancel(self) -> None:
        """Cancel the application's task; the client still gets a response."""
        self._task.cancel()

    # ASGI

    async def _run(self) -> None:
        try:
            await self._app(self._scope(), self._receive, self._send)
        except Exception:  # an application that breaks ASGI must not end the connection's task
            log.exception("unexpected error")

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Answer if the application did not."""
        self._responder.server_state.tasks.discard(task)
        if not self._is_over:
            path, request_id = self._request.path, new_request_id()
            if task.cancelled():
                self._answer(problems.error_response(Stopping(), path, request_id), request_id)
            else:
                self._answer(problems.internal_error_response(path, request_id), request_id)

    @property
    def _is_over(self) -> bool:
        return self._has_ended or self._is_cancelled

    def _scope(self) -> Scope:
        request, responder = self._request, self._responder
        port = responder.peer[1] if responder.peer else 0
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.head.version,
            "method": request.head.method,
            "scheme": responder.scheme,
            "path": request.path,
            "raw_path": request.head.raw_path,
            "query_string": request.head.query,
            "root_path": "",
            "headers": request.head.headers,
            "client": (responder.client(request), port),
            "server": responder.local,
            "state": {},
            STARTED: request.started,
        }

    async def _receive(self) -> Message:
        if not self._is_over:
            self._responder.send_continue()
        while not (self._is_over or self._pieces or (self._is_complete and not self._has_read_all)):
            self._changed.clear()
            await self._changed.wait()
        if self._is_over:
            return {"type": "http.disconnect"}
        body, more = b"".join(self._pieces), not self._is_complete
        self._pieces.clear()
        self._buffered = 0
        self._has_read_all = not more
        self._responder.resume_body()
        return {"type": "http.request", "body": body, "more_body": more}

    async def _send(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "http.response.start":
            self._start(message)
            return
        more = message.get("more_body", False)
        body = self._frame(bytes(message.get("body", b"")), more)
        responder = self._responder
        if self._head is not None:
            status, lines = self._head
            self._head = None
            self._has_begun = True
            if not more and len(body) <= _MOST_BUFFERED:
                self._end()
                responder.write_response(status, lines, body)
                return
            responder.write_head(status, lines)
        await responder.write_body(body)
        if not more and not self._is_over:
            self._end()
            responder.end_response()

    def _start(self, message: Any) -> None:  # noqa: ANN401 - the type of ASGI
        if self._head is not None or self._has_begun:
            raise ValueError("A response should have one http.response.start")
        status, request = message["status"], self._request
        lines = []
        for name, value in message.get("headers", ()):
            lower = name.lower()
            if lower == b"connection":
                if value.lower() == b"close":
                    self._responder.close_after_response()
                continue
            if lower == b"content-length":
                self._missing = int(value)
            lines.append(b"%b: %b\r\n" % (name, value))
        self._is_bodiless = request.head.method == "HEAD" or status in (204, 304)
        if self._missing is None and not self._is_bodiless and request.head.version == "1.1":
            self._is_chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if not head.count(b"\r") == head.count(b"\n") == len(lines):
            raise ValueError("Response headers should contain no line breaks")
        self._head = status, head

    def _frame(self, body: bytes, more: bool) -> bytes:
        """Return a part of the body, framed as the head declares."""
        if self._head is None and not self._has_begun:
            raise ValueError("A response should begin with http.response.start")
        if self._is_bodiless:
            return b""
        if self._missing is not None:
            self._missing -= len(body)
            if self._missing < 0 or (self._missing and not more):
                raise ValueError("A response should have as many bytes as its content-length")
        if self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        return body

    def _end(self) -> None:
        self._has_ended = True
        self._changed.set()

    def _answer(self, response: Response, request_id: str) -> None:
        """Answer in place of the application; close the connection if its response has begun."""
        self._end()
        if self._has_begun:
            self._responder.break_off()
            return
        headers = (*response.raw_headers, (b"x-request-id", request_id.encode()))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._responder.write_response(response.status_code, lines, bytes(response.body))
