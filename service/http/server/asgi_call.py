"""A request that is answered by the ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from service.core.errors import ServiceError
from service.http import problems
from service.http.exchange import STARTED, new_request_id
from service.http.server.request import Refused, Request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

    from service.http.server.context import Responder

log = logging.getLogger(__name__)

_MOST_BUFFERED = 65_536
"""Bytes of a body that wait for the application; then reading pauses."""


class AsgiCall:
    """Runs the application in a task, and translates between its messages and the connection."""

    def __init__(self, app: ASGIApp, connection: Responder, request: Request) -> None:
        self._app = app
        self._connection = connection
        self._request = request
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._is_complete = request.is_complete
        self._is_gone = False
        self._changed = asyncio.Event()
        self._has_started = False
        self._has_ended = False
        self._is_chunked = False
        self._task = connection.loop.create_task(self._run())
        tasks = connection.server_state.tasks
        tasks.add(self._task)
        self._task.add_done_callback(tasks.discard)

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
        self._is_gone = True
        self._changed.set()
        if self._has_started:
            self._connection.break_off()
            return
        self._has_started = self._has_ended = True
        request_id = new_request_id()
        body = problems.body(error.problem, error.detail, self._request.path, request_id)
        lines = (
            f"content-type: {problems.CONTENT_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\n"
        )
        self._connection.write_response(error.problem.status, lines.encode(), body)

    def on_disconnect(self) -> None:
        """Tell the application that the client has left."""
        self._is_gone = True
        self._changed.set()

    def cancel(self) -> None:
        """Cancel the application's task; it still answers."""
        self._task.cancel()

    # ASGI

    async def _run(self) -> None:
        try:
            await self._app(self._scope(), self._receive, self._send)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("unforeseen")
        finally:
            if not self._has_ended and not self._is_gone:
                self._connection.break_off()

    def _scope(self) -> Scope:
        request, connection = self._request, self._connection
        port = connection.peer[1] if connection.peer else 0
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.version,
            "method": request.method,
            "scheme": connection.scheme,
            "path": request.path,
            "raw_path": request.raw_path,
            "query_string": request.query,
            "root_path": "",
            "headers": request.headers,
            "client": (connection.client(request), port),
            "server": connection.local,
            "state": {},
            STARTED: request.started,
        }

    async def _receive(self) -> Message:
        self._connection.send_continue()
        while not (self._pieces or self._is_complete or self._is_gone):
            self._changed.clear()
            await self._changed.wait()
        if self._is_gone:
            return {"type": "http.disconnect"}
        if self._pieces:
            body = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._buffered = 0
            self._connection.resume_body()
            return {"type": "http.request", "body": body, "more_body": not self._is_complete}
        if not self._has_told_end:
            self._has_told_end = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while not self._is_gone and not self._has_ended:  # the client may still leave
            self._changed.clear()
            await self._changed.wait()
        return {"type": "http.disconnect"}

    _has_told_end = False

    async def _send(self, message: Message) -> None:
        if self._is_gone or self._has_ended:
            return
        connection = self._connection
        if message["type"] == "http.response.start":
            self._start(message)
            return
        body = bytes(message.get("body", b""))
        more = message.get("more_body", False)
        if self._request.method == "HEAD":
            body = b""
        if self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        if self._head is not None:
            status, lines = self._head
            self._head = None
            if not more and len(body) <= _MOST_BUFFERED:
                self._has_ended = True
                self._changed.set()
                connection.write_response(status, lines, body)
                return
            connection.write_head(status, lines)
        await connection.write_body(body)
        if not more and not self._is_gone:
            self._has_ended = True
            self._changed.set()
            connection.end_response()

    _head: tuple[int, bytes] | None = None

    def _start(self, message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        lines = []
        has_length = False
        for name, value in message.get("headers", ()):
            lower = name.lower()
            if lower == b"connection":
                if value.lower() == b"close":
                    self._connection.close_after_response()
                continue
            has_length = has_length or lower == b"content-length"
            lines.append(b"%b: %b\r\n" % (name, value))
        status = message["status"]
        if not has_length and status not in (204, 304) and self._request.method != "HEAD":
            self._is_chunked = self._request.version == "1.1"
            if self._is_chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
        self._has_started = True
        self._head = status, b"".join(lines)
