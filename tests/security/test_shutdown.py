"""A stop loses no request that was sent completely before the signal.

Promised: at SIGTERM everything that has arrived is answered, on new and on kept connections, and no
connection is reset before its client has the response. In the lame duck period `/readyz` says 503, new
connections are still accepted and answered, and every response closes its connection.

Not promised: requests that are sent after the signal where there is no lame duck period.
"""

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import toys
from tests.processes import PATIENCE_S, running, wait_until
from tests.security.client import LIVE, ask, connect, read_response
from tests.security.conftest import Record

PREDICT = (
    b"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 784\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n" + toys.dot(1).tobytes()
)
READY = LIVE.replace(b"/livez", b"/readyz")
CLIENTS = 100


def answered(models: Path, *arguments: str) -> list[str]:
    """Send requests over new and kept-alive connections, then SIGTERM; return each client's responses."""
    found = []
    with running(models, *arguments) as process, ExitStack() as stack:
        kept = [stack.enter_context(connect(process.port)) for _ in range(CLIENTS // 2)]
        for connection in kept:
            connection.sendall(PREDICT)
            assert read_response(connection)[0] == 200
        for connection in kept:
            connection.sendall(PREDICT)
        new = [stack.enter_context(connect(process.port)) for _ in range(CLIENTS - len(kept))]
        for connection in new:
            connection.sendall(PREDICT)
        process.handle.send_signal(signal.SIGTERM)
        for connection in [*kept, *new]:
            try:
                status, _, _ = read_response(connection)
                found.append(f"{status}, {'closed' if connection.recv(1) == b'' else 'not closed'}")
            except ConnectionError:
                found.append("reset")
        assert process.handle.wait(PATIENCE_S) == 0
    return found


def check(models: Path, rounds: int, figure: Record) -> None:
    """Stop the service several times."""
    found = [got for _ in range(rounds) for got in answered(models)]
    figure("requests sent before SIGTERM", len(found))
    figure("requests answered", sum(got.startswith("200") for got in found), len(found))
    figure("requests whose connection was reset", found.count("reset"), 0)
    assert set(found) == {"200, closed"}


def test_requests_sent_before_the_signal_get_responses(toy_root: Path, figure: Record) -> None:
    """
    A hundred clients, half of them on new connections.
    """
    check(toy_root, 1, figure)


@pytest.mark.torture
def test_no_request_is_lost_in_many_stops(toy_root: Path, figure: Record) -> None:
    """
    Thirty stops.
    """
    check(toy_root, 30, figure)


def test_service_accepts_requests_in_the_lame_duck_period(toy_root: Path) -> None:
    """
    It reports that it is not ready; each connection is closed after its response.
    """
    with running(toy_root, "--lame-duck-s", "5") as process, connect(process.port) as kept:
        kept.sendall(READY)
        before = read_response(kept)[0]
        process.handle.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(process.port, READY)[0] == 503)
        kept.sendall(PREDICT)
        status, head, _ = read_response(kept)
        end = kept.recv(1)
        with connect(process.port) as new:
            new.sendall(PREDICT)
            of_new = read_response(new)
            end_of_new = new.recv(1)
        still_lives = ask(process.port)[0]
        process.handle.send_signal(signal.SIGTERM)
        code = process.handle.wait(PATIENCE_S)

    assert before == 200
    assert (status, end) == (200, b"")
    assert b"\r\nconnection: close\r\n" in head
    assert (of_new[0], end_of_new) == (200, b"")
    assert b"\r\nconnection: close\r\n" in of_new[1]
    assert still_lives == 200
    assert code == 0
