"""Reads the messages of calls, within limits of memory and time.

gRPC's core receives a message as a whole once it is asked to, and reports nothing before it is complete. So
each outstanding read may cost as much as the largest message, and their number is what bounds memory. A read
whose client sends nothing must not keep others waiting: while others wait it is ended after a grace period,
and its call with it, as a request for a message cannot be withdrawn.
"""

import grpc

from service.core.errors import BodyTimeout, PayloadTooLarge, TooManyBytes
from service.grpc.calls import Call, Calls
from service.grpc.permits import FairPermits, Permit
from service.inference.budget import Budget

SMALL_BYTES = 65_536
"""Size of a message that is no inference; such a message needs a name and a version."""

_SMALL_READS = 4
_SMALL_TIMEOUT_S = 5.0
_SMALL_GRACE_S = 0.2
"""Small messages come with the first packets of their call."""

_GRACE_S = 1.0
"""Seconds in which an inference's message must arrive while others wait."""


class MessageReader:
    """Reads messages. For use on one event loop."""

    def __init__(self, calls: Calls, budget: Budget, max_bytes: int, timeout_s: float) -> None:
        """Create a reader.

        As many messages of inferences are read at once as the budget could hold of the largest; the memory
        for that comes on top of the budget, in which a message counts from when it is complete.

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
        self._large = FairPermits(max(1, budget.max_bytes // max_bytes), _GRACE_S)
        self._small = FairPermits(_SMALL_READS, _SMALL_GRACE_S)

    @property
    def waiting(self) -> int:
        """How many calls wait until their message may be read."""
        return self._large.waiting + self._small.waiting

    async def read(self, call: Call, context: grpc.aio.ServicerContext) -> bytes:
        """Read an inference's message; it counts in the budget until `release` is called.

        Raises:
            PayloadTooLarge: There is none, or gRPC's core has refused it as too large.
            BodyTimeout: It took too long to arrive.
            TooManyBytes: The budget has no room for it; or too many others were being read; or it took longer
                than the grace period while others waited.
            Overloaded: The call's place was given to another client's.
        """
        content = await self._read(call, context, self._large, self._timeout_s)
        if content is None:
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
        self, call: Call, context: grpc.aio.ServicerContext, permits: FairPermits, limit_s: float
    ) -> bytes | None:
        permit: Permit | None = None
        try:
            async with self._calls.within(call, limit_s) as stop:
                permit = await permits.acquire(call.client)
                try:
                    permits.make_revocable(permit, stop)
                    # Not `async for`: an iterator of messages would hold the last one.
                    content = await context.read()
                finally:
                    permits.release(permit)
        except TimeoutError:
            if permit is None or permit.is_revoked:
                raise TooManyBytes(self._budget.max_bytes) from None
            raise BodyTimeout(limit_s, 0) from None
        return None if content is grpc.aio.EOF else bytes(content)
