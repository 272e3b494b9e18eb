"""TCP client for raw HTTP requests."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.processes import PATIENCE_S

LIVE = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"


def connect(port: int, address: str = "127.0.0.1", *, receive_bytes: int | None = None) -> socket.socket:
    """Open a connection from one of this machine's addresses.

    Args:
        port: Port of 127.0.0.1.
        address: Address of the client.
        receive_bytes: Size of the socket's receive buffer; None for the system's default.
    """
    opened = socket.socket()
    opened.settimeout(PATIENCE_S)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    # The port is chosen on connect; otherwise each of thousands of sockets would block one for a minute.
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    opened.bind((address, 0))
    opened.connect(("127.0.0.1", port))
    return opened


def read_response(connection: socket.socket) -> tuple[int, bytes, bytes]:
    """Read one response with Content-Length; return its status, its head in lower case, and its body.

    Raises:
        ConnectionError: The connection ended before it was whole.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        received += _receive(connection, 1)
    head = received.lower()
    size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < size:
        body += _receive(connection, size - len(body))
    return int(received.split(b" ", 2)[1]), head, body


def _receive(connection: socket.socket, size: int) -> bytes:
    new = connection.recv(size)
    if not new:
        raise ConnectionResetError("the connection ended within a response")
    return new


def ask(port: int, request: bytes = LIVE, address: str = "127.0.0.1") -> tuple[int, float]:
    """Send a request over a new connection; return the status and the duration in seconds.

    Raises:
        ConnectionError: The connection ended before the response.
    """
    began = time.perf_counter()
    with connect(port, address) as connection:
        connection.sendall(request)
        status, _, _ = read_response(connection)
    return status, time.perf_counter() - began


@contextmanager
def many(
    port: int, count: int, address: str = "127.0.0.1", sent: bytes = b""
) -> Iterator[list[socket.socket]]:
    """Open many connections and send the same request over each."""
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            opened.append(connect(port, address))
            if sent:
                opened[-1].sendall(sent)
        yield opened
    finally:
        for connection in opened:
            connection.close()


@contextmanager
def repeating(works: Sequence[Callable[[], None]]) -> Iterator[list[int]]:
    """Repeat functions, each in its own thread, until the block ends; count the calls of each."""
    ended = threading.Event()
    rounds = [0] * len(works)

    def run(number: int) -> None:
        while not ended.is_set():
            works[number]()
            rounds[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    try:
        yield rounds
    finally:
        ended.set()
        for thread in threads:
            thread.join(PATIENCE_S)
