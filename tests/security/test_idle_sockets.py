"""Open sockets, idle or with incomplete requests, do not block new clients.

Promised: one client address never has all places. When it has as many connections as it may, or all places
are taken, the oldest idle connection goes, and not the newest client; beside connections that send heads or
bodies slowly, clients with fewer connections find a place. Where every connection is being answered, places
are kept for probes; the operators' port has places of its own.

Not promised: that the address which holds hundreds of half-sent requests finds a place itself.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from service.http.server.connection_table import _IDLE_S
from tests import toys
from tests.processes import Process, connections, free_port, running, wait_until
from tests.security.client import LIVE, ask, connect, many, read_response, repeating
from tests.security.conftest import Record

PREDICT = (
    b"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 784\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n" + toys.dot(1).tobytes()
)
MANY = 512
"""As many as the setting `max_connections` allows in all."""
MORE = 600
OPERATORS_PROBES = ["/livez", "/readyz", "/metrics"]
PROBES = [*OPERATORS_PROBES, "/v2/health/live", "/v2/health/ready"]
OTHER = "127.0.0.2"

HALF_SENT = {
    "nothing": b"",
    "half a head": b"GET /livez HTTP/1.1\r\nHost: te",
    "half a body": PREDICT[:-1],
    "half a chunk": PREDICT.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n9\r\na",
}


def probe(path: str) -> bytes:
    return LIVE.replace(b"/livez", path.encode())


@dataclass
class Served:
    """A running service.

    Attributes:
        process: The service process.
        probes: The ports and paths that answer probes.
    """

    process: Process
    probes: list[tuple[int, str]]

    @property
    def port(self) -> int:
        return self.process.port

    def probe(self) -> list[tuple[int, float]]:
        """Probe from another address; return statuses and seconds."""
        return [ask(port, probe(path), OTHER) for port, path in self.probes]


@contextmanager
def serving(models: Path, has_operators: bool) -> Iterator[Served]:
    """Run the service."""
    port = free_port()
    added = ("--admin-port", str(port)) if has_operators else ()
    with running(models, *added, "--no-access-log") as process:
        probes = [(process.port, path) for path in PROBES]
        probes += [(port, path) for path in OPERATORS_PROBES if has_operators]
        yield Served(process, probes)


@pytest.fixture(scope="module", params=[False, True], ids=["one port", "operators' port"])
def standing(request: pytest.FixtureRequest, toy_root: Path) -> Iterator[Served]:
    """A shared service, for tests that leave it unchanged."""
    with serving(toy_root, request.param) as served:
        yield served


@pytest.fixture
def served(standing: Served) -> Served:
    """The shared service, once it has no connections."""
    wait_until(lambda: connections(standing.port, standing.process.handle.pid) == 0)
    return standing


@pytest.mark.parametrize("count", [MANY, MORE])
def test_idle_sockets_do_not_block_new_clients(served: Served, count: int) -> None:
    """
    From the same and from another address; predictions and probes, ten clients of each.
    """
    with many(served.port, count):
        time.sleep(2 * _IDLE_S)  # fresh ones do not give way: a request may be on its way
        predicted = [
            ask(served.port, PREDICT, address)[0] for address in (OTHER, "127.0.0.1") for _ in range(10)
        ]
        probed = [status for status, _ in served.probe()]

    assert predicted == [200] * 20
    assert probed == [200] * len(served.probes)


@pytest.mark.parametrize("kind", HALF_SENT)
def test_incomplete_requests_do_not_block_other_addresses(served: Served, kind: str) -> None:
    """
    As many as one address may hold, and more.
    """
    with many(served.port, MORE, sent=HALF_SENT[kind]):
        predicted = [ask(served.port, PREDICT, OTHER)[0] for _ in range(20)]
        probed = [status for status, _ in served.probe()]

    assert predicted == [200] * 20
    assert probed == [200] * len(served.probes)


HALF_HEAD = b"GET /livez HTTP/1.1\r\nHost: test\r\nA: "


def trickle(port: int, opened: list[socket.socket]) -> None:
    """Send header bytes slowly on many connections; reopen closed ones."""
    for number, connection in enumerate(opened):
        with suppress(OSError):
            connection.sendall(b"a")
            continue
        address = connection.getsockname()[0]
        connection.close()
        with suppress(OSError):
            opened[number] = connect(port, address)
            opened[number].sendall(HALF_HEAD)
    time.sleep(0.2)


def check_slowloris(models: Path, asked: int, figure: Record) -> None:
    """Send requests while five addresses hold more connections than the limit with incomplete heads."""
    with serving(models, True) as served, ExitStack() as stack:
        works = []
        for number in range(10, 15):
            opened = many(served.port, MORE // 5, f"127.0.0.{number}", HALF_HEAD)
            works.append(partial(trickle, served.port, stack.enter_context(opened)))
        with repeating(works) as rounds:
            wait_until(lambda: min(rounds) >= 2)
            answered = [ask(served.port, PREDICT, OTHER) for _ in range(asked)]
            probed = [found for _ in range(asked // 10) for found in served.probe()]
    figure("predictions answered", sum(status == 200 for status, _ in answered), asked)
    for what, found in (("prediction", answered), ("probe", probed)):
        seconds = sorted(second for _, second in found)
        figure(f"p99 of a {what}, fresh connection", f"{seconds[int(0.99 * len(seconds))] * 1000:.0f} ms")
    assert {status for status, _ in answered} == {200}
    assert {status for status, _ in probed} == {200}


def test_slowloris_from_several_addresses_does_not_block_others(toy_root: Path, figure: Record) -> None:
    """
    Five addresses that together hold more connections than the limit.
    """
    check_slowloris(toy_root, 20, figure)


@pytest.mark.torture
def test_long_slowloris_does_not_block_others(toy_root: Path, figure: Record) -> None:
    """
    For longer than the header timeout.
    """
    check_slowloris(toy_root, 3000, figure)


def test_connections_are_reserved_for_probes(toy_root: Path) -> None:
    """
    If all connections are busy, predictions get 503 and probes 200.
    """
    unread = probe("/openapi.json") * 200
    with (
        running(toy_root, "--max-connections", "4", "--max-connections-per-client", "4") as process,
        ExitStack() as stack,
    ):
        for _ in range(4):
            stack.enter_context(connect(process.port, receive_bytes=4096)).sendall(unread)
        wait_until(lambda: ask(process.port, PREDICT, OTHER)[0] == 503)
        probed = [ask(process.port, probe(path), OTHER)[0] for path in PROBES]
        again = ask(process.port, PREDICT, OTHER)[0]
        wait_until(lambda: connections(process.port, process.handle.pid) == 4)
        with connect(process.port, OTHER) as kept:
            kept.sendall(LIVE)
            status, head, _ = read_response(kept)
            rest = kept.recv(1)

    assert probed == [200] * len(PROBES)
    assert again == 503
    assert (status, rest) == (200, b"")
    assert b"\r\nconnection: close\r\n" in head  # one probe for each connection, as others probe too
