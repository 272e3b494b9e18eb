"""Closes connections of the gRPC server: those of a client that misbehaves, or that has too many.

gRPC has no function for it, no limit of connections per client, and no way to end a call whose client does
not read the answer. So a connection's socket is looked up among the descriptors of this process, by the
addresses of its two ends, and shut down; gRPC then sees a connection that its client has closed. On systems
that do not list a process's descriptors nothing is closed.
"""

import os
import socket
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from service.grpc.limits.clients import UNKNOWN, Client, of_address

_DESCRIPTORS = "/dev/fd"  # on Linux a link to /proc/self/fd


class Connections:
    """The open connections at a port of this process."""

    def __init__(self, port: int, most: int) -> None:
        """Look at no connection yet.

        Args:
            port: The server's port.
            most: How many connections are kept by `trim`.
        """
        self._port = port
        self._most = most
        self._seen: dict[str, int] = {}
        self._looks = 0

    def clients(self) -> list[Client]:
        """Return the client of every open connection."""
        return [client for _, client in self._open()]

    def close(self, clients: Iterable[Client]) -> int:
        """Close connections; return how many were found."""
        return self._close({client.connection for client in clients})

    def trim(self, is_busy: Callable[[Client], bool]) -> int:
        """Close connections if there are more than are kept; call it about once a second.

        Connections of the client that has most go first; of these, ones without calls, and then the oldest.

        Args:
            is_busy: Whether a connection has calls in progress.

        Returns:
            How many were closed.
        """
        with suppress(OSError):
            if len(_descriptors()) <= self._most:
                self._seen.clear()
                return 0
        clients = self.clients()
        self._looks += 1
        self._seen = {
            key: self._seen.get(key, self._looks) for key in (client.connection for client in clients)
        }
        excess = len(clients) - self._most
        if excess <= 0:
            return 0
        of_network: dict[str, list[Client]] = {}
        for client in sorted(clients, key=lambda client: (is_busy(client), self._seen[client.connection])):
            of_network.setdefault(client.network, []).append(client)
        counts = Counter({network: len(found) for network, found in of_network.items()})
        victims = set()
        for _ in range(excess):
            network = max(counts, key=counts.__getitem__)
            counts[network] -= 1
            victims.add(of_network[network].pop(0).connection)
        return self._close(victims)

    def _close(self, victims: set[str]) -> int:
        closed = 0
        for connection, client in self._open():
            if client.address != UNKNOWN and client.connection in victims:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                closed += 1
        return closed

    def _open(self) -> Iterator[tuple[socket.socket, Client]]:
        """Yield duplicates of this process's sockets that are connections at the port, and their clients."""
        try:
            names = _descriptors()
        except OSError:
            return
        for name in names:
            with suppress(OSError, ValueError), _duplicate(int(name)) as connection:
                if connection.getsockname()[1] == self._port:
                    host, port = connection.getpeername()[:2]
                    yield connection, of_address(host, port)


@contextmanager
def _duplicate(descriptor: int) -> Iterator[socket.socket]:
    """Yield a duplicate of a TCP socket, which stays what it is even if gRPC closes the original meanwhile.

    Raises:
        OSError: The descriptor is closed.
        ValueError: It is no TCP socket.
    """
    duplicate = os.dup(descriptor)
    try:
        if not stat.S_ISSOCK(os.fstat(duplicate).st_mode):
            raise ValueError("should be a socket")
        connection = socket.socket(fileno=duplicate)
    except BaseException:
        os.close(duplicate)
        raise
    with connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            raise ValueError("should be a TCP socket")
        yield connection


def _descriptors() -> list[str]:
    return os.listdir(_DESCRIPTORS)  # noqa: PTH208 - plain names, of which there are hundreds
