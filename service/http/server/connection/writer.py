"""Output of one connection: unsent bytes count in the memory budget, and are sent at a minimum rate."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from service.http.server.connection.sockets import unacknowledged_bytes

if TYPE_CHECKING:
    from service.memory.budget import Budget

SEND_BYTES = 65_536
"""Bytes of a response that are passed to the transport at once."""


class Writer:
    """Writes to a transport, and counts its unsent bytes in the memory budget.

    Attributes:
        is_paused: Whether there are unsent bytes.
    """

    def __init__(self, transport: asyncio.Transport, budget: Budget, *, is_tls: bool = False) -> None:
        self.is_paused = False
        self._transport = transport
        self._budget = budget
        self._unsent = 0  # bytes that are counted
        self._measured_at = 0.0
        self._measured = 0  # unacknowledged bytes then
        self._all_sent: asyncio.Future[None] | None = None
        # Pause as soon as a byte is left unsent: TCP transports pause above `high` bytes, TLS at `high`.
        transport.set_write_buffer_limits(high=1 if is_tls else 0, low=0)

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes; does nothing if the connection is closed."""
        if not self._transport.is_closing():
            if self.is_paused:
                self._measured += len(data)  # else they would lower the measured rate
            self._transport.write(data)
            if self.is_paused:
                self._count(self._transport.get_write_buffer_size())

    async def write_slowly(self, data: bytes) -> None:
        """Write in parts, each once the previous one is sent."""
        view = memoryview(data)
        for start in range(0, len(data), SEND_BYTES):
            self.write(view[start : start + SEND_BYTES])
            while self.is_paused and not self._transport.is_closing():
                self._all_sent = asyncio.get_running_loop().create_future()
                await self._all_sent

    def pause(self) -> None:
        """Record that there are unsent bytes."""
        self.is_paused = True
        self._measured_at = perf_counter()
        self._measured = self._unacknowledged()
        self._count(self._transport.get_write_buffer_size())

    def resume(self) -> None:
        """Record that everything is sent, or that the client has disconnected."""
        self.is_paused = False
        self._count(0)
        if self._all_sent is not None and not self._all_sent.done():
            self._all_sent.set_result(None)

    def is_too_slow(self, now: float, interval_s: float, min_rate: int) -> bool:
        """Return whether the client receives a response below the minimum rate.

        Args:
            now: By `time.perf_counter`.
            interval_s: Shortest time over which the rate is measured, in seconds.
            min_rate: Minimum rate in bytes per second; a client that receives nothing is always too slow.
        """
        elapsed = now - self._measured_at
        if not self.is_paused or elapsed < interval_s:
            return False
        left = self._unacknowledged()
        if self._measured - left < max(1.0, min_rate * elapsed):
            return True
        self._measured_at, self._measured = now, left
        self._count(self._transport.get_write_buffer_size())
        return False

    def _unacknowledged(self) -> int:
        """Return how many written bytes the client has not acknowledged, in the transport and in the kernel.

        The transport alone does not show the client's rate: the kernel accepts more bytes only once a third
        of its buffer is free.
        """
        transport = self._transport
        return transport.get_write_buffer_size() + unacknowledged_bytes(transport.get_extra_info("socket"))

    def _count(self, size: int) -> None:
        self._budget.add(size - self._unsent)
        self._unsent = size
