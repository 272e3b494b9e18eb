"""A worker is killed while clients connect: the other workers serve new connections at once."""

import http.client
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, Process, children, peer_ports, running, wait_until
from tests.security.client import LIVE, connect, read_response

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has a listening socket per worker"
)


@dataclass
class Clients:
    """Threads that repeatedly connect and send one request.

    Attributes:
        port: Where.
        answered: When a connection was begun, and how long its answer took, in seconds.
        failed: When a connection that failed was begun, and why it failed.
    """

    port: int
    answered: list[tuple[float, float]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, count: int = 8) -> None:
        self._threads = [threading.Thread(target=self._connect_repeatedly) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _connect_repeatedly(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            try:
                connection.request("GET", "/livez", headers={"Connection": "close"})
                connection.getresponse().read()
                self.answered.append((begun, time.monotonic() - begun))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append((begun, repr(error)))
            finally:
                connection.close()
            time.sleep(0.01)  # else the clients keep the processors from the service


@dataclass
class Kill:
    """Results of the connections opened between the kill of a worker and its replacement.

    Attributes:
        replaced_s: How long the replacement took to serve, in seconds.
        longest_s: Longest time to an answer, in seconds.
        answered: Connections with an answer.
        failed: Why others failed.
    """

    replaced_s: float
    longest_s: float
    answered: int
    failed: list[str]


def is_served_by(pid: int, port: int) -> bool:
    """Send a request over a new connection; return whether this process responded."""
    with connect(port) as connection:
        connection.sendall(LIVE)
        read_response(connection)
        return connection.getsockname()[1] in peer_ports(port, pid)


def kill_under_load(process: Process, clients: Clients) -> Kill:
    """Kill a worker with SIGKILL, and wait until its replacement has served for a while."""
    pids = children(process.handle.pid)
    so_far = len(clients.answered)
    wait_until(lambda: len(clients.answered) > so_far + 100)
    os.kill(pids[0], signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: {*children(process.handle.pid)} - {*pids})
    (new,) = {*children(process.handle.pid)} - {*pids}
    wait_until(lambda: is_served_by(new, process.port))
    replaced_s = time.monotonic() - killed
    so_far = len(clients.answered)
    wait_until(lambda: len(clients.answered) > so_far + 100)
    waits = [took for at, took in clients.answered if at > killed]
    return Kill(replaced_s, max(waits), len(waits), [why for at, why in clients.failed if at > killed])


def test_other_workers_serve_new_connections_after_a_kill(toy_root: Path) -> None:
    """
    No connection is reset, and none waits for the replacement.
    """
    with running(toy_root, "--workers", "2", "--no-access-log") as process:
        clients = Clients(process.port)
        clients.start()
        try:
            kill = kill_under_load(process, clients)
        finally:
            clients.stop()

    assert kill.failed == []
    assert kill.longest_s < kill.replaced_s / 2


@pytest.mark.torture
def test_workers_are_killed_one_after_another(toy_root: Path) -> None:
    """
    Eight times, of four workers, under load; the delay of restarts grows.
    """
    with running(toy_root, "--workers", "4", "--no-access-log") as process:
        clients = Clients(process.port)
        clients.start()
        try:
            kills = [kill_under_load(process, clients) for _ in range(8)]
        finally:
            clients.stop()

    assert [kill.failed for kill in kills] == [[]] * 8
    assert all(kill.longest_s < kill.replaced_s / 2 for kill in kills)
