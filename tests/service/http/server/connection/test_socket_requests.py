"""Requests over sockets: pipelining, early responses, disconnects, shutdown."""

import socket
import threading
import time

import pytest

from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT, QUADRANTS, images, npy, problem
from tests.service.http.running import PATIENCE_S, HeldPredictions
from tests.service.http.server.connection.client import (
    DOT,
    GET,
    HOST,
    TIMEOUT_S,
    Connect,
    RawClient,
    chunks,
    counted,
    in_flight,
    is_alive,
    post,
    serving,
    wait_until,
)


def test_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    """Slow and fast ones, with and without bodies."""
    connection = connect()
    nowhere = GET.replace(b"livez", b"nowhere")
    slow = post(784, path=f"{PREDICT}?prepare=mnist") + DOT

    connection.send(slow + GET + nowhere + post(784) + DOT + GET)

    assert [connection.read_response().status_code for _ in range(5)] == [200, 200, 404, 200, 200]


def test_many_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    connection = connect()
    count = 2000
    requests = b"".join(
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-ID: n%d\r\n\r\n" % number for number in range(count)
    )
    sender = threading.Thread(target=connection.send, args=(requests,))

    sender.start()

    assert [connection.read_response().headers["x-request-id"] for _ in range(count)] == [
        f"n{number}" for number in range(count)
    ]
    sender.join()


def test_requests_received_while_answering_are_answered(connect: Connect) -> None:
    """Whole or in pieces; predictions and others."""
    connection = connect()
    whole = post(len(DOT)) + DOT
    for pieces in (
        [whole, whole],
        [whole, GET],
        [GET, whole],
        [whole, whole[:100], whole[100:]],
        [whole] * 9,
    ):
        connection.send(*pieces)
        expected = b"".join(pieces).count(b" HTTP/1.1\r\n")
        replies = [connection.read_response() for _ in range(expected)]

        assert [response.status_code for response in replies] == [200] * expected


def test_half_a_head_is_completed_by_the_next_bytes(connect: Connect) -> None:
    """Even if these look like a request."""
    for first in (GET, post(len(DOT)) + DOT):
        connection = connect()
        connection.send(first + b"POST /v1/models/nope/predict HTTP/1.1\r\nX-Any: ")
        assert connection.read_response().status_code == 200
        connection.send(post(len(DOT)) + DOT)

        problem(connection.read_response(), 404, "unknown-model")


@pytest.mark.parametrize(
    "sent",
    [
        GET,
        post(784) + DOT,
        post(784, path=f"{PREDICT}?prepare=mnist") + DOT,
        b"GET " + f"{QUADRANTS}/weights/output.png".encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        post(None, "Transfer-Encoding: chunked") + chunks(DOT, 100),
    ],
)
def test_half_closed_client_gets_its_response(connect: Connect, sent: bytes) -> None:
    connection = connect()

    connection.send(sent)
    connection.half_close()

    assert connection.read_response().status_code == 200
    assert connection.wait_closed()


def test_pipelined_requests_of_a_half_closed_client_are_answered(connect: Connect) -> None:
    connection = connect()
    slow = post(784, path=f"{PREDICT}?prepare=mnist") + DOT

    connection.send(slow + GET + slow)
    connection.half_close()

    assert [connection.read_response().status_code for _ in range(3)] == [200, 200, 200]
    assert connection.wait_closed()


def test_body_may_arrive_in_pieces(connect: Connect) -> None:
    connection = connect()
    body = npy(toys.dot(3))
    sent = post(len(body)).replace(b"octet-stream", b"x-npy") + body

    for start in range(0, len(sent), 97):
        connection.send(sent[start : start + 97])

    assert connection.read_response().json()["predictions"][0]["label"] == toys.QUARTERS[0]


def test_response_to_head_has_no_body(connect: Connect) -> None:
    connection = connect()

    connection.send(
        GET.replace(b"GET", b"HEAD") + GET.replace(b"GET", b"HEAD").replace(b"livez", b"nowhere") + GET
    )

    head, lost = connection.read_response(is_head=True), connection.read_response(is_head=True)
    get = connection.read_response()
    assert (head.status_code, lost.status_code, get.status_code) == (200, 404, 200)
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert int(lost.headers["content-length"]) > 0


