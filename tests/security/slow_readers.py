"""Clients that send requests and do not read the responses."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

_RECEIVE_BUFFER = 4096
"""Bytes that the system may take for such a client; it doubles them."""


@contextmanager
def not_reading(port: int, requests: Sequence[bytes]) -> Iterator[list[socket.socket]]:
    """Open one connection per request, send the requests, and do not read the responses.

    Args:
        port: Port of the service, on 127.0.0.1.
        requests: Complete requests.
    """
    with ExitStack() as stack:
        connections = []
        for request in requests:
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            connection.connect(("127.0.0.1", port))
            connection.sendall(request)
            connections.append(connection)
        yield connections


def get(path: str, *headers: str) -> bytes:
    """Return a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def begun(connection: socket.socket, most: int = 64) -> bytes:
    """Wait for the first bytes of a response; return at most `most` of them without consuming them."""
    connection.settimeout(60)
    return connection.recv(most, socket.MSG_PEEK)
