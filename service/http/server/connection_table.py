"""The open connections: how many there are, whose they are, and which of them are overdue."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

MOST_REFUSED = 64
"""Connections without a place that are told so at the same time; others are closed without a word."""

RESERVED = 16
"""Connections beyond the limit that are accepted for probes alone."""

_IDLE_S = 0.25
"""How long a connection is idle before it is closed rather than one that is still sending: the request may be
on its way."""

_PROBE_S = 1.0
"""How long a reserved place is a probe's before another may have it."""

_SWEEPS_PER_TIMEOUT = 4
_MAX_SWEEP_S = 1.0


class Open(Protocol):
    """What the table knows of a connection."""

    accepted: float
    """When it was accepted, by `time.perf_counter`."""

    def is_evictable(self) -> bool:
        """Return whether closing it loses no request that is complete or being answered."""

    def is_idle(self) -> bool:
        """Return whether no byte of a request has arrived since its last response."""

    def has_unread(self) -> bool:
        """Return whether bytes have arrived that were not read."""

    def idle_s(self, now: float) -> float:
        """Return for how many seconds it has been idle; 0 if it is not."""

    def check(self, now: float) -> None:
        """Close it if it is overdue."""

    def evict(self) -> None:
        """Close it to make room."""


@dataclass(eq=False, slots=True)
class Place:
    """One place in the table, taken when a socket is accepted.

    Attributes:
        client: Address of the peer.
        is_reserved: Whether it is one of those kept for probes.
        connection: Set once the protocol is made.
    """

    client: str
    is_reserved: bool = False
    connection: Open | None = None


class TooManyConnections(Exception):
    """There is no place for a connection; the message says which limit was reached."""


class Connections:
    """All open connections of one listener, within a limit for all and one for each client address.

    Attributes:
        refused: Connections without a place that are being told so.
    """

    def __init__(self, max_connections: int, max_per_client: int, shortest_timeout_s: float) -> None:
        """Create an empty table.

        Args:
            max_connections: Connections in all, without those reserved for probes.
            max_per_client: Connections of one client address.
            shortest_timeout_s: The shortest of the timeouts that `Open.check` applies; a quarter of it is the
                precision with which they are kept.
        """
        self.max_connections = max_connections
        self.max_per_client = max_per_client
        self._sweep_s = min(_MAX_SWEEP_S, shortest_timeout_s / _SWEEPS_PER_TIMEOUT)
        self._places: set[Place] = set()
        self._per_client: Counter[str] = Counter()
        self._reserved = 0
        self.refused = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._places)

    def take(self, client: str, is_exempt: bool = False) -> Place:
        """Take a place for a client that has connected.

        When all places are taken, the oldest idle connection of the client that has most is closed, or else
        one that is still sending a request. Failing that, a reserved place is taken.

        Args:
            client: Its address.
            is_exempt: Whether the limit for each client does not apply, as for a trusted proxy.

        Raises:
            TooManyConnections: There is no place.
        """
        place = Place(client)
        own = self._per_client[client]
        if not is_exempt and own >= self.max_per_client and not self._evict_oldest(self._settled(client)):
            expected = f"Connections of one client should be at most {self.max_per_client:,}"
            raise TooManyConnections(f"{expected}; as many are open already.")
        if len(self._places) - self._reserved >= self.max_connections and not self._make_room(client):
            if self._reserved >= RESERVED and not self._evict_oldest(self._of_probes()):
                expected = f"Connections should be at most {self.max_connections:,}"
                raise TooManyConnections(f"{expected}; as many are open already.")
            place.is_reserved = True
            self._reserved += 1
        self._places.add(place)
        self._per_client[client] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)
        return place

    def leave(self, place: Place) -> None:
        """Give a place back; nothing if it was given back before."""
        if place not in self._places:
            return
        self._places.remove(place)
        self._reserved -= place.is_reserved
        self._per_client[place.client] -= 1
        if not self._per_client[place.client]:
            del self._per_client[place.client]

    def of_clients(self) -> dict[str, int]:
        """Return how many connections each client has."""
        return dict(self._per_client)

    def all(self) -> list[Open]:
        """Return every connection whose protocol is made."""
        return [place.connection for place in self._places if place.connection is not None]

    def _make_room(self, client: str) -> bool:
        """Close a connection so that another has its place: an idle one, or one that is still sending.

        The latter goes only for the benefit of a client with fewer connections. One that has been idle for no
        time is the last to go, and never for a client with more of them: its request is on its way.
        """
        own = self._per_client[client] + 1
        if self._evict_oldest(self._settled()):
            return True
        idle = self._idle()
        greedy = [
            place
            for place in self._places
            if place.connection is not None
            and not place.is_reserved
            and self._per_client[place.client] > own
            and place.connection.is_evictable()
        ]
        fresh = [place for place in idle if self._per_client[place.client] >= own - 1]
        return self._evict_oldest(greedy) or self._evict_oldest(fresh)

    def _settled(self, client: str | None = None) -> list[Place]:
        """Return the connections that have been idle for a while, of one client or of all."""
        now = perf_counter()
        return [
            place
            for place in self._idle(client)
            if place.connection is not None and place.connection.idle_s(now) > _IDLE_S
        ]

    def _idle(self, client: str | None = None) -> list[Place]:
        """Return the idle connections without those reserved, of one client or of all."""
        return [
            place
            for place in self._places
            if place.connection is not None
            and not place.is_reserved
            and client in (None, place.client)
            and place.connection.is_idle()
        ]

    def _of_probes(self) -> list[Place]:
        """Return the reserved places that were taken a while ago: a probe takes milliseconds."""
        since = perf_counter() - _PROBE_S
        return [
            place
            for place in self._places
            if place.is_reserved and place.connection is not None and place.connection.accepted < since
        ]

    def _evict_oldest(self, places: list[Place]) -> bool:
        """Close the oldest connection of the client that has most; return False if there is none."""
        if not places:
            return False
        most = max(self._per_client[place.client] for place in places)
        candidates = [place for place in places if self._per_client[place.client] == most]
        candidates.sort(key=lambda place: place.connection.accepted if place.connection else 0.0)
        oldest = next((place for place in candidates if not _has_request(place)), None)
        if oldest is None:
            return False
        self.leave(oldest)
        if oldest.connection is not None:
            oldest.connection.evict()
        return True

    def _sweep(self) -> None:
        """Close every connection that is overdue, and come again while there are any."""
        self._timer = None
        if self._places:  # before anything can fail
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)
        now = perf_counter()
        for place in list(self._places):
            if place.connection is not None:
                place.connection.check(now)


def _has_request(place: Place) -> bool:
    """Return whether a connection is idle only because its next request has not been read yet."""
    connection = place.connection
    return connection is not None and connection.is_idle() and connection.has_unread()
