"""Calls in progress: limits their number, and ends calls whose client neither sends nor reads."""

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from service.core.errors import Overloaded
from service.grpc.limits.clients import Client, client_of
from service.grpc.limits.connections import Connections
from service.grpc.limits.permits import FairPermits, Permit
from service.memory.budget import Budget

log = logging.getLogger(__name__)

_CHECK_S = 1.0
"""Interval in seconds at which calls in progress are checked."""

_MIN_BYTES_PER_S = 256_000
"""Lowest rate at which a client must read a large response."""

_MAX_RESETS = 200
_RESETS_PER_S = 50
"""Limit of cancelled calls per connection: burst, and rate. Starting and cancelling calls costs the client
little and the server much: the HTTP/2 Rapid Reset attack, CVE-2023-44487."""


@dataclass(eq=False, slots=True)
class Call:
    """A call in progress.

    Attributes:
        client: The client.
        permit: Its permit; the number of permits limits the calls in progress.
        response_bytes: Size of the response, which counts in the budget until the client has read it.
        sent_at: When the response was passed to gRPC, on the event loop's clock; 0 before that.
    """

    client: Client
    permit: Permit
    response_bytes: int = 0
    sent_at: float = 0.0


class Calls:
    """The calls in progress. For use on one event loop.

    Their number is limited, with a fair share for each client: at the limit, a new call replaces a call of a
    client with more calls, if that call waits for its message or for its response to be read.
    """

    def __init__(self, max_calls: int, budget: Budget, write_timeout_s: float) -> None:
        """Start without calls.

        Args:
            max_calls: Maximum number of calls.
            budget: Memory budget, where responses count until clients have read them.
            write_timeout_s: Time in seconds within which a client must read a small response; larger
                responses have more, in proportion to their size.
        """
        self._permits = FairPermits(max_calls, grace_s=0)
        self._max_calls = max_calls
        self.budget = budget
        self._write_timeout_s = write_timeout_s
        self._sending: dict[Call, None] = {}
        self._resets: Counter[str] = Counter()
        self._connections: Connections | None = None

    @property
    def in_progress(self) -> int:
        """Number of calls in progress."""
        return self._permits.held

    def begin(self, context: grpc.aio.ServicerContext) -> Call:
        """Count a call as in progress until gRPC reports its end.

        Raises:
            Overloaded: Too many calls are in progress.
        """
        client = client_of(context.peer())
        permit = self._permits.try_acquire(client)
        if permit is None:
            raise Overloaded(self._max_calls)
        call = Call(client, permit)
        context.add_done_callback(functools.partial(self._end, call))
        return call

    @asynccontextmanager
    async def revocable(self, call: Call, limit_s: float | None) -> AsyncIterator[Callable[[], None]]:
        """Make a call's permit revocable while the context is entered, because the call waits for its client.

        Args:
            call: The call.
            limit_s: Timeout in seconds; None for none.

        Yields:
            A function that ends the context at once with TimeoutError.

        Raises:
            TimeoutError: The timeout has expired.
            Overloaded: The permit was revoked.
        """
        try:
            async with asyncio.timeout(limit_s) as timeout:

                def stop() -> None:
                    if not timeout.expired():
                        timeout.reschedule(asyncio.get_running_loop().time())

                self._permits.make_revocable(call.permit, stop)
                try:
                    yield stop
                finally:
                    self._permits.make_irrevocable(call.permit)
        except TimeoutError:
            if call.permit.is_revoked:
                raise Overloaded(self._max_calls) from None
            raise

    def start_sending(self, call: Call, size: int) -> None:
        """Count a response until the client has read it; if that takes too long, the connection is closed.

        Args:
            call: The call.
            size: Size of the response in bytes; 0 for an error.

        Raises:
            TooManyBytes: The budget has no room for it.
        """
        self.budget.acquire(size)
        call.response_bytes = size
        call.sent_at = asyncio.get_running_loop().time()
        self._sending[call] = None

    def count_cancelled(self, call: Call) -> None:
        """Count a call that was cancelled or had no message; too many close the client's connection."""
        connection = call.client.connection
        self._resets[connection] += 1
        if self._resets[connection] == _MAX_RESETS:
            self._close([call], "too many calls were cancelled")

    @asynccontextmanager
    async def watching(self, connections: Connections) -> AsyncIterator[None]:
        """Enforce the limits while the context is entered.

        Closes connections whose client does not read responses or cancels too many calls, and connections
        above the limit of their number.

        Args:
            connections: The connections of the server.
        """
        self._connections = connections
        task = asyncio.create_task(self._watch(connections))
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self, connections: Connections) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            self._check_responses(asyncio.get_running_loop().time())
            for connection in [*self._resets]:
                self._resets[connection] -= round(_RESETS_PER_S * _CHECK_S)
                if self._resets[connection] <= 0:
                    del self._resets[connection]
            connections.trim(self._is_busy)

    def _check_responses(self, now: float) -> None:
        late = []
        for call in self._sending:
            waited_s = now - call.sent_at
            if waited_s > self._write_timeout_s + call.response_bytes / _MIN_BYTES_PER_S:
                late.append(call)
            elif waited_s > _CHECK_S:
                self._permits.make_revocable(
                    call.permit, functools.partial(self._close, [call], "too many calls")
                )

        if late:
            self._close(late, "response was not read in time")

    def _is_busy(self, client: Client) -> bool:
        return self._permits.held_by(client) > 0

    def _end(self, call: Call, context: grpc.aio.ServicerContext) -> None:
        del context
        self._permits.release(call.permit)
        self._sending.pop(call, None)
        self.budget.release(call.response_bytes)

    def _close(self, calls: list[Call], reason: str) -> None:
        """Close the connections of calls."""
        clients = {call.client for call in calls}
        for call in calls:
            self._sending.pop(call, None)
        for client in clients:
            log.warning("connection closed", extra={"fields": {"client": client.address, "reason": reason}})
        if self._connections is not None:
            self._connections.close(clients)
