"""Server with short timeouts on a real socket, and a client that sends any bytes."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client.parser import text_string_to_metric_families
from starlette.datastructures import Headers

from service.app import create_app
from service.server.http_server import Server
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT
from tests.service.http.running import PATIENCE_S

MAX_HEAD_BYTES = 4096
MAX_CONNECTIONS = 8
TIMEOUT_S = 0.5
KEEP_ALIVE_S = 1
HOST = b"Host: test\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
DOT = toys.dot(2).tobytes()


@dataclass
class RawResponse:
    """One response as received."""

    status_code: int
    headers: Headers
    content: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        return json.loads(self.content)


class RawClient:
    """Client that may violate HTTP."""

    def __init__(self, port: int, *, is_narrow: bool = False) -> None:
        """Connect; `is_narrow` sets the smallest receive buffer of the kernel."""
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_S)
        if is_narrow:  # before it connects: else what is on its way is lost again and again
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._socket.sendall(part)

    def send_slowly(self, part: bytes, times: int) -> int:
        """Send a part repeatedly with pauses, until the connection is closed; return how often."""
        for sent in range(times):
            try:
                self._socket.sendall(part)
            except OSError:
                return sent
            time.sleep(TIMEOUT_S / 10)
        return times

    def send_until_closed(self, part: bytes, size: int) -> int:
        """Send a part repeatedly without pauses, until the connection is closed; return the bytes."""
        for sent in range(0, size, len(part)):
            try:
                self._socket.sendall(part)
            except OSError:
                return sent
        return size

    def half_close(self) -> None:
        """Close the sending side."""
        self._socket.shutdown(socket.SHUT_WR)

    def read_response(self, is_head: bool = False) -> RawResponse:
        """Read one response."""
        version, status, _ = self._file.readline().split(b" ", 2)
        assert version == b"HTTP/1.1"
        lines = iter(self._file.readline, b"\r\n")
        pairs = [line.strip().split(b": ", 1) for line in lines]
        headers = Headers(raw=[(name.lower(), value) for name, value in pairs])
        size = 0 if is_head or int(status) < 200 else int(headers["content-length"])
        return RawResponse(int(status), headers, self._file.read(size))

    def wait_closed(self) -> bool:
        """Return whether the connection is closed next, rather than a byte received."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def read_to_end(self) -> bytes:
        """Read until the connection is closed."""
        try:
            return self._file.read()
        except ConnectionResetError:
            return b""


class Connect(Protocol):
    """Opens a connection, with the arguments of `RawClient`."""

    def __call__(self, *, is_narrow: bool = False) -> RawClient: ...


@contextmanager
def serving(
    settings: Settings, drain_s: float = PATIENCE_S, body_timeout_s: float = TIMEOUT_S, **changed: object
) -> Iterator[tuple[int, Server]]:
    """Run a server with short timeouts; yield its port and the server."""
    settings = settings.model_copy(
        update={
            "max_connections": MAX_CONNECTIONS,
            "max_connections_per_client": MAX_CONNECTIONS,
            "max_head_bytes": MAX_HEAD_BYTES,
            "header_timeout_s": TIMEOUT_S,
            "body_timeout_s": body_timeout_s,
            "write_timeout_s": TIMEOUT_S,
            "keep_alive_s": KEEP_ALIVE_S,
            "drain_timeout_s": drain_s,
            **changed,
        }
    )
    server = Server(create_app(settings), settings)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        number = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        yield number, server
        server.should_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def is_alive(port: int) -> bool:
    with RawClient(port) as connection:
        connection.send(GET)
        return connection.read_response().status_code == 200


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for a condition that becomes true soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def post(length: int | str | None, *headers: str, path: str = PREDICT) -> bytes:
    """Return the head of a POST of octets."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/octet-stream"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def chunks(body: bytes, size: int) -> bytes:
    """Return a whole body in chunks."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


def counted(port: int, code: str) -> float:
    """Return the metric of requests with a status."""
    with RawClient(port) as connection:
        connection.send(GET.replace(b"livez", b"metrics"))
        text = connection.read_response().content.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "inkling_requests_total" and sample.labels["code"] == code
    )


def in_flight(port: int) -> float:
    with RawClient(port) as connection:
        connection.send(GET.replace(b"livez", b"metrics"))
        text = connection.read_response().content.decode()
    return float(text.partition("\ninkling_requests_in_flight ")[2].split()[0])