def test_http_1_0_is_answered_and_closed(connect: Connect) -> None:
    connection = connect()

    connection.send(b"GET /livez HTTP/1.0\r\n\r\n")

    assert connection.read_response().content == b'{"status":"live"}'
    assert connection.wait_closed()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        (PREDICT, 413, "payload-too-large"),
        ("/v1/models/nobody/predict", 404, "unknown-model"),
        (f"{PREDICT}?wrong=1", 400, "malformed-request"),
        (QUADRANTS, 405, "wrong-method"),
    ],
)
def test_early_refusal_reaches_a_client_that_is_sending(
    connect: Connect, chunked: bool, path: str, status: int, kind: str
) -> None:
    """If the rest of the body is short, the connection accepts the next request."""
    connection = connect()
    body = bytes(1_000_000)
    head = post(None, "Transfer-Encoding: chunked", path=path) if chunked else post(len(body), path=path)
    sent = chunks(body, 20_000) if chunked else body

    connection.send(head)
    for start in range(0, len(sent), 50_000):
        connection.send(sent[start : start + 50_000])
    refused = connection.read_response()

    problem(refused, status, kind)
    if chunked:
        assert refused.headers["connection"] == "close"
    else:
        connection.send(GET)
        assert connection.read_response().status_code == 200


def test_expect_100_continue_is_answered(connect: Connect) -> None:
    connection = connect()

    connection.send(post(784, "Expect: 100-continue"))
    asked = connection.read_response()
    connection.send(DOT + GET)

    assert asked.status_code == 100
    assert [connection.read_response().status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(("length", "path", "status"), [(10**6, PREDICT, 413), (784, "/nowhere", 404)])
def test_expect_100_continue_may_be_refused(connect: Connect, length: int, path: str, status: int) -> None:
    """The connection closes: the body may follow or not."""
    connection = connect()

    connection.send(post(length, "Expect: 100-continue", path=path))

    assert connection.read_response().status_code == status
    assert connection.wait_closed()


@pytest.mark.parametrize("polite", [True, False])
def test_disconnect_within_a_body_counts_as_499(port: int, connect: Connect, polite: bool) -> None:
    """Closed or reset."""
    before, failed = counted(port, "499"), counted(port, "500")
    connection = connect()
    connection.send(post(784) + DOT[:100])
    if polite:
        connection.half_close()
        assert connection.wait_closed()
    else:
        linger = b"\x01\0\0\0\0\0\0\0"  # on, 0 seconds: the kernel sends a reset
        connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.__exit__()

    wait_until(lambda: counted(port, "499") == before + 1)

    assert counted(port, "500") == failed


def test_disconnect_after_a_request_affects_no_others(port: int, connect: Connect) -> None:
    for _ in range(20):
        with RawClient(port) as leaver:
            leaver.send(post(len(DOT)) + DOT)
        wait_until(lambda: is_alive(port))  # there are few places, and a leaver has one until it is answered
    connection = connect()
    connection.send(post(len(DOT)) + DOT)

    assert connection.read_response().status_code == 200


def test_prediction_in_progress_is_answered_at_shutdown(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = images(*range(60)).tobytes()
    with serving(toy_settings) as (number, server), RawClient(number) as connection:
        held = HeldPredictions(monkeypatch)
        connection.send(post(len(body)) + body)
        held.wait_for_prediction()
        server.should_exit = True
        time.sleep(TIMEOUT_S)  # in which it begins to stop
        held.release_all()

        assert connection.read_response().status_code == 200
        assert connection.wait_closed()


def test_incomplete_body_gets_503_at_shutdown(toy_settings: Settings) -> None:
    """Once the drain timeout is over."""
    with serving(toy_settings, 0.2, PATIENCE_S) as (number, server), RawClient(number) as connection:
        connection.send(post(len(DOT)) + DOT[:100])
        wait_until(lambda: in_flight(number) == 2)  # it has gone the usual way; the other one asks this
        server.should_exit = True

        problem(connection.read_response(), 503, "stopping")
