"""Table of open connections: limits in all and for each client address, eviction, and the timeout sweep."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

MAX_REFUSED = 64
"""Connections without a slot that get a response at the same time; others are closed without one."""

RESERVED = 16
"""Connections beyond the limit that are accepted for health probes only."""

_IDLE_S = 0.25
"""Seconds after which an idle connection is evicted before one that is sending a request: before that, a
request may be on its way."""

_PROBE_S = 1.0
"""Seconds after which a reserved slot may be given to another connection."""

_SWEEPS_PER_TIMEOUT = 4
_MAX_SWEEP_S = 1.0


class TrackedConnection(Protocol):
    """A connection as the table sees it."""

    accepted: float
    """When it was accepted, by `time.perf_counter`."""

    def is_evictable(self) -> bool:
        """Return whether closing it loses no request that is complete or being answered."""

    def is_idle(self) -> bool:
        """Return whether no byte of a request has arrived since its last response."""

    def has_unread(self) -> bool:
        """Return whether received bytes were not read yet."""

    def idle_s(self, now: float) -> float:
        """Return the seconds since the connection became idle; 0 if it is not idle."""

    def check(self, now: float) -> None:
        """Close it if its time is over."""

    def evict(self) -> None:
        """Close it in favour of another connection."""


@dataclass(eq=False, slots=True)
class Slot:
    """One entry of the table, acquired when a socket is accepted.

    Attributes:
        client: Address of the peer.
        is_reserved: Whether it is reserved for health probes.
        connection: The connection, once it is connected.
    """

    client: str
    is_reserved: bool = False
    connection: TrackedConnection | None = None


class TooManyConnections(Exception):
    """No slot is free for a connection; the message names the limit that was reached."""


class ConnectionTable:
    """All open connections of one listener, with a limit in all and one for each client address.

    Attributes:
        refused: Number of connections without a slot that are being refused.
    """

    def __init__(self, max_connections: int, max_per_client: int, shortest_timeout_s: float) -> None:
        """Create an empty table.

        Args:
            max_connections: Limit of connections in all, without the reserved ones.
            max_per_client: Limit of connections of one client address.
            shortest_timeout_s: The shortest timeout that `TrackedConnection.check` applies, in seconds;
                timeouts are precise to a quarter of it.
        """
        self.max_connections = max_connections
        self.max_per_client = max_per_client
        self._sweep_s = min(_MAX_SWEEP_S, shortest_timeout_s / _SWEEPS_PER_TIMEOUT)
        self._slots: set[Slot] = set()
        self._per_client: Counter[str] = Counter()
        self._reserved = 0
        self.refused = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._slots)

    def acquire(self, client: str, is_exempt: bool = False) -> Slot:
        """Acquire a slot for a client that has connected.

        If none is free, the oldest idle connection of the client with the most connections is evicted, or
        else one that is still sending a request. If there is none, a reserved slot is acquired.

        Args:
            client: Address of the client.
            is_exempt: Whether the limit for each client does not apply, as for a trusted proxy.

        Raises:
            TooManyConnections: No slot is free.
        """
        slot = Slot(client)
        own = self._per_client[client]
        if not is_exempt and own >= self.max_per_client and not self._evict_oldest(self._settled(client)):
            expected = f"Connections of one client should be at most {self.max_per_client:,}"
            raise TooManyConnections(f"{expected}; as many are open already.")
        if len(self._slots) - self._reserved >= self.max_connections and not self._make_room(client):
            if self._reserved >= RESERVED and not self._evict_oldest(self._expired_probes()):
                expected = f"Connections should be at most {self.max_connections:,}"
                raise TooManyConnections(f"{expected}; as many are open already.")
            slot.is_reserved = True
            self._reserved += 1
        self._slots.add(slot)
        self._per_client[client] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)
        return slot

    def release(self, slot: Slot) -> None:
        """Release a slot; does nothing if it was released before."""
        if slot not in self._slots:
            return
        self._slots.remove(slot)
        self._reserved -= slot.is_reserved
        self._per_client[slot.client] -= 1
        if not self._per_client[slot.client]:
            del self._per_client[slot.client]

    def per_client(self) -> dict[str, int]:
        """Return the number of connections of each client address."""
        return dict(self._per_client)

    def all(self) -> list[TrackedConnection]:
        """Return all connections that are connected."""
        return [slot.connection for slot in self._slots if slot.connection is not None]

    def _make_room(self, client: str) -> bool:
        """Evict a connection so that another gets its slot; return False if none can be evicted.

        Candidates, in this order: connections that have been idle for a while; connections that are sending a
        request, of clients with more connections than this one; connections idle for less, unless this client
        has more connections than theirs: a request is probably on its way.
        """
        own = self._per_client[client] + 1
        if self._evict_oldest(self._settled()):
            return True
        idle = self._idle()
        sending = [
            slot
            for slot in self._slots
            if slot.connection is not None
            and not slot.is_reserved
            and self._per_client[slot.client] > own
            and slot.connection.is_evictable()
        ]
        fresh = [slot for slot in idle if self._per_client[slot.client] >= own - 1]
        return self._evict_oldest(sending) or self._evict_oldest(fresh)

    def _settled(self, client: str | None = None) -> list[Slot]:
        """Return the connections that have been idle for a while; of all clients if `client` is None."""
        now = perf_counter()
        return [
            slot
            for slot in self._idle(client)
            if slot.connection is not None and slot.connection.idle_s(now) > _IDLE_S
        ]

    def _idle(self, client: str | None = None) -> list[Slot]:
        """Return the idle connections without the reserved ones; of all clients if `client` is None."""
        return [
            slot
            for slot in self._slots
            if slot.connection is not None
            and not slot.is_reserved
            and client in (None, slot.client)
            and slot.connection.is_idle()
        ]

    def _expired_probes(self) -> list[Slot]:
        """Return the reserved slots that were acquired a while ago: a probe takes milliseconds."""
        since = perf_counter() - _PROBE_S
        return [
            slot
            for slot in self._slots
            if slot.is_reserved and slot.connection is not None and slot.connection.accepted < since
        ]

    def _evict_oldest(self, slots: list[Slot]) -> bool:
        """Evict the oldest connection of the client that has most; return False if there is none."""
        if not slots:
            return False
        most = max(self._per_client[slot.client] for slot in slots)
        candidates = [slot for slot in slots if self._per_client[slot.client] == most]
        candidates.sort(key=lambda slot: slot.connection.accepted if slot.connection else 0.0)
        oldest = next((slot for slot in candidates if not _has_request(slot)), None)
        if oldest is None:
            return False
        self.release(oldest)
        if oldest.connection is not None:
            oldest.connection.evict()
        return True

    def _sweep(self) -> None:
        """Check the timeouts of all connections, and schedule the next sweep while there are any."""
        self._timer = None
        if self._slots:  # before anything can fail
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)
        now = perf_counter()
        for slot in list(self._slots):
            if slot.connection is not None:
                slot.connection.check(now)


def _has_request(slot: Slot) -> bool:
    """Return whether a connection is idle only because its next request was not read yet."""
    connection = slot.connection
    return connection is not None and connection.is_idle() and connection.has_unread()
