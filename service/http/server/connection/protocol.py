"""asyncio protocol of one HTTP/1.1 connection: connects the parts of the connection with its transport."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, cast

from service.http.messages import problems
from service.http.server.connection.closing import Closing
from service.http.server.connection.request_pipeline import RequestPipeline
from service.http.server.connection.sockets import address, unread_bytes
from service.http.server.connection.stage import Stage
from service.http.server.connection.timeouts import Timeouts
from service.http.server.connection.writer import Writer
from service.http.server.connection_table import TooManyConnections
from service.http.server.request import Refused

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from service.http.server.connection_table import Slot
    from service.http.server.server_context import ServerContext

_IDLE_GRACE_S = 0.1
"""Time for which an idle connection stays open when the server stops: a request may be on its way."""


class Connection(asyncio.Protocol):
    """The connection of one client.

    Attributes:
        server_state: uvicorn's: open connections, running tasks, and the header `Date`.
        accepted: When it was accepted, by `time.perf_counter`.
        pipeline: Its requests; set when it is connected.
    """

    pipeline: RequestPipeline
    _transport: asyncio.Transport
    _writer: Writer
    _closing: Closing
    _timeouts: Timeouts

    def __init__(
        self,
        server_context: ServerContext,
        server_state: ServerState,
        slot: Slot | None = None,
        refusal: str | None = None,
    ) -> None:
        """Create a connection that is not connected yet.

        Args:
            server_context: State that all connections share.
            server_state: See the attribute.
            slot: Its place in the connection table; None acquires one when it is connected.
            refusal: Why the client is refused as soon as it is connected; None accepts it.
        """
        self.server_state = server_state
        self.accepted = perf_counter()
        self._server_context = server_context
        self._slot = slot
        self._refusal = refusal
        self._is_connected = False

    @property
    def stage(self) -> Stage:
        """What the connection is doing."""
        return self.pipeline.stage

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Create the parts of the connection, or refuse the client."""
        server_context, table = self._server_context, self._server_context.connections
        transport = self._transport = cast("asyncio.Transport", transport)
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own classes
        if self._slot is None and self._refusal is None:
            peer = address(transport, "peername")
            try:
                self._slot = table.acquire(peer[0] if peer else "-")
            except TooManyConnections as error:
                self._refusal = str(error)
        slot, limits, budget = self._slot, server_context.limits, server_context.budget
        is_tls = transport.get_extra_info("sslcontext") is not None
        writer = self._writer = Writer(transport, budget, is_tls=is_tls)
        closing = self._closing = Closing(transport, limits.header_timeout_s, has_timer=slot is None)
        self.pipeline = RequestPipeline(
            server_context,
            self.server_state,
            transport,
            writer,
            closing,
            accepted=self.accepted,
            is_reserved=slot is not None and slot.is_reserved,
        )
        self._timeouts = Timeouts(self.pipeline, writer, closing, limits, budget, self.accepted)
        self._is_connected = True
        if slot is None:
            table.refused += 1
        else:
            slot.connection = self
        if self._refusal is not None:
            self.pipeline.reject(Refused(problems.TOO_MANY_CONNECTIONS, self._refusal))

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place, and end the request that is being answered."""
        del exc
        self.server_state.connections.discard(self)
        if self._slot is not None:
            self._server_context.connections.release(self._slot)
        elif self._refusal is not None:
            self._server_context.connections.refused -= 1
        if self._is_connected:
            self._closing.mark_closed()
            self._writer.resume()
            self.pipeline.disconnect()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, or drop them after the last response."""
        if self._closing.is_over:
            self._closing.drop(data)
        else:
            self.pipeline.receive(data)

    def eof_received(self) -> bool:
        """Keep the connection open until everything received is answered."""
        self.pipeline.receive_eof()
        if self._closing.drains_until is not None or self._closing.is_closed:
            return False
        return self.pipeline.scheme == "http"  # TLS ends in both directions at once

    def pause_writing(self) -> None:
        """Answer nothing more until the client has received all output."""
        if self._is_connected:  # TLS may pause before, in a handshake that fails
            self._writer.pause()

    def resume_writing(self) -> None:
        """Continue: the client has received all output."""
        if self._is_connected:
            self._writer.resume()
            self.pipeline.resume_writing()

    # The connection table

    def is_idle(self) -> bool:
        """Return whether it waits for the first byte of a request, or for the client to disconnect."""
        return self.stage in (Stage.IDLE, Stage.DRAINING) and not self._writer.is_paused

    def idle_s(self, now: float) -> float:
        """Return the seconds since the connection became idle; 0 if it is not idle."""
        return now - self.pipeline.last_active if self.is_idle() else 0.0

    def has_unread(self) -> bool:
        """Return whether the kernel holds received bytes that were not read."""
        return self.pipeline.input.is_reading and unread_bytes(self._transport.get_extra_info("socket")) > 0

    def is_evictable(self) -> bool:
        """Return whether closing it loses no request that is complete or being answered."""
        return self.stage is not Stage.ANSWERING and not self._writer.is_paused

    def check(self, now: float) -> None:
        """Close the connection if its time is over.

        Args:
            now: By `time.perf_counter`.
        """
        self._timeouts.check(now)

    def evict(self) -> None:
        """Close in favour of another connection."""
        if self._writer.is_paused or self._closing.drains_until is not None:
            self._closing.abort()  # without a place, no sweep would end it
        else:
            self._closing.close()

    # The server

    def abort(self) -> None:
        """Close at once, whatever is in progress."""
        self._closing.abort()

    def shutdown(self) -> None:
        """Close once everything received is answered; called by uvicorn when the server stops."""
        loop = asyncio.get_running_loop()
        loop.call_later(_IDLE_GRACE_S, self._close_if_idle)
        loop.call_later(self._server_context.limits.drain_timeout_s, self.pipeline.stop)

    def _close_if_idle(self) -> None:
        if self.is_idle():
            self._closing.close()
