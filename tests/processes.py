"""Runs the service as a process, on a free port, and inspects its processes, sockets and memory."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import REPOSITORY

PATIENCE_S = 60
"""Timeout in seconds; long, as test machines may be busy: a start takes about a second."""


@dataclass
class Process:
    """A running service."""

    handle: subprocess.Popen[str]
    port: int
    lines: list[str]
    ready_s: float

    def get(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON can be anything
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def wait_for_request(self) -> None:
        """Wait until one request is in flight, besides the one that reads the metrics."""
        wait_until(lambda: self.in_flight() == 2)

    def in_flight(self) -> float:
        """Return the number of requests in flight, with the one that reads the metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE_S) as answer:
            found = re.search(rb"^inkling_requests_in_flight (\S+)$", answer.read(), re.MULTILINE)
        assert found
        return float(found[1])

    def resident_mb(self) -> float:
        return resident_mb(self.handle.pid)

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit status and the rest of standard error."""
        self.handle.send_signal(number)
        _, rest = self.handle.communicate(timeout=PATIENCE_S)
        return self.handle.returncode, rest


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def is_listening(port: int) -> bool:
    """Return whether a port of 127.0.0.1 accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except ConnectionError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Return the running child processes of a process."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if is_running(int(child))]


def is_running(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    return state(pid) not in "ZX"


def state(pid: int) -> str:
    """Return the state letter of a process from /proc; X if it does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true; fail after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition is still false"
        time.sleep(0.02)


def pipeline(connection: socket.socket, pids: Sequence[int]) -> int:
    """Return the process that has the other end of a connection; it must have responded before."""
    own, other = connection.getsockname()[1], connection.getpeername()[1]
    (found,) = [pid for pid in pids if (other, own, _ESTABLISHED) in _sockets(pid)]
    return found


def connections(port: int, pid: int) -> int:
    """Return the number of connections of a process at a port."""
    return sum(own == port and state == _ESTABLISHED for own, _, state in _sockets(pid))


def peer_ports(port: int, pid: int) -> set[int]:
    """Return the client ports of a process's connections at a port."""
    return {other for own, other, state in _sockets(pid) if own == port and state == _ESTABLISHED}


def listening_ports(pid: int) -> set[int]:
    """Return the ports on which a process listens."""
    return {own for own, _, state in _sockets(pid) if state == _LISTENING}


_ESTABLISHED, _LISTENING = "01", "0A"


def _sockets(pid: int) -> list[tuple[int, int, str]]:
    """Return the TCP sockets of a process: local port, remote port and state."""
    files = _open_files(pid)
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]  # gRPC uses IPv6 sockets
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return [
        (int(row[1].rpartition(":")[2], 16), int(row[2].rpartition(":")[2], 16), row[3])
        for row in rows
        if f"socket:[{row[9]}]" in files
    ]


def _open_files(pid: int) -> set[str]:
    files = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            files.add(str(link.readlink()))
    return files


def clean_environment(**added: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("INKLING_")} | added


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python to its end in the repository; keyword arguments are environment variables."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        capture_output=True,  # until the last process that has them ends
        text=True,
        env=clean_environment(**environment),
        timeout=PATIENCE_S,
        check=False,
    )


def modules_after(program: str, *arguments: str) -> set[str]:
    """Run a program in a new interpreter; return the names of the loaded modules."""
    done = python("-c", f"{program}\nimport sys\nprint(*sys.modules)", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def ended(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the service that ends by itself."""
    return python("-m", "service", "--port", "0", *arguments, **environment)


def listening(stream: IO[str]) -> tuple[int, list[str]]:
    """Read log lines up to the one with the port; return the port and the lines."""
    lines = []
    for line in stream:
        lines.append(line)
        found = re.search(r"https?://127\.0\.0\.1:(\d+)", line)
        if found:
            return int(found[1]), lines
    pytest.fail("ended before it listened:\n" + "".join(lines))


@contextmanager
def running(
    models: Path, *arguments: str, port: int = 0, start_new_session: bool = False, **environment: str
) -> Iterator[Process]:
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "service", "--port", str(port), "--models", str(models), *arguments],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(**environment),
        start_new_session=start_new_session,
    ) as handle:
        try:
            assert handle.stderr
            found, lines = listening(handle.stderr)
            yield Process(handle, found, lines, time.perf_counter() - begun)
        finally:
            if handle.poll() is None:
                handle.kill()
