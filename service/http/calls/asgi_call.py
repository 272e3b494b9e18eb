"""A request that is answered by the ASGI application."""

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
"""Bytes of a body that wait for the application; then reading pauses."""


class AsgiCall:
    """Runs the application in a task, and translates between its messages and the connection."""

    def __init__(self, app: ASGIApp, connection: Responder, request: Request) -> None:
        self._app = app
        self._connection = connection
        self._request = request
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._is_complete = request.is_complete
        self._has_read_all = False
        self._is_cancelled = False
        self._changed = asyncio.Event()
        self._head: tuple[int, bytes] | None = None  # until the body's first part
        self._has_begun = False  # to write
        self._has_ended = False
        self._is_bodiless = self._is_chunked = False
        self._missing: int | None = None  # of the declared length
        self._task = connection.loop.create_task(self._run())
        connection.server_state.tasks.add(self._task)
        self._task.add_done_callback(self._on_done)

    # Call

    def on_body(self, piece: bytes) -> None:
        """Buffer a piece of the body for the application."""
        self._pieces.append(piece)
        self._buffered += len(piece)
        self._changed.set()
        if self._buffered > _MOST_BUFFERED:
            self._connection.pause_body()

    def on_body_end(self) -> None:
        """Note that the body is complete."""
        self._is_complete = True
        self._changed.set()

    def on_body_error(self, error: ServiceError | Refused) -> None:
        """Answer broken framing; how long a body takes is the application's to say."""
        if not isinstance(error, Refused):
            return
        self._is_cancelled = True
        self._changed.set()
        self._connection.close_after_response()
        request_id = new_request_id()
        self._answer(
            problems.problem_response(error.problem, error.detail, self._request.path, request_id), request_id
        )

    def on_disconnect(self) -> None:
        """Tell the application that the client has left."""
        self._is_cancelled = True
        self._changed.set()

    def cancel(self) -> None:
        """Cancel the application's task; it still answers."""
        self._task.cancel()

    # ASGI

    async def _run(self) -> None:
        try:
            await self._app(self._scope(), self._receive, self._send)
        except Exception:
            log.exception("unexpected error")

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """Answer for an application that did not."""
        self._connection.server_state.tasks.discard(task)
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
        request, connection = self._request, self._connection
        port = connection.peer[1] if connection.peer else 0
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.head.version,
            "method": request.head.method,
            "scheme": connection.scheme,
            "path": request.path,
            "raw_path": request.head.raw_path,
            "query_string": request.head.query,
            "root_path": "",
            "headers": request.head.headers,
            "client": (connection.client(request), port),
            "server": connection.local,
            "state": {},
            STARTED: request.started,
        }

    async def _receive(self) -> Message:
        if not self._is_over:
            self._connection.send_continue()
        while not (self._is_over or self._pieces or (self._is_complete and not self._has_read_all)):
            self._changed.clear()
            await self._changed.wait()
        if self._is_over:
            return {"type": "http.disconnect"}
        body, more = b"".join(self._pieces), not self._is_complete
        self._pieces.clear()
        self._buffered = 0
        self._has_read_all = not more
        self._connection.resume_body()
        return {"type": "http.request", "body": body, "more_body": more}

    async def _send(self, message: Message) -> None:
        if self._is_over:
            return
        if message["type"] == "http.response.start":
            self._start(message)
            return
        more = message.get("more_body", False)
        body = self._frame(bytes(message.get("body", b"")), more)
        connection = self._connection
        if self._head is not None:
            status, lines = self._head
            self._head = None
            self._has_begun = True
            if not more and len(body) <= _MOST_BUFFERED:
                self._end()
                connection.write_response(status, lines, body)
                return
            connection.write_head(status, lines)
        await connection.write_body(body)
        if not more and not self._is_over:
            self._end()
            connection.end_response()

    def _start(self, message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        if self._head is not None or self._has_begun:
            raise ValueError("A response should have one head")
        status, request = message["status"], self._request
        lines = []
        for name, value in message.get("headers", ()):
            lower = name.lower()
            if lower == b"connection":
                if value.lower() == b"close":
                    self._connection.close_after_response()
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
            raise ValueError("Each header of a response should be one line")
        self._head = status, head

    def _frame(self, body: bytes, more: bool) -> bytes:
        """Return a part of the body as it is written."""
        if self._head is None and not self._has_begun:
            raise ValueError("A response should begin with its head")
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
        """Answer in place of the application; where it has begun, only the connection's end can tell."""
        self._end()
        if self._has_begun:
            self._connection.break_off()
            return
        headers = (*response.raw_headers, (b"x-request-id", request_id.encode()))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._connection.write_response(response.status_code, lines, bytes(response.body))
