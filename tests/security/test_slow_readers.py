"""Clients that do not read their responses hold a bounded amount of memory, for a bounded time.

Promised: no more is answered on a connection while the client has not taken what was answered before, so that
pipelined requests whose responses nobody reads hold little more than one response. A client that takes fewer
bytes a second than `min_send_rate` is cut off after `write_timeout_s`; one that takes more is not.

Not promised: anything of what the system itself keeps of a connection: its buffers are its own.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests import toys
from tests.processes import Process, connections, running, wait_until
from tests.security.client import ask, connect
from tests.security.conftest import Record

RATE = 100_000
TIMEOUT_S = 0.5
LARGE = b"GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n"
PREDICT = (
    b"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 784\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n" + toys.dot(1).tobytes()
)
SMALL_BUFFER = 4096
REQUESTS = 10


@pytest.fixture(scope="module")
def process(toy_root: Path) -> Iterator[Process]:
    limits = ("--min-send-rate", str(RATE), "--write-timeout-s", str(TIMEOUT_S))
    with running(toy_root, *limits) as process:
        yield process


def read_at(process: Process, rate: float) -> int:
    """Read responses at a rate in bytes per second; return the number of bytes."""
    received, step = 0, 8192
    with connect(process.port, receive_bytes=SMALL_BUFFER) as connection:
        connection.sendall(
            LARGE * (REQUESTS - 1) + LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        with suppress(ConnectionError):
            while new := connection.recv(step):
                received += len(new)
                time.sleep(len(new) / rate)
    return received


@pytest.fixture(scope="module")
def whole(process: Process) -> int:
    """Size of the responses in bytes."""
    return read_at(process, 1e12)


def test_client_below_the_minimum_rate_is_disconnected(process: Process, whole: int) -> None:
    """
    It reads at a fifth of the rate.
    """
    assert read_at(process, RATE / 5) < whole


def test_client_above_the_minimum_rate_gets_everything(process: Process, whole: int) -> None:
    """
    It reads at ten times the rate, for much longer than the period over which the rate is measured.
    """
    began = time.perf_counter()

    assert read_at(process, RATE * 10) == whole
    assert time.perf_counter() - began > 2 * TIMEOUT_S


def test_client_that_reads_nothing_is_disconnected_over_sockets(process: Process) -> None:
    """
    The service closes its side.
    """
    with connect(process.port, receive_bytes=SMALL_BUFFER) as connection:
        connection.sendall(LARGE * 100)
        wait_until(lambda: connections(process.port, process.handle.pid) == 1)
        wait_until(lambda: connections(process.port, process.handle.pid) == 0)


def flood(connection: socket.socket, request: bytes, count: int) -> int:
    """Send requests without reading responses until the socket blocks; return the number sent."""
    connection.settimeout(2.0)
    sent, batch = 0, request * 100
    with suppress(OSError):
        while sent < count * len(request):
            sent += connection.send(batch)
    return sent // len(request)


def check_memory(models: Path, clients: int, count: int, request: bytes, figure: Record) -> None:
    """Pipeline requests over several connections without reading responses; memory must not grow."""
    with (
        running(models, "--no-access-log", "--write-timeout-s", "60", "--min-send-rate", "1") as process,
        ExitStack() as stack,
    ):
        for _ in range(20):
            ask(process.port)
            ask(process.port, request)
        before = process.resident_mb()
        sent = 0
        for _ in range(clients):
            opened = stack.enter_context(connect(process.port, receive_bytes=SMALL_BUFFER))
            sent += flood(opened, request, count // clients)
        grown = process.resident_mb() - before
        status, _ = ask(process.port)
    figure("requests sent, no response read", sent, count)
    figure("memory grown", f"{grown:.1f} MB", f"{clients} MB and 10")
    assert status == 200
    assert grown < clients + 10


@pytest.mark.parametrize("request_", [PREDICT, LARGE], ids=["predictions", "documents"])
def test_unread_responses_need_little_memory(toy_root: Path, request_: bytes, figure: Record) -> None:
    """
    Eight connections.
    """
    check_memory(toy_root, 8, 8000, request_, figure)


@pytest.mark.torture
@pytest.mark.parametrize("request_", [PREDICT, LARGE], ids=["predictions", "documents"])
def test_80000_unread_responses_need_little_memory(toy_root: Path, request_: bytes, figure: Record) -> None:
    """
    40 connections.
    """
    check_memory(toy_root, 40, 80_000, request_, figure)
