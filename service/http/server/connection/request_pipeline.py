"""HTTP/1.1 pipelining: the requests of one connection, dispatched one at a time and answered in order."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING

from service.http.messages import problems
from service.http.server.connection.input import Input
from service.http.server.connection.responses import Responses, refusal_response
from service.http.server.connection.sockets import address
from service.http.server.connection.stage import Stage
from service.http.server.request import Refused, Request
from service.inference.request_context import RequestContext, new_request_id

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from service.core.errors import ServiceError
    from service.http.server.connection.closing import Closing
    from service.http.server.connection.writer import Writer
    from service.http.server.server_context import Call, ServerContext

log = logging.getLogger(__name__)


class RequestPipeline:
    """Dispatches the requests of one connection, and is the `Responder` of their calls.

    One class, since nearly every event changes which request is answered and whether more input is parsed.

    Attributes:
        loop: The event loop.
        server_state: uvicorn's: open connections, running tasks, and the header `Date`.
        peer, local: Address and port of both ends; None if there are none.
        scheme: `http` or `https`.
        input: Received bytes and queued requests.
        request: The request being answered, or whose body is skipped after that; None between requests.
        last_active: When the last response ended, by `time.perf_counter`; before the first, `accepted`.
    """

    def __init__(
        self,
        server_context: ServerContext,
        server_state: ServerState,
        transport: asyncio.Transport,
        writer: Writer,
        closing: Closing,
        *,
        accepted: float,
        is_reserved: bool,
    ) -> None:
        """Create a pipeline without requests.

        Args:
            server_context: State that all connections share.
            server_state: See the attribute.
            transport: The transport of the connection.
            writer: Writes to it.
            closing: Closes it.
            accepted: When the connection was accepted, by `time.perf_counter`.
            is_reserved: Whether the connection may be used only for one probe.
        """
        self.loop = asyncio.get_running_loop()
        self.server_state = server_state
        self.peer = address(transport, "peername")
        self.local = address(transport, "sockname")
        self.scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        self.request: Request | None = None
        self.last_active = accepted
        self._server_context = server_context
        self._transport = transport
        self._writer = writer
        self._closing = closing
        self._is_reserved = is_reserved
        self.input = Input(self, server_context, transport, closing)
        self._responses = Responses(server_context, server_state, writer, self.input, is_reserved=is_reserved)
        self._is_advancing = False
        # Of the request that is being answered:
        self._call: Call | None = None
        self._is_body_paused = False
        self._has_ended = False  # the response

    @property
    def stage(self) -> Stage:
        """What the connection is doing; computed from its state, so it cannot contradict it."""
        if self._closing.is_closed:
            return Stage.CLOSED
        if self._closing.drains_until is not None:
            return Stage.DRAINING
        if self._call is not None or self.input.queue:
            is_receiving = self.request is not None and not self.request.is_complete
            return Stage.BODY if is_receiving and not self._responses.has_begun else Stage.ANSWERING
        if self.request is not None:  # answered before its body was complete
            return Stage.BODY
        return Stage.HEAD if self.input.parser.head_began else Stage.IDLE

    @property
    def is_answering(self) -> bool:
        """Whether a call is answering a request."""
        return self._call is not None

    # The connection's events

    def receive(self, data: bytes) -> None:
        """Parse received bytes, and answer the requests among them."""
        received = self.input
        if received.held:
            received.hold(data)
            return
        received.parse(data)
        if received.queue or received.is_at_eof or received.is_broken:
            self.advance()

    def receive_eof(self) -> None:
        """Record that the client sends nothing more; what has arrived is still answered."""
        self.input.is_at_eof = True
        self.advance()

    def resume_writing(self) -> None:
        """Continue after the client has received all output."""
        if not self._closing.is_closed:
            self.last_active = perf_counter()
            self.advance()

    def reject(self, refusal: Refused) -> None:
        """Refuse the client before it has sent a request."""
        self.input.end_with(refusal)
        self.advance()

    def time_out(self, error: ServiceError) -> None:
        """End a body that takes too long."""
        if self._call is not None:
            self._call.on_body_error(error)

    def stop(self) -> None:
        """Cancel the call, and answer no further request."""
        if self._closing.is_closed:
            return
        self.input.is_broken = True
        self.input.drop()
        if self._call is not None:
            self._call.cancel()
        else:
            self._closing.abort()

    def disconnect(self) -> None:
        """Drop all requests: the connection is closed."""
        self.input.drop()
        call, self._call = self._call, None
        if call is not None:
            call.on_disconnect()

    # The parser's events

    def on_request(self, request: Request) -> None:
        """Dispatch a request, or queue it."""
        if self._closing.is_over:  # parsed together with the last request that is answered
            return
        is_next = self.request is None and not self.input.queue and not self._writer.is_paused
        # While the server stops, the response to the last queued request closes the connection.
        if is_next and not self._server_context.stopping.is_set:
            self._dispatch(request)
        else:
            self.input.enqueue(request)

    def on_body(self, request: Request, piece: bytes) -> None:
        """Pass a piece of a body to the call, or store it with a queued request."""
        if request is not self.request:
            if not self._closing.is_over:
                request.pieces.append(piece)
        elif self._call is not None:
            self._call.on_body(piece)

    def on_complete(self, request: Request) -> None:
        """Pass the end of a body to the call."""
        if request is not self.request:
            return
        if self._call is not None:
            self._call.on_body_end()
        else:
            self.request = None  # answered before
            self.last_active = perf_counter()

    # Input

    def may_parse(self) -> bool:
        """Return whether more input may be parsed: no complete request waits for its response."""
        if self.input.is_broken or self._closing.is_over or self.input.queue or self._writer.is_paused:
            return False
        if self._call is None or self.request is None:
            return True
        return not (self._is_body_paused or self.request.is_complete)

    def refuse(self, refusal: Refused) -> None:
        """Handle invalid input: nothing more is parsed, and the refusal is answered in its turn."""
        if self._closing.is_over:
            return
        request = self.input.parser.request
        if request is None or request.is_complete:
            if request is not None and not request.keep_alive:
                self.input.is_broken = True  # bytes after a request that closes the connection are ignored
            else:
                self.input.end_with(refusal)
        elif request is not self.request:
            refusal.request = request
            self.input.end_with(refusal)
        elif self._call is not None:
            self.input.is_broken = True
            self._call.on_body_error(refusal)
        else:
            self.input.is_broken = True
            self._end_connection()

    # Dispatch

    def advance(self) -> None:
        """Dispatch queued requests, parse held bytes, and close when nothing is left."""
        if self._is_advancing or self._closing.is_over:
            return
        self._is_advancing = True
        received = self.input
        try:
            while not self._writer.is_paused and not self._closing.is_over:
                if self.request is None and received.queue:
                    self._dispatch_queued()
                elif received.held and not received.is_yielding and self.may_parse():
                    received.parse_held()
                else:
                    break
        finally:
            self._is_advancing = False
        if not self._closing.is_over:
            self._read_or_close()

    def _read_or_close(self) -> None:
        """Resume reading, or close if nothing more can arrive."""
        received = self.input
        if received.held or received.queue or self._writer.is_paused:
            return
        if received.is_at_eof:
            if self._call is None:
                self._closing.close()
            elif self.request is not None and not self.request.is_complete and not self._is_body_paused:
                self._closing.abort()  # the call is told by `disconnect`
        elif received.is_broken and self._call is None:
            self._end_connection()
        elif not self._is_body_paused:
            received.resume_reading()

    def _dispatch_queued(self) -> None:
        waiting = self.input.dequeue()
        if isinstance(waiting, Refused):
            self.request = waiting.request
            self._answer_refusal(waiting)
            return
        self._dispatch(waiting)
        pieces, waiting.pieces = waiting.pieces, []
        for piece in pieces:
            self.on_body(waiting, piece)
        if waiting.is_complete:
            self.on_complete(waiting)

    def _dispatch(self, request: Request) -> None:
        """Create the call that answers a request."""
        self.request = request
        self._has_ended = self._is_body_paused = False
        self._responses.has_begun = self._responses.has_continued = False
        self.server_state.total_requests += 1
        server_context = self._server_context
        if self._is_reserved and not server_context.is_probe(request.path):
            limit = f"Connections should be at most {server_context.connections.max_connections:,}"
            detail = f"{limit}, with a few more for probes; as many are open already."
            self._answer_refusal(Refused(problems.TOO_MANY_CONNECTIONS, detail))
            return
        try:
            call = server_context.dispatch(self, request)
        except Exception:  # any error gets a response
            log.exception("unexpected error")
            self._answer_refusal(Refused(problems.INTERNAL, problems.INTERNAL.title + "."))
            return
        if not self._has_ended:  # a call may answer while it is created
            self._call = call

    def _answer_refusal(self, refusal: Refused) -> None:
        """Write the response to invalid input, and close."""
        self.input.is_broken = True
        request, request_log = self.request, self._server_context.request_log
        context = RequestContext(new_request_id())
        context.status = refusal.problem.status
        method, path, client = "-", "-", self.peer[0] if self.peer else "-"
        if request is not None:
            method, path, client = request.head.method, request.path, self.client(request)
            request.keep_alive = False
        request_log.begin()
        head, body = refusal_response(refusal, path if request else "", context.request_id)
        self.write_response(context.status, head, body)
        request_log.end(context, method, path, client)

    # Responder

    def client(self, request: Request) -> str:
        """Return the address of the client that sent a request, or `-`."""
        if self.peer is None:
            return "-"
        find = self._server_context.client
        return self.peer[0] if find is None else find(self.peer[0], request)

    def pause_body(self) -> None:
        """Pass on no more of the body until `resume_body`."""
        self._is_body_paused = True
        self.input.pause_reading()

    def resume_body(self) -> None:
        """Pass on the rest of the body."""
        if self._is_body_paused:
            self._is_body_paused = False
            self.advance()

    def send_continue(self) -> None:
        """Send `100 Continue` once if the client waits for it before it sends the body."""
        if self.request is not None:
            self._responses.send_continue(self.request)

    def write_response(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole response, and end it.

        Args:
            status: HTTP status.
            head: Header lines with `content-length`, each with its line end. Others are added.
            body: Not written if the request method is HEAD.
        """
        if self.request is not None and self.request.head.method == "HEAD":
            body = b""
        self._responses.begin(self.request, status, head, body)
        self.end_response()

    def write_head(self, status: int, head: bytes) -> None:
        """Write the head of a response whose body follows with `write_body`; see `write_response`."""
        self._responses.begin(self.request, status, head)

    async def write_body(self, body: bytes) -> None:
        """Write a part of a body, as fast as the client receives it."""
        await self._writer.write_slowly(body)

    def end_response(self) -> None:
        """End the response: dispatch the next request, or close the connection."""
        self._call = None
        self._has_ended = True
        self._is_body_paused = False
        self.last_active = perf_counter()
        if self._responses.closes:
            self._end_connection()
            return
        if self.request is not None and self.request.is_complete:
            self.request = None
        received = self.input
        if received.queue or received.held or not received.is_reading or received.is_at_eof:
            self.advance()

    def close_after_response(self) -> None:
        """Close the connection after the response, which has not begun."""
        if self.request is not None:
            self.request.keep_alive = False

    def break_off(self) -> None:
        """Close the connection in the middle of a response that cannot be completed."""
        self._call = None
        self._has_ended = True
        self._closing.abort()

    def _end_connection(self) -> None:
        """Close once the client has the last response."""
        if self._closing.is_over:
            return
        request, received = self.request, self.input
        is_incomplete = request is not None and not request.is_complete
        has_more = received.is_broken or bool(received.held) or is_incomplete
        self.input.drop()
        self._closing.linger()
        if has_more and not received.is_at_eof and not self._transport.is_closing():
            received.resume_reading()
            self._closing.drain()
        else:
            self._closing.close()
