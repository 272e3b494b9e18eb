"""Reads the messages of calls, within limits of memory and time.

gRPC's core receives a message as a whole once it is asked to, and reports nothing before it is complete. So
each outstanding read may cost as much as the largest message, and their number is what bounds memory. Nor can
a read be withdrawn: only the end of its call ends it.

A message of up to 64 KB is complete as soon as it is asked for, as gRPC receives that much unasked. So reads
start in a pool in which they are expected to end at once. Those that do not, because their message is large
or because their client sends nothing, move to a second pool, where nobody else has to wait for them. While
others wait for a place in a pool, the reads that have been there longest are ended, those of the client that
has most of them first.
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
"""Size of a message that is no inference; such a message needs a name and a version."""

_SMALL_READS = 4
"""Reads of small messages at once, in each of their two pools."""

_SMALL_TIMEOUT_S = 5.0

_QUICK_S = 0.2
"""Seconds after which a read is slow."""

_SLOW_GRACE_S = 2.0
"""Seconds for which a slow read may continue while others wait for its place."""


@dataclass(frozen=True)
class _Reads:
    """Two pools of outstanding reads.

    Attributes:
        quick: Of reads that have just begun.
        slow: Of reads that have not ended at once.
    """

    quick: FairPermits
    slow: FairPermits

    @classmethod
    def of(cls, quick: int, slow: int) -> "_Reads":
        return cls(FairPermits(quick, _QUICK_S), FairPermits(slow, _SLOW_GRACE_S))


class _Place:
    """A read's place in one of two pools. It moves to the second when it turns out not to be quick."""

    def __init__(self, reads: _Reads, permit: Permit, stop: Callable[[], None]) -> None:
        self._reads = reads
        self._pool = reads.quick
        self._permit = permit
        self._stop = stop
        self._timer = asyncio.get_running_loop().call_later(_QUICK_S, self._move)
        reads.quick.make_revocable(permit, stop)

    @property
    def is_revoked(self) -> bool:
        return self._permit.is_revoked

    def leave(self) -> None:
        """Give the place up."""
        self._timer.cancel()
        self._pool.release(self._permit)

    def _move(self) -> None:
        if self.is_revoked:
            return
        permit = self._reads.slow.try_acquire(self._permit.client)
        if permit is None:
            self._timer = asyncio.get_running_loop().call_later(_QUICK_S, self._move)
            return
        quick, self._permit, self._pool = self._permit, permit, self._reads.slow
        self._pool.make_revocable(permit, self._stop)
        self._reads.quick.release(quick)


class MessageReader:
    """Reads messages. For use on one event loop."""

    def __init__(self, calls: Calls, budget: Budget, max_bytes: int, timeout_s: float) -> None:
        """Create a reader.

        As many messages of inferences are read at once as the budget could hold of the largest, and at least
        two; the memory for that comes on top of the budget, where a message counts once it is complete.

        Args:
            calls: The calls in progress.
            budget: Where messages count.
            max_bytes: Size of the largest message, which gRPC's core checks.
            timeout_s: Longest time for a message to arrive, in seconds.
        """
        self._calls = calls
        self._budget = budget
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        most = max(2, budget.max_bytes // max_bytes)
        self._large = _Reads.of(most - most // 2, most // 2)
        self._small = _Reads.of(_SMALL_READS, _SMALL_READS)

    @property
    def waiting(self) -> int:
        """How many calls wait until their message may be read."""
        return self._large.quick.waiting + self._small.quick.waiting

    async def read(self, call: Call, context: grpc.aio.ServicerContext) -> bytes:
        """Read an inference's message; it counts in the budget until `release` is called.

        Raises:
            PayloadTooLarge: There is none, or gRPC's core has refused it as too large.
            BodyTimeout: It took too long to arrive.
            TooManyBytes: The budget has no room for it; or too many others were being read; or it took long
                while others waited.
            Overloaded: The call's place was given to another client's.
        """
        content = await self._read(call, context, self._large, self._timeout_s)
        if content is None:
            self._calls.cancelled(call)  # so it looks if the client has cancelled it
            raise PayloadTooLarge("Message", self._max_bytes, "bytes", "more, or none at all")
        self._budget.acquire(len(content))
        return content

    def release(self, content: bytes) -> None:
        """Count a message no longer."""
        self._budget.release(len(content))

    async def read_small(self, call: Call, context: grpc.aio.ServicerContext) -> bytes:
        """Read a message of at most `SMALL_BYTES`; these never wait for those of inferences.

        Raises:
            PayloadTooLarge: It is larger, or there is none.
            BodyTimeout, TooManyBytes, Overloaded: As `read`.
        """
        content = await self.next_small(call, context)
        if content is None:
            self._calls.cancelled(call)  # as above
            raise PayloadTooLarge("Message", SMALL_BYTES, "bytes", "more, or none at all")
        return content

    async def next_small(self, call: Call, context: grpc.aio.ServicerContext) -> bytes | None:
        """Read the next small message of a call that may have several; return None if there is none.

        Raises:
            PayloadTooLarge: It is larger.
            BodyTimeout, TooManyBytes, Overloaded: As `read`.
        """
        content = await self._read(call, context, self._small, min(_SMALL_TIMEOUT_S, self._timeout_s))
        if content is not None and len(content) > SMALL_BYTES:
            raise PayloadTooLarge("Message", SMALL_BYTES, "bytes", f"{len(content):,}")
        return content

    async def _read(
        self, call: Call, context: grpc.aio.ServicerContext, reads: _Reads, limit_s: float
    ) -> bytes | None:
        place: _Place | None = None
        try:
            async with self._calls.within(call, limit_s) as stop:
                place = _Place(reads, await reads.quick.acquire(call.client), stop)
                try:
                    # Not `async for`: an iterator of messages would hold the last one.
                    content = await context.read()
                finally:
                    place.leave()
        except TimeoutError:
            if place is None or place.is_revoked:
                raise TooManyBytes(self._budget.max_bytes) from None
            raise BodyTimeout(limit_s, 0) from None
        return None if content is grpc.aio.EOF else bytes(content)
