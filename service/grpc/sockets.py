"""Ends connections of the gRPC server.

gRPC has no function for it, and no way to end a call whose client does not read the answer. So the socket is
looked up among the descriptors of this process, by the addresses of its two ends, and shut down; gRPC then
sees a connection that its client has closed.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

from service.grpc.clients import UNKNOWN, Client, of_address

_DESCRIPTORS = "/dev/fd"  # on Linux a link to /proc/self/fd


def close(client: Client, port: int) -> bool:
    """End a connection.

    Args:
        client: Its other end.
        port: Its port on this side.

    Returns:
        Whether it was found. It is not on systems that do not list a process's descriptors.
    """
    if client.address == UNKNOWN:
        return False
    for connection, other in _connections(port):
        if (other.address, other.port) == (client.address, client.port):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


def clients(port: int) -> list[Client]:
    """Return the clients of all open connections at a port."""
    return [client for _, client in _connections(port)]


def _connections(port: int) -> Iterator[tuple[socket.socket, Client]]:
    """Yield duplicates of this process's sockets that are connections at a port."""
    try:
        names = os.listdir(_DESCRIPTORS)  # noqa: PTH208 - plain names, of which there are hundreds
    except OSError:
        return
    for name in names:
        # A duplicate stays what it is, even if gRPC closes the original meanwhile.
        with suppress(OSError, ValueError), socket.socket(fileno=os.dup(int(name))) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            if connection.getsockname()[1] != port:
                continue
            host, other_port = connection.getpeername()[:2]
            yield connection, of_address(host, other_port, f"{host}:{other_port}")
