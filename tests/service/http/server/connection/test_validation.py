"""Requests over sockets: validity, size of heads and trailers, unusual forms."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.service.http.bodies import problem
from tests.service.http.server.connection.client import (
    DOT,
    GET,
    HOST,
    MAX_HEAD_BYTES,
    Connect,
    RawClient,
    chunks,
    counted,
    is_alive,
    post,
    wait_until,
)


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", 505, "http-version"),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "http-version"),
        (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 505, "http-version"),
        (b"GET /\r\n\r\n", 505, "http-version"),  # HTTP/0.9
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-host"),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "bad-host"),
        (b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400, "bad-host"),
        (b"CONNECT test:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-target"),
        (post(None, "Transfer-Encoding: gzip") + DOT, 501, "unknown-transfer-coding"),
        (post(None, "Transfer-Encoding: gzip, chunked") + chunks(DOT, 100), 501, "unknown-transfer-coding"),
        (post(None, "Transfer-Encoding: chunked, gzip") + chunks(DOT, 100), 501, "unknown-transfer-coding"),
        (post(None, "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n", 501, "unknown-transfer-coding"),
        (
            post(None, "Transfer-Encoding: gzip", "Transfer-Encoding: chunked") + chunks(DOT, 100),
            501,
            "unknown-transfer-coding",
        ),
        (
            post(None, "Transfer-Encoding: chunked").replace(b"1.1", b"1.0") + chunks(DOT, 100),
            400,
            "bad-framing",
        ),
    ],
)
def test_head_that_violates_rfc_9112_is_refused(
    connect: Connect, sent: bytes, status: int, kind: str
) -> None:
    """Version, Host and transfer coding: RFC 9112, sections 2.3, 3.2 and 6.1."""
    connection = connect()

    connection.send(sent)

    response = connection.read_response()
    problem(response, status, kind)
    assert response.headers["connection"] == "close"
    assert connection.wait_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03",  # the beginning of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: test\r\n\r\n",
        b"BREW /livez HTTP/1.1\r\n\r\n",
        post(-1),
        post("x"),
        post("9" * 30),
        post("784, 785"),
        post(784, "Content-Length: 785") + DOT,
        post(784, "Transfer-Encoding: chunked") + chunks(DOT, 100),
        post(None, "Transfer-Encoding : chunked") + chunks(DOT, 100),
        post(None, "Transfer-Encoding: chunked") + b"zz\r\n",
        post(None, "Transfer-Encoding: chunked") + b"-1\r\n",
        post(None, "Transfer-Encoding: chunked") + b"f" * 20 + b"\r\n",
        post(None, "Transfer-Encoding: chunked") + b"1\r\nab\r\n",
    ],
)
def test_input_that_is_not_http_is_refused(connect: Connect, sent: bytes) -> None:
    """Other protocols, invalid or repeated lengths, chunks without sizes."""
    connection = connect()

    connection.send(sent)

    response = connection.read_response()
    assert "should be an HTTP/1.1 request" in problem(response, 400, "broken-http")
    assert response.headers["connection"] == "close"
    assert connection.wait_closed()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    start=st.sampled_from(
        [b"", GET, GET[:-2], post(784), post(784) + DOT, post(None, "Transfer-Encoding: chunked")]
    ),
    sent=st.binary(max_size=60) | st.text("GETPOS/ HTP1.0:\r\n", max_size=60).map(str.encode),
)
@example(start=b"", sent=b"")
def test_arbitrary_bytes_do_not_stop_the_service(port: int, start: bytes, sent: bytes) -> None:
    """Alone, and within or after a request. No response is a 5xx."""
    with RawClient(port) as connection:
        connection.send(start, sent)
        connection.half_close()
        answer = connection.read_to_end()

    assert not answer or answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4"))
    assert is_alive(port)


@pytest.mark.parametrize(
    "parts",
    [
        [GET[:-2] + b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n"],
        [GET[:-2] + b"A: " + b"a" * MAX_HEAD_BYTES],
        [b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n"],
        [b"GET /" + b"a" * MAX_HEAD_BYTES],
        [GET[:-2], *[b"A: " + b"a" * 1000 + b"\r\n"] * 5],
        [GET[:-2], *[b"A: b\r\n" * 100] * 7],
        [post(784)[:-2] + b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n" + DOT],
    ],
)
def test_head_above_the_size_limit_is_refused(connect: Connect, parts: list[bytes]) -> None:
    connection = connect()

    connection.send(*parts)

    assert "at most 4,096 bytes" in problem(connection.read_response(), 431, "head-too-large")
    assert connection.wait_closed()


def test_size_limit_applies_to_each_head(connect: Connect) -> None:
    connection = connect()
    large = GET[:-2] + b"A: " + b"a" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n"

    connection.send(large)
    first = connection.read_response()
    connection.send(large)
    second = connection.read_response()
    connection.send(large[:-2], b"B: " + b"b" * 400 + b"\r\n\r\n")
    third = connection.read_response()

    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 431]


@pytest.mark.parametrize("path", [b"/livez%0a", b"/livez%0D", b"/v1/models%0a"])
def test_path_with_a_line_break_is_refused(connect: Connect, path: bytes) -> None:
    """A proxy that denies a path would allow the same path with a line break."""
    connection = connect()

    connection.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")

    problem(connection.read_response(), 400, "bad-target")


@pytest.mark.parametrize("trailers", [b"A: " + b"a" * 100 + b"\r\n", b"a" * 1000])
def test_trailers_have_a_size_limit(connect: Connect, trailers: bytes) -> None:
    connection = connect()

    connection.send(post(None, "Transfer-Encoding: chunked") + chunks(DOT, 784)[:-2] + b"A: ")
    sent = connection.send_until_closed(trailers, 20 * MAX_HEAD_BYTES)

    response = connection.read_response()
    assert response.status_code in (400, 408, 413, 431), (response, sent)  # 408 on a machine that is slow
    assert connection.wait_closed()


def test_trailers_are_ignored(connect: Connect) -> None:
    connection = connect()
    head = post(None, "Transfer-Encoding: chunked").replace(b"Content-Type", b"X-Other")

    connection.send(head + chunks(DOT, 784)[:-2] + b"Content-Type: application/octet-stream\r\n\r\n")

    problem(connection.read_response(), 415, "unsupported-media-type")


def test_upgrade_is_ignored(connect: Connect) -> None:
    """Java's client and `curl --http2` offer HTTP/2 in their first request, which has a body."""
    connection = connect()
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")

    connection.send(post(784, *offer) + DOT)

    assert connection.read_response().json()["predictions"][0]["prepared"]


