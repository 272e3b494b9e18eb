"""The calls in progress: how many there are, and what ends those whose client stands still."""

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
"""Seconds between two looks at the calls in progress."""

_MIN_BYTES_PER_S = 256_000
"""Rate at which a client must take a large answer."""

_MAX_RESETS = 200
_RESETS_PER_S = 50
"""How many calls a connection may cancel at once, and then per second: cancelling is cheap for the client and
dear for the server, which is the HTTP/2 Rapid Reset attack, CVE-2023-44487."""


@dataclass(eq=False, slots=True)
class Call:
    """A call in progress.

    Attributes:
        client: Its client.
        permit: Its place among all calls.
        answer_bytes: Size of its answer, which counts in the budget until the client has taken it.
        answered: When the answer was handed to gRPC, on the event loop's clock; 0 before that.
    """

    client: Client
    permit: Permit
    answer_bytes: int = 0
    answered: float = 0.0


class Calls:
    """The calls in progress. For use on one event loop.

    There is a maximum, of which each client has a fair share: when all places are taken, a new call gets the
    place of one that has not sent its message, or not taken its answer, of a client that has more calls.
    """

    def __init__(self, max_calls: int, budget: Budget, write_timeout_s: float) -> None:
        """Start without calls.

        Args:
            max_calls: How many there may be.
            budget: Where answers count until they are taken.
            write_timeout_s: Longest time in which a client must take a small answer, in seconds; a large one
                may take longer, by its size.
        """
        self._permits = FairPermits(max_calls, grace_s=0)
        self._max_calls = max_calls
        self.budget = budget
        self._write_timeout_s = write_timeout_s
        self._answered: dict[Call, None] = {}
        self._resets: Counter[str] = Counter()
        self._connections: Connections | None = None

    @property
    def in_progress(self) -> int:
        """How many calls are in progress."""
        return self._permits.held

    def begin(self, context: grpc.aio.ServicerContext) -> Call:
        """Count a call until it is done.

        Raises:
            Overloaded: There are too many.
        """
        client = client_of(context.peer())
        permit = self._permits.try_acquire(client)
        if permit is None:
            raise Overloaded(self._max_calls)
        call = Call(client, permit)
        context.add_done_callback(functools.partial(self._end, call))
        return call

    @asynccontextmanager
    async def within(self, call: Call, limit_s: float | None) -> AsyncIterator[Callable[[], None]]:
        """Let a call wait for its client, for a limited time and as long as no other needs its place.

        Args:
            call: The call.
            limit_s: Longest time in seconds; None is no limit.

        Yields:
            A function that ends the context at once, as if the time was over.

        Raises:
            TimeoutError: The time is over.
            Overloaded: Its place was given to a call of another client.
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

    def answer(self, call: Call, size: int) -> None:
        """Count an answer until the client has taken it; if that takes too long, its connection is closed.

        Args:
            call: The call.
            size: Of the answer, in bytes.

        Raises:
            TooManyBytes: The budget has no room for it.
        """
        self.budget.acquire(size)
        call.answer_bytes = size
        call.answered = asyncio.get_running_loop().time()
        self._answered[call] = None

    def finish(self, call: Call) -> None:
        """Note that a call was answered, with an error or with something small."""
        self.answer(call, 0)

    def cancelled(self, call: Call) -> None:
        """Note that a call was cancelled, or had no message; who does that too often is disconnected."""
        connection = call.client.connection
        self._resets[connection] += 1
        if self._resets[connection] == _MAX_RESETS:
            self._drop([call], "too many calls were cancelled")

    @asynccontextmanager
    async def watching(self, connections: Connections) -> AsyncIterator[None]:
        """Close connections of clients that misbehave, while the context is entered.

        They do not take their answers, cancel too many calls, or have too many connections.

        Args:
            connections: The server's.
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
            self._check_answers(asyncio.get_running_loop().time())
            for connection in [*self._resets]:
                self._resets[connection] -= round(_RESETS_PER_S * _CHECK_S)
                if self._resets[connection] <= 0:
                    del self._resets[connection]
            connections.trim(self._is_busy)

    def _check_answers(self, now: float) -> None:
        late = []
        for call in self._answered:
            waited_s = now - call.answered
            if waited_s > self._write_timeout_s + call.answer_bytes / _MIN_BYTES_PER_S:
                late.append(call)
            elif waited_s > _CHECK_S:
                self._permits.make_revocable(
                    call.permit, functools.partial(self._drop, [call], "too many calls")
                )

        if late:
            self._drop(late, "answer was not taken in time")

    def _is_busy(self, client: Client) -> bool:
        return self._permits.held_by(client) > 0

    def _end(self, call: Call, context: grpc.aio.ServicerContext) -> None:
        del context
        self._permits.release(call.permit)
        self._answered.pop(call, None)
        self.budget.release(call.answer_bytes)

    def _drop(self, calls: list[Call], reason: str) -> None:
        """Close the connections of calls."""
        clients = {call.client for call in calls}
        for call in calls:
            self._answered.pop(call, None)
        for client in clients:
            log.warning("connection closed", extra={"fields": {"client": client.address, "reason": reason}})
        if self._connections is not None:
            self._connections.close(clients)
