"""Accepts connections: many per iteration of the event loop, each with a slot in the connection table."""

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

_ACCEPTS_PER_ITERATION = 64
"""Connections accepted before other connections run. The server of asyncio and uvloop accepts one per
iteration of the event loop, which takes tens of milliseconds under load: a new client would wait as many
iterations as there are clients before it in the queue."""

_PAUSE_S = 0.2
"""Seconds for which accepting pauses when file descriptors or memory are exhausted. The socket stays
readable, so the event loop would spin otherwise."""

_UNSENT_BYTES = 65_536
"""Unsent bytes that the kernel buffers for each connection. Without a limit it buffers up to 4 MB for each
client that does not read, which count as memory of the container."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_LAST_HANDSHAKES_S = 0.5
"""Time limit of unfinished TLS handshakes when the listener closes, in seconds."""

_SHUTDOWN_S = 1.0
"""Time limit of the TLS closure handshake, in seconds."""

_BACKLOG = 2048
"""Limit of queued connections that are accepted when the listener closes."""


CountError = Callable[[Literal["descriptors", "other"]], None]
"""Counts a connection that could not be accepted, by the cause."""


class CreateConnection(Protocol):
    """Creates the protocol of an accepted connection."""

    def __call__(self, slot: Slot | None, refusal: str | None, /) -> asyncio.Protocol:
        """Return a protocol. Without a slot, it answers 503; `refusal` is the reason."""


class Listener:
    """Accepts connections on any number of listening sockets."""

    def __init__(
        self,
        create: CreateConnection,
        connections: ConnectionTable,
        *,
        handshake_timeout_s: float,
        certificates: Certificates | None = None,
        is_exempt: Callable[[str], bool] = lambda _: False,
        count_error: CountError = lambda _: None,
    ) -> None:
        """Create a listener without sockets; to be called in the event loop.

        Args:
            create: Creates the protocol of each connection.
            connections: Table of open connections.
            handshake_timeout_s: Time limit of a TLS handshake, in seconds.
            certificates: TLS certificate; None serves plain HTTP.
            is_exempt: Whether the limit of connections does not apply to an address, as a trusted proxy.
            count_error: Counts a connection that could not be accepted.
        """
        self._create = create
        self._connections = connections
        self._handshake_timeout_s = handshake_timeout_s
        self._certificates = certificates
        self._is_exempt = is_exempt
        self._count_error = count_error
        self._loop = asyncio.get_running_loop()
        self._sockets: set[socket.socket] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def add(self, listening: socket.socket) -> None:
        """Accept the connections of a listening socket. `close` closes the socket."""
        listening.setblocking(False)
        self._sockets.add(listening)
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def remove(self, listening: socket.socket) -> None:
        """Accept no more connections of a socket, without closing it."""
        if listening in self._sockets:
            self._sockets.remove(listening)
            self._loop.remove_reader(listening.fileno())

    async def close(self) -> None:
        """Accept the queued connections, and close the sockets."""
        for listening in list(self._sockets):
            for _ in range(_BACKLOG):
                if not self._accept_one(listening):
                    break
            self.remove(listening)
            listening.close()
        if self._opening:
            await asyncio.wait(self._opening, timeout=_LAST_HANDSHAKES_S)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_ITERATION):
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
                return True  # the client disconnected before it was accepted
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
                accepted.close()  # a TLS handshake, only to refuse, costs too much
                return True
            refusal = str(error)
        if slot is not None and self._certificates is not None:
            slot.connection = _Handshake(accepted)  # until the protocol is connected
        opening = self._open(accepted, slot, refusal)
        try:
            waiting = opening.send(None)  # at once: a task would start in the next iteration
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
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
            await self._loop.connect_accepted_socket(
                lambda: self._create(slot, refusal),
                accepted,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._handshake_timeout_s,
                ssl_shutdown_timeout=None if context is None else _SHUTDOWN_S,
            )
        except BaseException as error:
            accepted.close()
            if slot is not None:
                self._connections.release(slot)
            if not isinstance(error, OSError):  # the client disconnected, or the handshake failed
                raise

    def _pause(self, listening: socket.socket) -> None:
        self._loop.remove_reader(listening.fileno())

        def resume() -> None:
            if listening in self._sockets:
                self._loop.add_reader(listening.fileno(), self._accept, listening)

        self._loop.call_later(_PAUSE_S, resume)


class _Handshake:
    """An unfinished TLS handshake in the connection table."""

    def __init__(self, accepted: socket.socket) -> None:
        self.accepted = perf_counter()
        self._socket = accepted

    def has_unread(self) -> bool:
        """Return False: TLS reads all input at once."""
        return False

    def is_evictable(self) -> bool:
        """Return True: no request has been received."""
        return True

    def is_idle(self) -> bool:
        """Return False: it is evicted as a connection that is sending a request."""
        return False

    def idle_s(self, now: float) -> float:
        """Return 0: it is not idle."""
        del now
        return 0.0

    def check(self, now: float) -> None:
        """Do nothing: the event loop limits the time of a handshake."""

    def evict(self) -> None:
        """Abort the handshake."""
        with suppress(OSError):  # the client has disconnected
            self._socket.shutdown(socket.SHUT_RDWR)


async def _resume(coroutine: Coroutine[object, None, None], waiting: object) -> None:
    """Run the rest of a coroutine that was started outside a task, and waits for a future."""
    await _Rest(coroutine, waiting)


class _Rest:
    """Awaitable for the rest of a started coroutine."""

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
