"""Closes connections of the gRPC server.

gRPC cannot close a connection, limit connections per client, or end a call whose client does not read the
response. So the connection's socket is found among the file descriptors of this process, by its two
addresses, and shut down; to gRPC the client has then disconnected. Without `/dev/fd` no connection is closed.
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

    def __init__(self, port: int, max_connections: int) -> None:
        """Create it; sockets are searched for when a method is called.

        Args:
            port: Port of the server.
            max_connections: Number of connections that `trim` keeps.
        """
        self._port = port
        self._max_connections = max_connections
        self._first_seen: dict[str, int] = {}
        self._rounds = 0

    def clients(self) -> list[Client]:
        """Return the client of every open connection."""
        return [client for _, client in self._open()]

    def close(self, clients: Iterable[Client]) -> int:
        """Close connections; return the number closed."""
        return self._close({client.connection for client in clients})

    def trim(self, is_busy: Callable[[Client], bool]) -> int:
        """Close the connections above the limit; to be called about once a second.

        Closes connections of the client that has the most; of these, connections without calls first, then
        the oldest.

        Args:
            is_busy: Returns whether a connection has calls in progress.

        Returns:
            Number of closed connections.
        """
        with suppress(OSError):
            if len(_descriptors()) <= self._max_connections:
                self._first_seen.clear()
                return 0
        clients = self.clients()
        self._rounds += 1
        self._first_seen = {
            key: self._first_seen.get(key, self._rounds) for key in (client.connection for client in clients)
        }
        excess = len(clients) - self._max_connections
        if excess <= 0:
            return 0
        of_network: dict[str, list[Client]] = {}
        for client in sorted(
            clients, key=lambda client: (is_busy(client), self._first_seen[client.connection])
        ):
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
        """Yield a duplicate of the socket of each connection at the port, and its client."""
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
    """Yield a duplicate of a TCP socket, which stays open even if gRPC closes the original meanwhile.

    Raises:
        OSError: The descriptor is closed.
        ValueError: It is not a TCP socket.
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
