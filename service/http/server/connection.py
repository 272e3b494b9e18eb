"""One HTTP/1.1 connection: one parser, one pipeline of responses in order, one set of limits.

Theory of operation. Every byte that arrives is fed to one parser, as it came and in slices. A request whose
head is complete joins the queue. The first of the queue is dispatched to a `Call`: predictions are answered
without a task and without ASGI messages, everything else by the ASGI application. Nothing more is fed while a
request whose body is complete waits for its response, so at most one slice of pipelined requests is parsed
ahead. Bytes that are refused take their place in the queue like any request, as a `Refused`; after its
response the connection closes.

Stages of a connection (`Stage`):

    IDLE -> HEAD -> BODY -> ANSWERING -> IDLE     a request and its response
    ANSWERING -> BODY -> IDLE                     the response came before a short rest of the body
    ANSWERING -> DRAINING -> CLOSED               the last response: input is read and dropped for a while
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, cast

from service.core.errors import BodyTimeout, ServiceError, TooManyBytes
from service.http.messages import problems
from service.http.server.connection_table import TooManyConnections
from service.http.server.parser import RequestParser
from service.http.server.request import Refused, Request
from service.http.server.sockets import unread_bytes
from service.http.server.writer import Writer
from service.inference.request_context import RequestContext, new_request_id

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from service.http.server.connection_table import Place
    from service.http.server.server_context import Call, ServerContext

log = logging.getLogger(__name__)

SLICE_BYTES = 4096
"""Bytes that are parsed at once while the head of another request may be among them: what bounds how many
pipelined requests are parsed before the first of them is answered."""

_CHUNKED_SLICES = 4
_MOST_CHUNKS = 256
"""Slices of a chunked body that are parsed before other connections run, but no more once so many parts of
the body were among them: chunks may be of one byte, and a slice of those takes as long as megabytes."""

_QUEUED_COST = 2048
"""Bytes of memory that a parsed request costs while it waits for its turn."""

_SKIPPED_BYTES = 2**20
"""Bytes of a body that nobody wants, up to which the connection is kept for another request."""

_LINGER_S = 5.0
_LINGER_BYTES = 16 * 2**20
"""How long, and how much, is read after the last response: closing a socket with unread input resets it, and
the client would lose the response (RFC 9112, section 9.6)."""

_SHORT_SHARE = 0.75
_SHORT_S = 2.0
_SHORT_RATE = 64
"""Share of the memory budget above which clients must be quick: they have 2 s for a body, and must take a
response at 64 times the minimum rate. Slow ones would hold memory that others need."""

_IDLE_GRACE_S = 0.1
"""How long an idle connection stays open once the server stops: a request may be on its way."""

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("latin-1") for status in HTTPStatus
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"


class Stage(Enum):
    """What a connection is doing."""

    IDLE = "waiting for a request"
    HEAD = "receiving a head"
    BODY = "receiving a body"
    ANSWERING = "waiting for a response"
    DRAINING = "dropping input after the last response"
    CLOSED = "closed"


class Connection(asyncio.Protocol):
    """One client's connection.

    Attributes:
        server_state: uvicorn's: the open connections, the running tasks, and the header `Date`.
        loop: The event loop.
        accepted: When it was accepted, by `time.perf_counter`.
        peer, local: Address and port of both ends; None if there are none.
        scheme: `http` or `https`.
    """

    def __init__(
        self,
        server_context: ServerContext,
        server_state: ServerState,
        place: Place | None = None,
        refusal: str | None = None,
    ) -> None:
        """Create a connection that is not connected yet; to be called in the event loop.

        Args:
            server_context: What all connections share.
            server_state: As the attribute.
            place: Its place in the table; None takes one when it is connected.
            refusal: Why the client is turned away as soon as it is connected; None if it is not.
        """
        self.server_state = server_state
        self.loop = asyncio.get_running_loop()
        self.accepted = perf_counter()
        self.peer: tuple[str, int] | None = None
        self.local: tuple[str, int] | None = None
        self.scheme = "http"
        self._server_context = server_context
        self._place = place
        self._refusal = refusal
        self._transport = cast("asyncio.Transport", None)  # until `connection_made`
        self._writer = cast("Writer", None)  # as the transport
        self._is_connected = False

        self._parser = RequestParser(self, server_context.limits.max_head_bytes, server_context.heads)
        self._queue: deque[Request | Refused] = deque()
        self._unfed: list[bytes] = []
        self._unfed_bytes = 0
        self._is_broken = False  # nothing more can be parsed
        self._is_at_eof = False
        self._is_reading = True
        self._is_body_paused = False
        self._is_advancing = False
        self._is_yielding = False
        self._chunks = 0  # parts of a body since others ran

        self._request: Request | None = None  # the one whose turn it is
        self._call: Call | None = None
        self._has_begun = False  # its response
        self._has_continued = False
        self._closes = False  # after its response
        self._last_active = self.accepted
        self._is_closed = False
        self._is_over = False  # closed, or the last response is written
        self._drains_until: float | None = None
        self._dropped = 0

    # State

    @property
    def stage(self) -> Stage:
        """What the connection is doing."""
        if self._is_closed:
            return Stage.CLOSED
        if self._drains_until is not None:
            return Stage.DRAINING
        if self._call is not None or self._queue:
            is_receiving = self._request is not None and not self._request.is_complete
            return Stage.BODY if is_receiving and not self._has_begun else Stage.ANSWERING
        if self._request is not None:  # answered before its body was complete
            return Stage.BODY
        return Stage.HEAD if self._parser.head_began else Stage.IDLE

    def is_idle(self) -> bool:
        """Return whether it waits for a request of which no byte has arrived, or for the client to leave."""
        return self.stage in (Stage.IDLE, Stage.DRAINING) and not self._writer.is_paused

    def idle_s(self, now: float) -> float:
        """Return for how many seconds it has been idle; 0 if it is not."""
        return now - self._last_active if self.is_idle() else 0.0

    def has_unread(self) -> bool:
        """Return whether the system has bytes of the client that were not read."""
        return self._is_reading and unread_bytes(self._transport.get_extra_info("socket")) > 0

    def is_evictable(self) -> bool:
        """Return whether closing it loses no request that is complete or being answered."""
        return self.stage is not Stage.ANSWERING and not self._writer.is_paused

    def client(self, request: Request) -> str:
        """Return the address of the client that sent a request, or `-`."""
        if self.peer is None:
            return "-"
        find = self._server_context.client
        return self.peer[0] if find is None else find(self.peer[0], request)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read, or turn the client away."""
        self._transport = cast("asyncio.Transport", transport)
        is_tls = transport.get_extra_info("sslcontext") is not None
        self.scheme = "https" if is_tls else "http"
        self._writer = Writer(self._transport, self._server_context.budget, is_tls=is_tls)
        self._is_connected = True
        self.peer = _address(transport.get_extra_info("peername"))
        self.local = _address(transport.get_extra_info("sockname"))
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes
        if self._place is None and self._refusal is None:
            try:
                self._place = self._server_context.connections.take(self.peer[0] if self.peer else "-")
            except TooManyConnections as error:
                self._refusal = str(error)
        if self._place is None:
            self._server_context.connections.refused += 1
        if self._place is not None:
            self._place.connection = self
        if self._refusal is not None:
            self._break(Refused(problems.TOO_MANY_CONNECTIONS, self._refusal))
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop whatever is under way."""
        del exc
        self._is_closed = self._is_over = True
        self.server_state.connections.discard(self)
        if self._place is not None:
            self._server_context.connections.leave(self._place)
        elif self._refusal is not None:
            self._server_context.connections.refused -= 1
        self._drop_input()
        if self._is_connected:
            self._writer.resume()
        if self._call is not None:
            call, self._call = self._call, None
            call.on_disconnect()

    def data_received(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        if self._is_over:
            self._dropped += len(data)
            if self._dropped > _LINGER_BYTES:
                self.abort()
        elif self._unfed:
            self._hold(data)
        else:
            self._feed(data)
            if self._queue or self._is_at_eof or self._is_broken:
                self._advance()

    def eof_received(self) -> bool:
        """Keep the connection open for what is still to be answered."""
        self._is_at_eof = True
        if self._drains_until is not None:
            return False
        self._advance()
        return not self._is_closed and self.scheme == "http"  # TLS ends in both directions at once

    def pause_writing(self) -> None:
        """Answer nothing more until the client has taken what was written."""
        if self._is_connected:  # TLS may pause before, for a handshake that fails
            self._writer.pause()

    def resume_writing(self) -> None:
        """Go on: the client has taken everything."""
        if not self._is_connected:
            return
        self._writer.resume()
        if not self._is_closed:
            self._last_active = perf_counter()
            self._advance()

    # Events of the parser

    def on_request(self, request: Request) -> None:
        """Dispatch a request, or queue it."""
        if self._is_over:  # parsed together with the last request that is answered
            return
        is_next = self._request is None and not self._queue and not self._writer.is_paused
        if (
            is_next and not self._server_context.stopping.is_set
        ):  # which closes after the last of those queued
            self._dispatch(request)
        else:
            self._server_context.budget.add(_QUEUED_COST)
            self._queue.append(request)

    def on_body(self, request: Request, piece: bytes) -> None:
        """Hand on a part of a body."""
        self._chunks += 1
        if request is not self._request:
            if not self._is_over:
                request.pieces.append(piece)
        elif self._call is not None:
            self._call.on_body(piece)

    def on_complete(self, request: Request) -> None:
        """Hand on the end of a body."""
        if request is not self._request:
            return
        if self._call is not None:
            self._call.on_body_end()
        else:
            self._request = None  # answered before
            self._last_active = perf_counter()

    # Input

    def _may_feed(self) -> bool:
        """Return whether the parser may have more: no complete request waits for its response."""
        if self._is_broken or self._is_over or self._queue or self._writer.is_paused:
            return False
        if self._call is None or self._request is None:
            return True
        return not (self._is_body_paused or self._request.is_complete)

    def _feed(self, data: bytes) -> None:
        """Feed bytes to the parser, in slices; what has to wait is held."""
        position, size, slices = 0, len(data), 0
        self._chunks = 0
        while position < size:
            if not self._may_feed():
                self._hold(data[position:])
                return
            step = SLICE_BYTES
            request = self._request
            if request is not None and not request.is_complete:
                if request.head.content_length is not None:
                    step = max(step, request.head.content_length - request.received)
                elif slices == _CHUNKED_SLICES or self._chunks > _MOST_CHUNKS:
                    self._hold(data[position:])
                    self._yield()
                    return
                slices += 1
            piece = data if not position and step >= size else data[position : position + step]
            position += len(piece)
            try:
                rest = self._parser.feed(piece)
            except Refused as refusal:
                self._refuse(refusal)
                return
            position -= len(rest)

    def _yield(self) -> None:
        """Let other connections run before more is fed."""

        def go_on() -> None:
            self._is_yielding = False
            self._advance()

        self._is_yielding = True
        self.loop.call_soon(go_on)

    def _refuse(self, refusal: Refused) -> None:
        """Parse nothing more; what is refused is answered in its turn."""
        if self._is_over:
            return
        request = self._parser.request
        if request is None or request.is_complete:
            if request is not None and not request.keep_alive:
                self._is_broken = True  # bytes after a request that asks to close the connection are ignored
            else:
                self._break(refusal)
        elif request is not self._request:
            self._queue.remove(request)
            self._server_context.budget.release(_QUEUED_COST)
            refusal.request = request
            self._break(refusal)
        elif self._call is not None:
            self._is_broken = True
            self._call.on_body_error(refusal)
        else:
            self._is_broken = True
            self._linger()

    def _break(self, refusal: Refused) -> None:
        self._is_broken = True
        self._queue.append(refusal)

    def _hold(self, data: bytes) -> None:
        """Keep bytes for later, and read no more meanwhile."""
        if self._is_broken or self._is_over:
            return
        if not self._server_context.budget.try_acquire(len(data)):
            error = TooManyBytes(self._server_context.budget.max_bytes)
            self._refuse(Refused(problems.lookup(error), str(error)))
            return
        self._unfed.append(data)
        self._unfed_bytes += len(data)
        self._pause_reading()

    def _take_unfed(self) -> bytes:
        """Return the bytes that are held, which are held no longer."""
        data = b"".join(self._unfed)
        self._server_context.budget.release(self._unfed_bytes)
        self._unfed, self._unfed_bytes = [], 0
        return data

    def _drop_input(self) -> None:
        """Forget the bytes and requests that wait."""
        self._take_unfed()
        queued = sum(isinstance(waiting, Request) for waiting in self._queue)
        self._server_context.budget.release(queued * _QUEUED_COST)
        self._queue.clear()

    def _pause_reading(self) -> None:
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._is_reading and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def pause_body(self) -> None:
        """Hand on no more of the body until `resume_body`; called by the `Call`."""
        self._is_body_paused = True
        self._pause_reading()

    def resume_body(self) -> None:
        """Hand on the rest of the body."""
        if self._is_body_paused:
            self._is_body_paused = False
            self._advance()

    def send_continue(self) -> None:
        """Tell a client that waits for it to send the body."""
        request = self._request
        if request is None or self._has_begun or self._has_continued:
            return
        if request.head.expects_continue:
            self._has_continued = True
            if not request.received and not request.is_complete:
                self._writer.write(_CONTINUE)

    # The pipeline

    def _advance(self) -> None:
        """Answer what waits, feed what is held, and close when nothing is left."""
        if self._is_advancing or self._is_over:
            return
        self._is_advancing = True
        try:
            while not self._writer.is_paused and not self._is_over:
                if self._request is None and self._queue:
                    self._begin_next()
                elif self._unfed and not self._is_yielding and self._may_feed():
                    self._feed(self._take_unfed())
                else:
                    break
        finally:
            self._is_advancing = False
        if not self._is_over:
            self._settle()

    def _settle(self) -> None:
        """Read on, or close if nothing more can come."""
        if self._unfed or self._queue or self._writer.is_paused:
            return
        if self._is_at_eof:
            if self._call is None:
                self._close()
            elif not cast("Request", self._request).is_complete and not self._is_body_paused:
                self.abort()  # `connection_lost` tells the call
        elif self._is_broken and self._call is None:
            self._linger()
        elif not self._is_body_paused:
            self._resume_reading()

    def _begin_next(self) -> None:
        waiting = self._queue.popleft()
        if isinstance(waiting, Refused):
            self._request = waiting.request
            self._answer_refusal(waiting)
            return
        self._server_context.budget.release(_QUEUED_COST)
        self._dispatch(waiting)
        pieces, waiting.pieces = waiting.pieces, []
        for piece in pieces:
            self.on_body(waiting, piece)
        if waiting.is_complete:
            self.on_complete(waiting)

    def _dispatch(self, request: Request) -> None:
        """Begin to answer a request."""
        self._request = request
        self._has_begun = self._has_continued = self._is_body_paused = False
        self.server_state.total_requests += 1
        server_context, place = self._server_context, self._place
        if place is not None and place.is_reserved and not server_context.is_probe(request.path):
            expected = f"Connections should be at most {server_context.connections.max_connections:,}"
            detail = f"{expected}, with a few more for probes; as many are open already."
            self._answer_refusal(Refused(problems.TOO_MANY_CONNECTIONS, detail))
            return
        self._call = _NOT_BEGUN  # a call may end before `dispatch` returns it
        try:
            call = server_context.dispatch(self, request)
        except Exception:  # whatever it is: a client waits
            log.exception("unforeseen")
            self._call = None
            self._answer_refusal(Refused(problems.INTERNAL, problems.INTERNAL.title + "."))
            return
        if self._call is _NOT_BEGUN:
            self._call = call

    def _answer_refusal(self, refusal: Refused) -> None:
        """Write the response for bytes that are no request, and close."""
        self._is_broken = True
        request, problem = self._request, refusal.problem
        context = RequestContext(new_request_id())
        context.status = problem.status
        method, path, client = "-", "-", self.peer[0] if self.peer else "-"
        if request is not None:
            method, path, client = request.head.method, request.path, self.client(request)
            request.keep_alive = False
        self._server_context.request_log.begin()
        body = problems.body(problem, refusal.detail, path if request else "", context.request_id)
        lines = [f"content-type: {problems.CONTENT_TYPE}\r\ncontent-length: {len(body)}\r\n"]
        if problem.status == 503:
            lines.append(f"retry-after: {problems.retry_after_s(1)}\r\n")
        lines.append(f"x-request-id: {context.request_id}\r\n")
        self.write_response(problem.status, "".join(lines).encode(), body)
        self._server_context.request_log.end(context, method, path, client)

    # Output

    def write_response(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole response, and end it.

        Args:
            status: Of the response.
            head: Header lines, `content-length` among them, each with its line end; those that every response
                has are added.
            body: Not written where the request was HEAD.
        """
        if self._request is not None and self._request.head.method == "HEAD":
            body = b""
        self._writer.write(b"".join((*self._first_lines(status), head, b"\r\n", body)))
        self.end_response()

    def write_head(self, status: int, head: bytes) -> None:
        """Write the head of a response whose body follows with `write_body`; see `write_response`."""
        self._writer.write(b"".join((*self._first_lines(status), head, b"\r\n")))

    async def write_body(self, body: bytes) -> None:
        """Write a part of a body, as quickly as the client takes it."""
        await self._writer.write_slowly(body)

    def end_response(self) -> None:
        """End the response: the next request is answered, or the connection closes."""
        self._call = None
        self._is_body_paused = False
        self._last_active = perf_counter()
        if self._closes:
            self._linger()
            return
        if self._request is not None and self._request.is_complete:
            self._request = None
        if self._queue or self._unfed or not self._is_reading or self._is_at_eof:
            self._advance()

    def close_after_response(self) -> None:
        """Close the connection after the response that has not begun yet."""
        if self._request is not None:
            self._request.keep_alive = False

    def break_off(self) -> None:
        """Close without an end to the response: it cannot be completed."""
        self._call = None
        self.abort()

    def _first_lines(self, status: int) -> tuple[bytes, ...]:
        """Return the status line and the header lines of every response; decide what follows it."""
        self._has_begun = True
        self._closes = self._must_close()
        dates = self.server_state.default_headers  # uvicorn renews it every second
        date = b"date: %b\r\n" % dates[0][1] if dates else b""
        first = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        server_context = self._server_context
        further = b"" if server_context.headers is None else server_context.headers(self._request)
        return first, date, server_context.constant_headers, further, _CLOSE if self._closes else b""

    def _must_close(self) -> bool:
        """Return whether the connection closes after the response to the present request."""
        request = self._request
        is_stopping = self._server_context.stopping.is_set
        if request is None or not request.keep_alive:
            return True
        if self._place is not None and self._place.is_reserved:
            return True  # others probe, too
        if request.is_complete:
            return not self._queue and (self._is_broken or (is_stopping and not self._unfed))
        if is_stopping:
            return True
        if request.head.expects_continue and not self._has_continued and not request.received:
            return True  # the client may or may not send the body
        missing = request.missing
        return self._is_broken or missing is None or missing > _SKIPPED_BYTES

    # The end

    def _linger(self) -> None:
        """Close once the client has the last response."""
        if self._is_over:
            return
        request = self._request
        is_clean = not self._is_broken and not self._unfed and (request is None or request.is_complete)
        self._drop_input()
        self._is_over = True
        self._drains_until = perf_counter() + min(_LINGER_S, self._server_context.limits.header_timeout_s)
        if is_clean or self._is_at_eof or self._transport.is_closing():
            self._close()
            return
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._place is None:  # and so not in the table, whose sweep ends the others
            self.loop.call_later(_LINGER_S, self.abort)

    def _close(self) -> None:
        self._is_closed = self._is_over = True
        self._transport.close()  # once everything is written

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._is_closed = self._is_over = True
        self._transport.abort()

    def evict(self) -> None:
        """Close to make room for another connection; without a place nothing watches it any more."""
        if self._writer.is_paused or self._drains_until is not None:
            self.abort()
        else:
            self._close()

    def shutdown(self) -> None:
        """Close, once what has arrived is answered; uvicorn calls it when the server stops."""
        self.loop.call_later(_IDLE_GRACE_S, self._close_if_idle)
        self.loop.call_later(self._server_context.limits.drain_timeout_s, self._end_drain)

    def _close_if_idle(self) -> None:
        if self.is_idle():
            self._close()

    def _end_drain(self) -> None:
        if self._is_closed:
            return
        self._is_broken = True  # what waits is not answered
        self._drop_input()
        if self._call is not None:
            self._call.cancel()
        else:
            self.abort()

    def check(self, now: float) -> None:
        """Close the connection if it is overdue; `Connections` calls it every so often.

        Args:
            now: By `time.perf_counter`.
        """
        limits = self._server_context.limits
        if self._writer.is_paused:
            interval_s, rate = limits.write_timeout_s, limits.min_send_rate
            if self._is_memory_short():
                interval_s, rate = min(interval_s, _SHORT_S), rate * _SHORT_RATE
            if self._writer.is_too_slow(now, interval_s, rate):
                self.abort()
            return
        stage, inactive_s = self.stage, now - self._last_active
        if stage is Stage.IDLE:
            is_new = self._last_active == self.accepted
            if inactive_s > (limits.header_timeout_s if is_new else limits.keep_alive_s):
                self._close()
        elif stage is Stage.HEAD:
            if min(inactive_s, now - self._parser.head_began) > limits.header_timeout_s:
                self._close()
        elif stage is Stage.BODY:
            self._check_body(now, inactive_s)
        elif self._drains_until is not None and now > self._drains_until:
            self.abort()

    def _check_body(self, now: float, inactive_s: float) -> None:
        limits, request = self._server_context.limits, self._request
        timeout_s = limits.body_timeout_s
        if self._is_memory_short():
            timeout_s = min(timeout_s, _SHORT_S)
        if self._call is None:
            if inactive_s > limits.header_timeout_s:
                self._close()
        elif request is not None and min(inactive_s, now - request.started) > timeout_s:
            self._call.on_body_error(BodyTimeout(timeout_s, request.received))

    def _is_memory_short(self) -> bool:
        """Return whether so much of the budget is used that slow clients have to make room for others."""
        budget = self._server_context.budget
        return budget.used > _SHORT_SHARE * budget.max_bytes


class _NotBegun:
    """Stands for a call that has not begun."""

    def on_body(self, piece: bytes) -> None: ...

    def on_body_end(self) -> None: ...

    def on_body_error(self, error: ServiceError | Refused) -> None: ...

    def on_disconnect(self) -> None: ...

    def cancel(self) -> None: ...


_NOT_BEGUN: Call = _NotBegun()


def _address(name: object) -> tuple[str, int] | None:
    """Return host and port of a socket's name; None if it has none."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return None
