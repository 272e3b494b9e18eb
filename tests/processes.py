"""The service as a process: started as anybody would, on a free port, asked, stopped by a signal."""

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
"""Generous, as machines that run tests may be busy; a start takes about a second."""


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
        """Wait until one more request is being answered than the one that asks."""
        wait_until(lambda: self.in_flight() == 2)

    def in_flight(self) -> float:
        """Return how many requests are being answered, the one that asks among them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE_S) as answer:
            found = re.search(rb"^inkling_requests_in_flight (\S+)$", answer.read(), re.MULTILINE)
        assert found
        return float(found[1])

    def resident_mb(self) -> float:
        return resident_mb(self.handle.pid)

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit status and what was written since."""
        self.handle.send_signal(number)
        _, rest = self.handle.communicate(timeout=PATIENCE_S)
        return self.handle.returncode, rest


def resident_mb(pid: int) -> float:
    """Return how much memory a process has, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def is_listening(port: int) -> bool:
    """Return whether a port of 127.0.0.1 takes connections."""
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except ConnectionError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that have not ended."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if is_running(int(child))]


def is_running(pid: int) -> bool:
    """Return whether there is such a process, and it has not ended."""
    return state(pid) not in "ZX"


def state(pid: int) -> str:
    """Return the letter by which the system says what a process does; X if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def wait_until(true: Callable[[], object]) -> None:
    """Wait for something that will be true soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never was"
        time.sleep(0.02)


def pipeline(connection: socket.socket, pids: Sequence[int]) -> int:
    """Return which of some processes has the other end of a connection, which it has answered before."""
    own, other = connection.getsockname()[1], connection.getpeername()[1]
    (found,) = [pid for pid in pids if (other, own, _ESTABLISHED) in _sockets(pid)]
    return found


def connections(port: int, pid: int) -> int:
    """Return how many connections a process has at a port."""
    return sum(own == port and state == _ESTABLISHED for own, _, state in _sockets(pid))


def peer_ports(port: int, pid: int) -> set[int]:
    """Return the ports of the other ends of a process's connections at a port."""
    return {other for own, other, state in _sockets(pid) if own == port and state == _ESTABLISHED}


def listening_ports(pid: int) -> set[int]:
    """Return the ports on which a process listens."""
    return {own for own, _, state in _sockets(pid) if state == _LISTENING}


_ESTABLISHED, _LISTENING = "01", "0A"


def _sockets(pid: int) -> list[tuple[int, int, str]]:
    """Return a process's sockets: their port, the other end's, and how they stand."""
    files = _open_files(pid)
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]  # gRPC's are of the second kind
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
    """Run Python until it ends, in the repository's folder, with variables besides the usual ones."""
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
    """Run a program in a fresh interpreter; return the modules that it has loaded, by name."""
    done = python("-c", f"{program}\nimport sys\nprint(*sys.modules)", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def ended(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the service with a command that is meant to end by itself, with all processes that it starts."""
    return python("-m", "service", "--port", "0", *arguments, **environment)


def listening(stream: IO[str]) -> tuple[int, list[str]]:
    """Read log lines until one tells the port."""
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
