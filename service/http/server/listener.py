"""Accepts connections: several in one turn of the event loop, each with a place in the table."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol

from service.http.server.connection_table import (
    MAX_REFUSED,
    ConnectionTable,
    Slot,
    TooManyConnections,
)

if TYPE_CHECKING:
    from service.http.server.tls import Certificates

log = logging.getLogger(__name__)

_ACCEPTS_PER_TURN = 64
"""Connections accepted before others run. The event loop's own server accepts one in a turn: a new client
waits for as many turns as others are before it in the queue, and a turn under load takes tens of
milliseconds."""

_PAUSE_S = 0.2
"""How long nothing is accepted once descriptors or memory are used up; the socket stays readable meanwhile,
and the loop would spin."""

_NOT_SENT_BYTES = 65_536
"""Bytes that the system takes of a connection's output before it can send them. It would take up to four
megabytes for each client that does not read, which count in a container's memory as the service's."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_LAST_HANDSHAKES_S = 0.5
"""How long the TLS handshakes that are under way when the listener closes may take."""

_SHUTDOWN_S = 1.0
"""How long a client may take to answer the end of TLS before its connection is closed."""

_BACKLOG = 2048
"""Connections that may wait in the kernel's queue; the limit of those accepted when the listener closes."""


CountError = Callable[[Literal["descriptors", "other"]], None]
"""Counts a connection that could not be accepted, by what was used up."""


class CreateConnection(Protocol):
    """Makes the protocol of an accepted connection."""

    def __call__(self, slot: Slot | None, refusal: str | None, /) -> asyncio.Protocol:
        """Return a protocol; `refusal` says why the client is turned away, without a place."""


class Listener:
    """Accepts connections on any number of listening sockets."""

    def __init__(
        self,
        make: CreateConnection,
        connections: ConnectionTable,
        *,
        handshake_timeout_s: float,
        certificates: Certificates | None = None,
        is_exempt: Callable[[str], bool] = lambda _: False,
        count_error: CountError = lambda _: None,
    ) -> None:
        """Create a listener without sockets; to be called in the event loop.

        Args:
            make: Makes the protocol of each connection.
            connections: Table of those that are open.
            handshake_timeout_s: Longest time of a TLS handshake, in seconds.
            certificates: For TLS; None serves plain HTTP.
            is_exempt: Whether an address is not limited in its connections, as a trusted proxy.
            count_error: Counts a connection that could not be accepted: `descriptors` or `other`.
        """
        self._make = make
        self._connections = connections
        self._handshake_timeout_s = handshake_timeout_s
        self._certificates = certificates
        self._is_exempt = is_exempt
        self._count_error = count_error
        self._loop = asyncio.get_running_loop()
        self._sockets: set[socket.socket] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def add(self, listening: socket.socket) -> None:
        """Accept connections of a listening socket, which `close` closes."""
        listening.setblocking(False)
        self._sockets.add(listening)
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def remove(self, listening: socket.socket) -> None:
        """Accept no more connections of a socket, and leave it open."""
        if listening in self._sockets:
            self._sockets.remove(listening)
            self._loop.remove_reader(listening.fileno())

    async def close(self) -> None:
        """Accept what waits already, and close the sockets."""
        for listening in list(self._sockets):
            for _ in range(_BACKLOG):
                if not self._accept_one(listening):
                    break
            self.remove(listening)
            listening.close()
        if self._opening:
            await asyncio.wait(self._opening, timeout=_LAST_HANDSHAKES_S)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            if not self._accept_one(listening):
                return

    def _accept_one(self, listening: socket.socket) -> bool:
        """Accept one connection; return whether another may be waiting."""
        try:
            accepted, address = listening.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in (errno.ECONNABORTED, errno.EPROTO):
                return True  # the client left before it was accepted
            is_exhausted = error.errno in _EXHAUSTED
            self._count_error("descriptors" if is_exhausted else "other")
            log.error("connection not accepted", extra={"fields": {"reason": error.strerror}})
            self._pause(listening)
            return False
        accepted.setblocking(False)
        client = str(address[0]) if isinstance(address, tuple) else "-"
        slot, refusal = None, None
        try:
            slot = self._connections.acquire(client, self._is_exempt(client))
        except TooManyConnections as error:
            if self._certificates is not None or self._connections.refused >= MAX_REFUSED:
                accepted.close()  # a handshake costs more than the refusal is worth
                return True
            refusal = str(error)
        if slot is not None and self._certificates is not None:
            slot.connection = _Handshake(accepted)  # until the protocol takes its place
        opening = self._open(accepted, slot, refusal)
        try:
            waiting = opening.send(None)  # at once: a task would begin in the next turn
        except StopIteration:
            return True
        task = self._loop.create_task(_resume(opening, waiting))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, accepted: socket.socket, slot: Slot | None, refusal: str | None) -> None:
        context = None if self._certificates is None else self._certificates.context()
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform == "linux":
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)
            await self._loop.connect_accepted_socket(
                lambda: self._make(slot, refusal),
                accepted,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._handshake_timeout_s,
                ssl_shutdown_timeout=None if context is None else _SHUTDOWN_S,
            )
        except BaseException as error:
            accepted.close()
            if slot is not None:
                self._connections.release(slot)
            if not isinstance(error, OSError):  # the client left, or its handshake failed
                raise

    def _pause(self, listening: socket.socket) -> None:
        self._loop.remove_reader(listening.fileno())

        def go_on() -> None:
            if listening in self._sockets:
                self._loop.add_reader(listening.fileno(), self._accept, listening)

        self._loop.call_later(_PAUSE_S, go_on)


class _Handshake:
    """A TLS handshake that is under way, as the table of connections sees it."""

    def __init__(self, accepted: socket.socket) -> None:
        self.accepted = perf_counter()
        self._socket = accepted

    def has_unread(self) -> bool:
        """Return False: TLS reads at once."""
        return False

    def is_evictable(self) -> bool:
        """Return True: no request can have been sent."""
        return True

    def is_idle(self) -> bool:
        """Return False: a client with fewer connections may have its place, others not."""
        return False

    def idle_s(self, now: float) -> float:
        """Return 0: it is not idle."""
        del now
        return 0.0

    def check(self, now: float) -> None:
        """Do nothing: the event loop ends a handshake that takes too long."""

    def evict(self) -> None:
        """End the handshake."""
        with suppress(OSError):  # the client has left
            self._socket.shutdown(socket.SHUT_RDWR)


async def _resume(coroutine: Coroutine[object, None, None], waiting: object) -> None:
    """Run the rest of a coroutine that was begun outside a task, and waits for something."""
    await _Rest(coroutine, waiting)


class _Rest:
    """The rest of a coroutine, to be awaited."""

    def __init__(self, coroutine: Coroutine[object, None, None], waiting: object) -> None:
        self._coroutine = coroutine
        self._waiting = waiting

    def __await__(self) -> Generator[object, None, None]:
        waiting = self._waiting
        try:
            while True:
                try:
                    yield waiting
                except BaseException as error:
                    waiting = self._coroutine.throw(error)
                else:
                    waiting = self._coroutine.send(None)
        except StopIteration:
            return
