"""Limits over sockets: timeouts, number of connections, output that is not read."""

import time

import pytest

from service.http.server import connection_table
from service.http.server.connection import closing
from service.server.http_server import Server
from service.settings import Settings
from tests.service.http.bodies import PREDICT, QUADRANTS, images, problem
from tests.service.http.running import HeldPredictions
from tests.service.http.server.connection.client import (
    DOT,
    GET,
    HOST,
    KEEP_ALIVE_S,
    MAX_CONNECTIONS,
    TIMEOUT_S,
    Connect,
    RawClient,
    chunks,
    is_alive,
    post,
    serving,
    wait_until,
)


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /livez HTTP/1.1\r\n", GET[:-2], GET + b"GET /li"])
def test_incomplete_head_times_out(connect: Connect, sent: bytes) -> None:
    """The first or second head of a connection, or no byte at all."""
    connection = connect()

    connection.send(sent)
    if sent.startswith(GET):
        assert connection.read_response().status_code == 200

    assert connection.wait_closed()


def test_slow_head_times_out(connect: Connect) -> None:
    """Received bytes do not extend the timeout."""
    connection = connect()
    connection.send(b"GET /livez HTTP/1.1\r\nA: ")

    sent = connection.send_slowly(b"a", 100)

    assert sent < 100
    assert connection.wait_closed()


def test_incomplete_second_head_times_out(connect: Connect) -> None:
    connection = connect()
    connection.send(post(len(DOT)) + DOT + b"GET /livez HTTP/1.1\r\nA: ")
    assert connection.read_response().status_code == 200

    assert connection.wait_closed()


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("head", "part"),
    [
        (post(784), b"\0"),
        (post(None, "Transfer-Encoding: chunked"), b"1\r\n\0\r\n"),
        (post(None, "Transfer-Encoding: chunked") + b"310\r\n", b"\0"),
        (post(None, "Transfer-Encoding: chunked") + chunks(DOT, 784)[:-2], b"A: b\r\n"),
    ],
)
def test_slow_body_gets_408(connect: Connect, head: bytes, part: bytes, is_slow: bool) -> None:
    """Stopped or sent byte by byte, with a length or in chunks, or within trailers."""
    connection = connect()

    connection.send(head, part)
    if is_slow:
        assert connection.send_slowly(part, 60) < 60

    response = connection.read_response()
    problem(response, 408, "body-timeout")
    assert response.headers["connection"] == "close"
    assert connection.wait_closed()


def test_input_after_a_refusal_times_out(connect: Connect) -> None:
    connection = connect()
    connection.send(post(10**9))
    problem(connection.read_response(), 413, "payload-too-large")

    sent = connection.send_slowly(bytes(1000), 100)

    assert sent < 100
    assert connection.wait_closed()


def test_idle_connection_is_closed(connect: Connect) -> None:
    """Each response restarts the keep-alive timeout."""
    connection = connect()
    for _ in range(6):
        connection.send(post(len(DOT)) + DOT)
        assert connection.read_response().status_code == 200
        time.sleep(KEEP_ALIVE_S / 4)

    assert connection.wait_closed()


def test_response_may_take_longer_than_keep_alive(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = images(*range(60)).tobytes()
    keep_alive_s = 0.2
    with serving(toy_settings, keep_alive_s=keep_alive_s) as (number, _), RawClient(number) as connection:
        connection.send(post(len(DOT)) + DOT)
        assert connection.read_response().status_code == 200
        held = HeldPredictions(monkeypatch)
        connection.send(post(len(body)) + body)
        held.wait_for_prediction()
        time.sleep(4 * keep_alive_s)
        held.release_all()

        assert connection.read_response().status_code == 200


def test_connection_above_the_limit_is_refused(running: tuple[int, Server], connect: Connect) -> None:
    """If none is idle. Others are not affected, and a later one is accepted."""
    inside = [connect() for _ in range(MAX_CONNECTIONS)]
    for connection in inside:
        connection.send(GET)
        assert connection.read_response().status_code == 200
        connection.send(GET[:-2])
    wait_until(lambda: not any(other.is_idle() for other in running[1].connections.all()))

    outside = connect()
    refused = outside.read_response()
    assert outside.wait_closed()
    inside[0].send(GET[-2:])
    undisturbed = inside[0].read_response()
    inside[0].send(GET[:-2])
    wait_until(lambda: not any(other.is_idle() for other in running[1].connections.all()))
    inside[1].half_close()
    assert inside[1].wait_closed()
    wait_until(lambda: len(running[1].connections) == MAX_CONNECTIONS - 1)
    later = connect()
    later.send(GET)

    detail = problem(refused, 503, "too-many-connections")
    assert f"at most {MAX_CONNECTIONS}" in detail
    assert int(refused.headers["retry-after"]) in range(1, 4)
    assert undisturbed.status_code == 200
    assert later.read_response().status_code == 200


def test_refused_connection_is_closed(
    running: tuple[int, Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not in the connection table, so a timer closes it."""
    monkeypatch.setattr(closing, "_LINGER_S", 0.1)
    for _ in range(MAX_CONNECTIONS):
        connect().send(GET[:-2])
    wait_until(lambda: not any(other.is_idle() for other in running[1].connections.all()))
    turned_away = [connect() for _ in range(20)]
    for connection in turned_away:
        problem(connection.read_response(), 503, "too-many-connections")

    wait_until(lambda: running[1].connections.refused == 0)


def test_oldest_idle_connection_is_evicted(
    running: tuple[int, Server], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_table, "_IDLE_S", 0.0)
    inside = [connect() for _ in range(MAX_CONNECTIONS)]
    for connection in inside:
        connection.send(GET)
        assert connection.read_response().status_code == 200
    wait_until(lambda: all(other.is_idle() for other in running[1].connections.all()))

    newest = connect()
    newest.send(GET)

    assert newest.read_response().status_code == 200
    assert inside[0].wait_closed()
    inside[1].send(GET)
    assert inside[1].read_response().status_code == 200


def test_client_that_reads_nothing_is_disconnected(connect: Connect) -> None:
    """Large responses of the ASGI application."""
    connection = connect()
    many = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"

    sent = connection.send_slowly(many * 60, 200)

    assert sent < 200


def test_client_that_reads_no_predictions_is_disconnected(connect: Connect) -> None:
    """Responses of 1 MB are not buffered: reading pauses, and the connection is closed."""
    connection = connect()
    path = PREDICT.replace("predict", "probabilities") + "?include=seen"
    body = images(*range(1, 21)).tobytes()
    whole = post(len(body), path=path) + body

    sent = connection.send_until_closed(whole, 40_000_000)

    assert sent < 40_000_000


def test_client_that_does_not_read_delays_no_others(port: int, connect: Connect) -> None:
    connection = connect()
    weights = f"GET {QUADRANTS}/weights/output HTTP/1.1\r\nHost: test\r\n\r\n".encode()

    connection.send(weights * 40)

    assert all(is_alive(port) for _ in range(5))


@pytest.mark.parametrize("finishes", [False, True])
def test_connection_closes_after_a_response_sent_in_parts(connect: Connect, finishes: bool) -> None:
    """Once it is idle for too long, or at once if the client has closed its side."""
    body = images(*range(1, 61)).tobytes()
    path = PREDICT.replace("predict", "probabilities") + "?include=seen"
    connection = connect(is_narrow=True)
    connection.send(post(len(body), path=path) + body)
    if finishes:
        connection.half_close()
    time.sleep(TIMEOUT_S / 5)  # in which the answer fills what the system keeps

    assert connection.read_response().status_code == 200
    assert connection.wait_closed()
