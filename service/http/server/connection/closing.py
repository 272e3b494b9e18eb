"""Closing of one connection, so that the client still receives the last response."""

from __future__ import annotations

import asyncio
from time import perf_counter

_LINGER_S = 5.0
_LINGER_BYTES = 16 * 2**20
"""Time and bytes for which input is read and dropped after the last response. A socket that is closed with
unread input is reset, and the client could lose the response (RFC 9112, section 9.6)."""


class Closing:
    """How far the closing of one connection has come.

    Attributes:
        is_over: Whether no further request is answered: input is dropped, or the connection is closed.
        is_closed: Whether the transport is closed, or will be once all output is sent.
        drains_until: Until when input is dropped, by `time.perf_counter`; None before the last response.
    """

    def __init__(self, transport: asyncio.Transport, max_linger_s: float, *, has_timer: bool) -> None:
        """Initialize the shutdown state of a new connection.

        Args:
            transport: The transport to close.
            max_linger_s: Upper bound of the time for which input is dropped.
            has_timer: Whether a timer ends the dropping of input; else the connection table does.
        """
        self.is_over = False
        self.is_closed = False
        self.drains_until: float | None = None
        self._transport = transport
        self._linger_s = min(_LINGER_S, max_linger_s)
        self._has_timer = has_timer
        self._dropped_bytes = 0

    def linger(self) -> None:
        """Accept no further request, and begin the time for which input may be dropped."""
        self.is_over = True
        self.drains_until = perf_counter() + self._linger_s

    def drain(self) -> None:
        """Close the sending side, and drop input until the time is over."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._has_timer:
            asyncio.get_running_loop().call_later(_LINGER_S, self.abort)

    def drop(self, data: bytes) -> None:
        """Drop received bytes; close once they are too many."""
        self._dropped_bytes += len(data)
        if self._dropped_bytes > _LINGER_BYTES:
            self.abort()

    def close(self) -> None:
        """Close once all output is sent."""
        self.is_closed = self.is_over = True
        self._transport.close()

    def abort(self) -> None:
        """Close at once, discarding unsent output."""
        self.is_closed = self.is_over = True
        self._transport.abort()

    def mark_closed(self) -> None:
        """Record that the transport is closed."""
        self.is_closed = self.is_over = True
