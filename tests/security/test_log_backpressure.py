"""A blocked reader of the log does not block the service.

Promised: every request is answered whether or not somebody reads standard error. What the log's reader does
not take is bounded in memory, dropped in whole lines, and counted in `inkling_log_lines_dropped_total`. The
log says where lines are missing. SIGTERM ends every process with status 0. A closed standard error, a reader
that has ended and a full disk are no different.

Not promised: a regular file on a disk that hangs, as no system has non-blocking writes to files.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import toys
from tests.conftest import REPOSITORY
from tests.processes import (
    PATIENCE_S,
    Process,
    children,
    clean_environment,
    free_port,
    is_listening,
    is_running,
    resident_mb,
    running,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look into /proc")

CONNECTIONS = 8
AT_ONCE = 16
"""Requests that are sent over a connection before their responses are read."""
FEW = 5 * AT_ONCE * CONNECTIONS
REQUESTS = 10 * FEW
"""Half of their lines, which one of two processes writes at least, are more than its buffer and a pipe."""
TORTURE_REQUESTS = 50 * REQUESTS
PREDICT = (
    b"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 784\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n" + toys.dot(1).tobytes()
)


def ask(port: int, requests: int) -> float:
    """Send predictions over several connections concurrently; return the duration in seconds."""
    began = time.perf_counter()
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
            for _ in range(CONNECTIONS)
        ]
        for _ in range(requests // CONNECTIONS // AT_ONCE):
            for connection in connections:
                connection.sendall(PREDICT * AT_ONCE)
            for connection in connections:
                received = b""
                while received.count(b"HTTP/1.1 ") < AT_ONCE or not received.endswith(b"}"):
                    new = connection.recv(1 << 16)
                    assert new
                    received += new
                assert received.count(b"HTTP/1.1 200 OK\r\n") == AT_ONCE
    return time.perf_counter() - began


def dropped(port: int) -> int:
    """Return the number of dropped log lines, from the metrics."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        text = b""
        while new := connection.recv(1 << 16):
            text += new
    found = re.search(rb"^inkling_log_lines_dropped_total (\S+)\r?$", text, re.MULTILINE)
    assert found
    return int(float(found[1]))


@dataclass
class Reader:
    """Reads a process's log to its end, in a thread; checks that lines are complete.

    Attributes:
        lines: Those read so far.
    """

    process: Process
    pause_s: float = 0.0  # after each line
    lines: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.handle.stderr
        for line in self.process.handle.stderr:
            self.lines.append(json.loads(line))
            time.sleep(self.pause_s)

    def join(self) -> list[dict[str, Any]]:
        """Return all lines, when the process has ended."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.lines

    def requests(self) -> int:
        """Return how many requests the log tells of: with a line, or among those that it says are missing."""
        lines = self.lines.copy()
        return sum(1 for line in lines if line["event"] == "request") + missing(lines)


def missing(lines: list[dict[str, Any]]) -> int:
    """Return the number of dropped lines that the log reports."""
    return sum(int(line["lines"]) for line in lines if line["event"] == "log lines dropped")


def end(process: Process) -> int:
    """Send SIGTERM and return the exit status, without reading the log."""
    process.handle.send_signal(signal.SIGTERM)
    return process.handle.wait(PATIENCE_S)


each_count = pytest.mark.parametrize("workers", [1, 2])


@each_count
def test_service_works_and_stops_if_the_log_is_not_read(toy_root: Path, workers: int) -> None:
    """
    Thousands of requests; memory does not grow. The pipe holds complete lines.
    """
    with running(toy_root, "--workers", str(workers)) as process:
        pids = [process.handle.pid, *children(process.handle.pid)]
        ask(process.port, REQUESTS)
        counted, memory = dropped(process.port), sum(resident_mb(pid) for pid in pids)
        ask(process.port, REQUESTS)
        later, grown = dropped(process.port), sum(resident_mb(pid) for pid in pids) - memory
        status = end(process)

        assert status == 0
        assert len(pids) == (1 if workers == 1 else 3)
        assert not any(is_running(pid) for pid in pids)
        assert counted > 0
        assert later >= REQUESTS  # what the buffers hold is less than the other half
        assert grown < 10
        assert sum(line["event"] == "request" for line in Reader(process).join()) > 0


@each_count
def test_log_has_the_number_of_dropped_lines(toy_root: Path, workers: int) -> None:
    """
    When it is read again, without another request: written and dropped lines are all requests.
    """
    with running(toy_root, "--workers", str(workers)) as process:
        ask(process.port, REQUESTS)
        counted = dropped(process.port)
        reader = Reader(process)
        wait_until(lambda: reader.requests() == REQUESTS + 1)
        status = end(process)
        lines = reader.join()

    assert status == 0
    assert 0 < counted <= missing(lines)
    assert reader.requests() == REQUESTS + 1


def test_dead_worker_is_replaced_if_the_log_is_not_read(toy_root: Path) -> None:
    """
    The supervisor logs it to the full pipe.
    """
    with running(toy_root, "--workers", "2") as process:
        ask(process.port, REQUESTS)
        killed, *_ = children(process.handle.pid)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(set(children(process.handle.pid)) - {killed}) == 2)
        ask(process.port, FEW)
        reader = Reader(process)
        wait_until(lambda: any(line["event"] == "process ended" for line in reader.lines))
        status = end(process)
        reader.join()

    assert status == 0


@contextmanager
def broken(kind: str) -> Iterator[int]:
    """Yield a file descriptor that cannot be written."""
    if kind == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, descriptor = os.pipe()
        os.close(reading)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["closed", "full disk", "no reader"])
@each_count
def test_service_works_if_the_log_cannot_be_written(toy_root: Path, workers: int, kind: str) -> None:
    """
    Standard error is closed, on a full disk, or a pipe without reader.
    """
    port = free_port()
    command = [sys.executable, "-m", "service", "--models", str(toy_root)]
    command += ["--port", str(port), "--workers", str(workers)]
    if kind == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    with (
        broken(kind) as descriptor,
        subprocess.Popen(command, cwd=REPOSITORY, stderr=descriptor, env=clean_environment()) as handle,
    ):
        try:
            wait_until(lambda: handle.poll() is not None or is_listening(port))
            ask(port, FEW)
            wait_until(lambda: kind == "closed" or dropped(port) >= FEW)
            handle.send_signal(signal.SIGTERM)
            status = handle.wait(PATIENCE_S)
        finally:
            handle.kill()

    assert status == 0


@pytest.mark.torture
@each_count
def test_slow_log_reader_does_not_slow_the_service(
    toy_root: Path, workers: int, record_property: Callable[[str, object], None]
) -> None:
    """
    It reads a thousand lines per second, while many more are written; the lines it gets are complete.
    """
    with running(toy_root, "--workers", str(workers)) as process:
        reader = Reader(process, pause_s=0.001)
        seconds = ask(process.port, TORTURE_REQUESTS)
        counted = dropped(process.port)
        reader.pause_s = 0
        wait_until(lambda: reader.requests() == TORTURE_REQUESTS + 1)
        status = end(process)
        lines = reader.join()

    record_property("requests_per_s", round(TORTURE_REQUESTS / seconds))
    record_property("dropped", counted)
    record_property("gaps", sum(line["event"] == "log lines dropped" for line in lines))
    assert status == 0
    assert 0 < counted <= missing(lines)
