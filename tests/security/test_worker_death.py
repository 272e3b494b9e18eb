"""Attack: kill a worker while clients connect. New connections are answered by the others at once."""

import http.client
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, children, running, wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has a listening socket per worker"
)

_LONGEST_WAIT_S = 1.0
"""A replacement takes longer than this to start; the other workers need a few milliseconds."""


@dataclass
class Clients:
    """Threads that each open connection after connection and send one request over each.

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
            time.sleep(0.002)  # else the clients keep the processors from the service


def _kill_under_load(root: Path, workers: int, kills: int) -> Clients:
    """Kill one worker after another with SIGKILL under load; return what happened to connections begun later."""
    after = Clients(0)
    with running(root, "--workers", str(workers), "--no-access-log") as process:
        clients = Clients(process.port)
        clients.start()
        try:
            for _ in range(kills):
                wait_until(lambda: len(children(process.handle.pid)) == workers)
                pids = children(process.handle.pid)
                so_far = len(clients.answered)
                wait_until(lambda: len(clients.answered) > so_far + 200)  # noqa: B023 - called in this turn
                os.kill(pids[0], signal.SIGKILL)
                killed = time.monotonic()
                wait_until(lambda: len({*children(process.handle.pid)} - {*pids}) == 1)  # noqa: B023 - as above
                so_far = len(clients.answered)
                wait_until(
                    lambda: (
                        len(clients.answered) > so_far + 1000  # noqa: B023 - as above
                        or time.monotonic() > killed + 5
                    )  # noqa: B023 - as above
                )
                after.answered += [(at, took) for at, took in clients.answered if at > killed]
                after.failed += [(at, why) for at, why in clients.failed if at > killed]
        finally:
            clients.stop()
        after.answered += [(at, took) for at, took in clients.answered if at > killed]
        after.failed += [(at, why) for at, why in clients.failed if at > killed]
    return after


def test_connections_begun_after_a_kill_are_answered_by_the_others(toy_root: Path) -> None:
    """
    None is reset, and none waits for the replacement.
    """
    after = _kill_under_load(toy_root, workers=2, kills=1)

    assert after.failed == []
    assert max(took for _, took in after.answered) < _LONGEST_WAIT_S