def test_bytes_beyond_content_length_are_refused(connect: Connect) -> None:
    """They are parsed as the next request."""
    connection = connect()

    connection.send(post(784) + DOT)
    assert connection.read_response().status_code == 200
    connection.send(DOT)

    problem(connection.read_response(), 400, "broken-http")
    assert connection.wait_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET http://test/livez HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a/b?c#d\r\n\r\n",
        b"\r\n\r\n" + GET,
        GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        GET[:-2] + b"X-Request-ID: \xff\xfe\r\n\r\n",
    ],
)
def test_unusual_valid_requests_are_answered(connect: Connect, sent: bytes) -> None:
    """Absolute targets, unusual hosts, offers of other protocols, leading empty lines."""
    connection = connect()

    connection.send(sent)

    assert connection.read_response().content == b'{"status":"live"}'


@pytest.mark.parametrize("host", [b"[", b"a b", b"/x?y#z", b"", b"\xff"])
def test_problem_names_the_path_whatever_the_host(connect: Connect, host: bytes) -> None:
    connection = connect()

    connection.send(b"GET /nowhere HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")

    response = connection.read_response()
    problem(response, 404, "not-found")
    assert response.json()["instance"] == "/nowhere"


def test_options_asterisk_is_not_found(connect: Connect) -> None:
    connection = connect()

    connection.send(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n")

    problem(connection.read_response(), 404, "not-found")


def test_url_without_a_path_gets_405(port: int, connect: Connect) -> None:
    """Predictions before it and on another connection are answered."""
    evil = b"POST http://x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    connection, other = connect(), connect()
    other.send(post(len(DOT)) + DOT)
    connection.send(post(len(DOT)) + DOT, evil)

    assert connection.read_response().status_code == 200
    problem(connection.read_response(), 405, "wrong-method")
    assert other.read_response().status_code == 200
    wait_until(lambda: counted(port, "200") >= 2)
