"""The short way of one connection: what arrives, what waits for its answer, and what came meanwhile."""

from __future__ import annotations  # of functions that run for every request

import asyncio
import time
from typing import Protocol

from service.http.direct import Direct, Head, Pending

_SOON_S = 1.0
"""How long a body may arrive here; a slower one goes the usual way, which has a timeout for it."""

_LARGEST = 2**20
"""Bytes of a body that is collected here; more would hold up others if it went the usual way after all."""


class Road(Protocol):
    """The connection that a lane belongs to."""

    def address(self) -> str:
        """Return the caller's, or `-`."""

    def is_at_rest(self) -> bool:
        """Tell whether every request was answered and nothing came of the next one."""

    def write(self, status: int, head: bytes, content: bytes) -> None:
        """Write an answer; the head lacks its first line and what every answer has."""

    def go_the_usual_way(self, data: bytes) -> None:
        """Take bytes, from a request's beginning, that are not for here."""

    def hold(self) -> None:
        """Read no more until it may go on."""

    def go_on(self) -> None:
        """Read on; an answer was written."""


class Lane:
    """Takes requests that `Direct` can answer, one after the other."""

    def __init__(self, direct: Direct, road: Road) -> None:
        self._direct = direct
        self._road = road
        self._head: Head | None = None  # of a request whose body is arriving
        self._pieces: list[bytes] = []
        self._arrived = 0
        self._started = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._pending: Pending | None = None
        self._held: list[bytes] = []

    def is_busy(self) -> bool:
        """Tell whether a request waits for its answer."""
        return self._pending is not None

    def is_empty(self) -> bool:
        """Tell whether no request is here, nor a part of one."""
        return self._pending is None and self._head is None

    def take(self, data: bytes) -> bool:
        """Take bytes, unless they are to go the usual way."""
        if self._pending is not None:
            self._held.append(data)
            self._road.hold()
            return True
        if self._head is not None:
            self._collect(self._head, data)
            return True
        if not self._road.is_at_rest():
            return False
        head = self._direct.read_head(data)
        if head is None:
            return False
        body = data[len(head.raw) :]
        if len(body) == head.size:
            self._pending = self._direct.begin(head, body, time.perf_counter(), self)
            return self._pending is not None
        may_collect = head.size <= _LARGEST and self._direct.answering.gate.may_hold(head.size)
        if len(body) > head.size or not may_collect:
            return False
        self._head = head
        self._started = time.perf_counter()
        self._timer = asyncio.get_running_loop().call_later(_SOON_S, self.give_up)
        self._collect(head, body)
        return True

    def _collect(self, head: Head, data: bytes) -> None:
        self._pieces.append(data)
        if not self._direct.answering.gate.admit(len(data)):
            self.give_up()
            return
        self._arrived += len(data)
        if self._arrived > head.size:
            self.give_up()  # the next request has begun; the usual way answers both, in order
        elif self._arrived == head.size:
            body = self._end()
            self._pending = self._direct.begin(head, body, self._started, self)
            if self._pending is None:
                self._road.go_the_usual_way(head.raw + body)

    def _end(self) -> bytes:
        """Return what has arrived of a body, and wait for no more of it."""
        assert self._timer is not None
        self._timer.cancel()
        self._direct.answering.gate.leave(self._arrived)
        body = b"".join(self._pieces)
        self._head, self._pieces, self._arrived = None, [], 0
        return body

    def give_up(self) -> None:
        """Let the usual way have what has arrived of a request."""
        if self._head is not None:
            self._road.go_the_usual_way(self._head.raw + self._end())

    def leave(self) -> None:
        """Note that the caller left."""
        if self._head is not None:
            self._direct.note_left(self._head, self._arrived, self._started, self)
            self._end()
        if self._pending is not None:
            self._pending.leave()
            self._pending = None

    def address(self) -> str:
        """Return the caller's address, or `-`."""
        return self._road.address()

    def answer(self, status: int, head: bytes, content: bytes) -> None:
        """Write an answer, and take what came meanwhile."""
        self._pending = None
        self._road.write(status, head, content)
        self._road.go_on()

    def go_the_usual_way(self, request: bytes) -> None:
        """Let the usual way have a request that could not be answered here after all."""
        self._pending = None
        self._road.go_the_usual_way(request)
        self._road.go_on()

    def held(self) -> bytes:
        """Return what came while a request was answered, once."""
        held, self._held = self._held, []
        return b"".join(held)
