"""The output of one connection: what the client has not taken yet is counted, and has a minimum rate."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from service.http.server.connection.sockets import unacknowledged_bytes

if TYPE_CHECKING:
    from service.memory.budget import Budget

SEND_BYTES = 65_536
"""Bytes of a response that are handed to the transport at once."""


class Writer:
    """Writes to a transport, and counts in the budget what the client has not taken.

    Attributes:
        is_paused: Whether the client has not taken everything.
    """

    def __init__(self, transport: asyncio.Transport, budget: Budget, *, is_tls: bool = False) -> None:
        self.is_paused = False
        self._transport = transport
        self._budget = budget
        self._unsent = 0  # bytes that are counted
        self._watched_at = 0.0
        self._watched = 0
        self._taken: asyncio.Future[None] | None = None
        # It pauses as soon as anything is not taken at once: where more than `high` bytes are left, but TLS
        # where not less are.
        transport.set_write_buffer_limits(high=1 if is_tls else 0, low=0)

    def write(self, data: bytes | memoryview) -> None:
        """Write; nothing where the connection has ended."""
        if not self._transport.is_closing():
            if self.is_paused:
                self._watched += len(data)  # else what is added would look like what was not taken
            self._transport.write(data)
            if self.is_paused:
                self._count(self._transport.get_write_buffer_size())

    async def write_slowly(self, data: bytes) -> None:
        """Write in parts, each once the client has taken the one before."""
        view = memoryview(data)
        for start in range(0, len(data), SEND_BYTES):
            self.write(view[start : start + SEND_BYTES])
            while self.is_paused and not self._transport.is_closing():
                self._taken = asyncio.get_running_loop().create_future()
                await self._taken

    def pause(self) -> None:
        """Note that the client has not taken everything."""
        self.is_paused = True
        self._watched_at = perf_counter()
        self._watched = self._not_taken()
        self._count(self._transport.get_write_buffer_size())

    def resume(self) -> None:
        """Note that it has, or that it has left."""
        self.is_paused = False
        self._count(0)
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)

    def is_too_slow(self, now: float, interval_s: float, min_rate: int) -> bool:
        """Return whether the client takes a response more slowly than it must.

        Args:
            now: By `time.perf_counter`.
            interval_s: Over how long the rate is measured, in seconds.
            min_rate: Bytes a second; a client that takes none is too slow in any case.
        """
        elapsed = now - self._watched_at
        if not self.is_paused or elapsed < interval_s:
            return False
        left = self._not_taken()
        if self._watched - left < max(1.0, min_rate * elapsed):
            return True
        self._watched_at, self._watched = now, left
        self._count(self._transport.get_write_buffer_size())
        return False

    def _not_taken(self) -> int:
        """Return how many bytes the client has not taken, those included that the system has for it.

        The system takes more only once a third of its buffer is free: what is left here tells nothing of the
        rate at which the client reads.
        """
        transport = self._transport
        return transport.get_write_buffer_size() + unacknowledged_bytes(transport.get_extra_info("socket"))

    def _count(self, size: int) -> None:
        self._budget.add(size - self._unsent)
        self._unsent = size
