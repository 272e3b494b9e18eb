"""A fair semaphore: permits are shared evenly between clients, and can be revoked.

With a plain semaphore one client can hold all permits. Here a free permit goes to the waiting client that
holds the fewest; of several, to the one served least recently. If no permit is free, one is revoked from a
client that holds more than the waiting client, after a grace period. Fairness applies to networks
(`Client.network`) first, then to the connections of one network.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from service.grpc.limits.clients import Client

_REMEMBERED = 4096
"""Number of networks and connections whose last service is remembered."""


@dataclass(eq=False, slots=True)
class Permit:
    """A permit that a call holds.

    Attributes:
        client: Client of the call.
        held_since: When it was acquired, on the event loop's clock.
        is_revoked: Whether it was revoked.
    """

    client: Client
    held_since: float
    is_revoked: bool = False
    _revoke: Callable[[], None] | None = None


@dataclass(eq=False, slots=True)
class _Waiter:
    client: Client
    number: int
    granted: asyncio.Future[Permit]


@dataclass(eq=False)
class FairPermits:
    """A fixed number of permits. For use on one event loop.

    Attributes:
        size: Number of permits.
        grace_s: Time in seconds after its acquisition in which a permit is not revoked.
    """

    size: int
    grace_s: float
    _held: dict[Permit, None] = field(default_factory=dict)
    _revocable: dict[str, dict[Permit, None]] = field(default_factory=dict)
    _waiting: dict[str, dict[_Waiter, None]] = field(default_factory=dict)
    _of_network: Counter[str] = field(default_factory=Counter)
    _of_connection: Counter[str] = field(default_factory=Counter)
    _served: dict[str, int] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        """Number of permits held."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Number of calls waiting for a permit."""
        return sum(map(len, self._waiting.values()))

    def held_by(self, client: Client) -> int:
        """Return the number of permits that the calls of a connection hold."""
        return self._of_connection[client.connection]

    def try_acquire(self, client: Client) -> Permit | None:
        """Acquire a permit that is free or can be revoked now; return None if there is none."""
        if len(self._held) >= self.size and not self._revoke_for(client):
            return None
        return self._grant(client)

    async def acquire(self, client: Client) -> Permit:
        """Wait for a permit and acquire it."""
        if len(self._held) < self.size and not self._waiting:
            return self._grant(client)
        waiter = _Waiter(client, next(self._numbers), asyncio.get_running_loop().create_future())
        self._waiting.setdefault(client.connection, {})[waiter] = None
        self._dispatch()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._forget(waiter)
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(waiter.granted.result())
            raise

    def make_revocable(self, permit: Permit, revoke: Callable[[], None]) -> None:
        """Allow a permit to be revoked; no effect if it is not held.

        Args:
            permit: The permit.
            revoke: Called when it is revoked; must stop the work for which it was acquired.
        """
        if permit in self._held:
            permit._revoke = revoke
            self._revocable.setdefault(permit.client.connection, {})[permit] = None
            if self._waiting:
                self._dispatch()

    def make_irrevocable(self, permit: Permit) -> None:
        """Do not allow a permit to be revoked any longer."""
        permit._revoke = None
        of_connection = self._revocable.get(permit.client.connection)
        if of_connection is None or permit not in of_connection:
            return
        del of_connection[permit]
        if not of_connection:
            del self._revocable[permit.client.connection]

    def release(self, permit: Permit) -> None:
        """Release a permit; no effect if it was released or revoked before."""
        if permit in self._held:
            self._drop(permit)
            if self._waiting:
                self._dispatch()

    def _drop(self, permit: Permit) -> None:
        del self._held[permit]
        self.make_irrevocable(permit)
        client = permit.client
        for counter, key in ((self._of_network, client.network), (self._of_connection, client.connection)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]

    def _grant(self, client: Client) -> Permit:
        permit = Permit(client, asyncio.get_running_loop().time())
        self._held[permit] = None
        self._of_network[client.network] += 1
        self._of_connection[client.connection] += 1
        for key in (client.network, client.connection):
            self._served.pop(key, None)  # to the end: the dictionary is in order of service
            self._served[key] = next(self._numbers)
        while len(self._served) > _REMEMBERED:
            del self._served[next(iter(self._served))]
        return permit

    def _dispatch(self) -> None:
        """Grant permits to waiting calls, as long as permits are free or can be revoked."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            first = self._first()
            if len(self._held) >= self.size:
                victim = self._victim(first.client)
                if victim is None:
                    return
                wait_s = victim.held_since + self.grace_s - asyncio.get_running_loop().time()
                if wait_s > 0:
                    self._timer = asyncio.get_running_loop().call_later(wait_s, self._dispatch)
                    return
                self._revoke(victim)
            self._forget(first)
            if not first.granted.done():
                first.granted.set_result(self._grant(first.client))

    def _first(self) -> _Waiter:
        """Return the next call: of the client with the fewest permits, served least recently."""

        def turn(waiter: _Waiter) -> tuple[int, int, int, int, int]:
            network, connection = waiter.client.network, waiter.client.connection
            return (
                self._of_network[network],
                self._served.get(network, -1),
                self._of_connection[connection],
                self._served.get(connection, -1),
                waiter.number,
            )

        return min((next(iter(waiters)) for waiters in self._waiting.values()), key=turn)

    def _forget(self, waiter: _Waiter) -> None:
        of_connection = self._waiting.get(waiter.client.connection, {})
        if waiter in of_connection:
            del of_connection[waiter]
            if not of_connection:
                del self._waiting[waiter.client.connection]

    def _revoke(self, victim: Permit) -> None:
        revoke = victim._revoke
        assert revoke is not None
        self._drop(victim)
        victim.is_revoked = True
        revoke()

    def _revoke_for(self, client: Client) -> bool:
        victim = self._victim(client)
        if victim is None or victim.held_since + self.grace_s > asyncio.get_running_loop().time():
            return False
        self._revoke(victim)
        return True

    def _victim(self, client: Client) -> Permit | None:
        """Return the permit to revoke for a client: the oldest of the client that holds the most.

        Only permits of clients that hold more than this one are revoked, and its own, so that its idle calls
        do not block its others.
        """
        network, connection = self._counts(client)
        best: Permit | None = None
        best_key: tuple[int, int, float] | None = None
        for permits in self._revocable.values():
            oldest = next(iter(permits))
            other = oldest.client
            of_network, of_connection = self._counts(other)
            if other.network != client.network:
                if of_network <= network:
                    continue
            elif other.connection != client.connection and of_connection <= connection:
                continue
            key = (of_network, of_connection, -oldest.held_since)
            if best_key is None or key > best_key:
                best, best_key = oldest, key
        return best

    def _counts(self, client: Client) -> tuple[int, int]:
        return self._of_network[client.network], self._of_connection[client.connection]
