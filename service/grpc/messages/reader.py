"""Reads the messages of calls, within limits of memory and time.

gRPC returns a message only when it is complete, so each outstanding read may hold as much memory as the
largest message, and limiting memory means limiting the number of reads. A read cannot be cancelled; it ends
with its call.

gRPC receives up to 64 KB of a message before it is read, so a small message can be read at once. Reads start
in a quick pool. A read that takes longer, because its message is large or its client sends nothing, moves to
a slow pool, where it does not delay quick ones. While reads wait for a permit of a pool, the longest reads in
it are ended, first those of the client with the most.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from service.core.errors import BodyTimeout, PayloadTooLarge, TooManyBytes
from service.grpc.limits.calls import Call, Calls
from service.grpc.limits.permits import FairPermits, Permit
from service.memory.budget import Budget

SMALL_BYTES = 65_536
"""Maximum size of a message other than an inference; such a message holds a name and a version."""

_SMALL_READS = 4
"""Permits of each of the two pools for small messages."""

_SMALL_TIMEOUT_S = 5.0

_QUICK_S = 0.2
"""Time in seconds after which a read is moved to the slow pool."""

_SLOW_GRACE_S = 2.0
"""Time in seconds for which a slow read may continue while other reads wait for a permit."""


@dataclass(frozen=True)
class _Pools:
    """Permits for outstanding reads.

    Attributes:
        quick: Permits of reads that have just begun.
        slow: Permits of reads that took longer than `_QUICK_S`.
    """

    quick: FairPermits
    slow: FairPermits

    @classmethod
    def of(cls, quick: int, slow: int) -> "_Pools":
        return cls(FairPermits(quick, _QUICK_S), FairPermits(slow, _SLOW_GRACE_S))


class _ReadPermit:
    """Permit of one read; moves from the quick to the slow pool by itself."""

    def __init__(self, pools: _Pools, permit: Permit, stop: Callable[[], None]) -> None:
        self._pools = pools
        self._pool = pools.quick
        self._permit = permit
        self._stop = stop
        self._timer = asyncio.get_running_loop().call_later(_QUICK_S, self._move)
        pools.quick.make_revocable(permit, stop)

    @property
    def is_revoked(self) -> bool:
        return self._permit.is_revoked

    def release(self) -> None:
        self._timer.cancel()
        self._pool.release(self._permit)

    def _move(self) -> None:
        if self.is_revoked:
            return
        permit = self._pools.slow.try_acquire(self._permit.client)
        if permit is None:
            self._timer = asyncio.get_running_loop().call_later(_QUICK_S, self._move)
            return
        quick, self._permit, self._pool = self._permit, permit, self._pools.slow
        self._pool.make_revocable(permit, self._stop)
        self._pools.quick.release(quick)


class MessageReader:
    """Reads messages. For use on one event loop."""

    def __init__(self, calls: Calls, budget: Budget, max_bytes: int, timeout_s: float) -> None:
        """Create a reader.

        The number of inference messages read at the same time is the budget divided by `max_bytes`, at least
        2. Their memory is not in the budget: a message counts there once it is complete.

        Args:
            calls: The calls in progress.
            budget: Memory budget, where messages count.
            max_bytes: Maximum size of a message; gRPC enforces it.
            timeout_s: Time in seconds within which a message must arrive.
        """
        self._calls = calls
        self._budget = budget
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        reads = max(2, budget.max_bytes // max_bytes)
        self._large = _Pools.of(reads - reads // 2, reads // 2)
        self._small = _Pools.of(_SMALL_READS, _SMALL_READS)

    @property
    def waiting(self) -> int:
        """Number of calls whose read waits for a permit."""
        return self._large.quick.waiting + self._small.quick.waiting

    async def read(self, call: Call, context: grpc.aio.ServicerContext) -> bytes:
        """Read an inference message; it counts in the budget until `release` is called.

        Raises:
            PayloadTooLarge: There is no message, or gRPC refused it as too large.
            BodyTimeout: It did not arrive in time.
            TooManyBytes: The budget has no room for it; or the read got no permit in time, or its permit was
                revoked for another read.
            Overloaded: The call's permit was revoked for another call.
        """
        content = await self._read(call, context, self._large, self._timeout_s)
        if content is None:
            self._calls.count_cancelled(call)  # a cancelled call looks the same
            raise PayloadTooLarge("Message", self._max_bytes, "bytes", "more, or none at all")
        self._budget.acquire(len(content))
        return content

    def release(self, content: bytes) -> None:
        """Release the memory of a message from the budget."""
        self._budget.release(len(content))

    async def read_small(self, call: Call, context: grpc.aio.ServicerContext) -> bytes:
        """Read a message of at most `SMALL_BYTES`; never waits for inference messages.

        Raises:
            PayloadTooLarge: It is larger, or there is no message.
            BodyTimeout, TooManyBytes, Overloaded: As `read`.
        """
        content = await self.next_small(call, context)
        if content is None:
            self._calls.count_cancelled(call)  # as above
            raise PayloadTooLarge("Message", SMALL_BYTES, "bytes", "more, or none at all")
        return content

    async def next_small(self, call: Call, context: grpc.aio.ServicerContext) -> bytes | None:
        """Read the next small message of a stream; return None at its end.

        Raises:
            PayloadTooLarge: It is larger.
            BodyTimeout, TooManyBytes, Overloaded: As `read`.
        """
        content = await self._read(call, context, self._small, min(_SMALL_TIMEOUT_S, self._timeout_s))
        if content is not None and len(content) > SMALL_BYTES:
            raise PayloadTooLarge("Message", SMALL_BYTES, "bytes", f"{len(content):,}")
        return content

    async def _read(
        self, call: Call, context: grpc.aio.ServicerContext, pools: _Pools, limit_s: float
    ) -> bytes | None:
        permit: _ReadPermit | None = None
        try:
            async with self._calls.revocable(call, limit_s) as stop:
                permit = _ReadPermit(pools, await pools.quick.acquire(call.client), stop)
                try:
                    # Not `async for`: the iterator would hold a reference to the message.
                    content = await context.read()
                finally:
                    permit.release()
        except TimeoutError:
            if permit is None or permit.is_revoked:
                raise TooManyBytes(self._budget.max_bytes) from None
            raise BodyTimeout(limit_s, 0) from None
        return None if content is grpc.aio.EOF else bytes(content)
