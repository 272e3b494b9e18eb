"""`service/http/server/connection.py`: what arrives on a real socket, nonsense included.

A real server listens on a free port of 127.0.0.1, with timeouts of tenths of seconds.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.datastructures import Headers

from service.app import create_app
from service.http.server import connection as connection_module
from service.http.server import connections
from service.server import Server
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT, QUADRANTS, images, npy, problem
from tests.service.http.running import PATIENCE_S, Held

MAX_HEAD_BYTES = 4096
MAX_CONNECTIONS = 8
TIMEOUT_S = 0.5
KEEP_ALIVE_S = 1

HOST = b"Host: test\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
DOT = toys.dot(2).tobytes()


@dataclass
class Reply:
    """One answer as it came over the wire."""

    status_code: int
    headers: Headers
    content: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        return json.loads(self.content)


class Connection:
    """One connection of a caller who does not keep to the rules."""

    def __init__(self, port: int, *, is_narrow: bool = False) -> None:
        """Connect; `is_narrow` lets the system keep as little as it can of what arrives."""
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_S)
        if is_narrow:  # before it connects: else what is on its way is lost again and again
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._socket.sendall(part)

    def drip(self, part: bytes, times: int) -> int:
        """Send a part again and again, a little apart, until the other side has had enough of it."""
        for sent in range(times):
            try:
                self._socket.sendall(part)
            except OSError:
                return sent
            time.sleep(TIMEOUT_S / 10)
        return times

    def flood(self, part: bytes, size: int) -> int:
        """Send a part again and again without a pause, until the other side has had enough of it."""
        for sent in range(0, size, len(part)):
            try:
                self._socket.sendall(part)
            except OSError:
                return sent
        return size

    def finish(self) -> None:
        """Say that nothing more will be sent; an answer can still come."""
        self._socket.shutdown(socket.SHUT_WR)

    def reply(self, of_head: bool = False) -> Reply:
        """Read one answer."""
        version, status, _ = self._file.readline().split(b" ", 2)
        assert version == b"HTTP/1.1"
        lines = iter(self._file.readline, b"\r\n")
        pairs = [line.strip().split(b": ", 1) for line in lines]
        headers = Headers(raw=[(name.lower(), value) for name, value in pairs])
        size = 0 if of_head or int(status) < 200 else int(headers["content-length"])
        return Reply(int(status), headers, self._file.read(size))

    def is_closed(self) -> bool:
        """Wait for the end; anything else that comes instead is none."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def rest(self) -> bytes:
        """Read whatever comes until the end."""
        try:
            return self._file.read()
        except ConnectionResetError:
            return b""


class Open(Protocol):
    """Opens a connection, with the arguments of `Connection`."""

    def __call__(self, *, is_narrow: bool = False) -> Connection: ...


@contextmanager
def serving(
    settings: Settings, drain_s: float = PATIENCE_S, body_timeout_s: float = TIMEOUT_S, **changed: object
) -> Iterator[tuple[int, Server]]:
    """Run a server whose patience is short; give its port too."""
    settings = settings.model_copy(
        update={
            "max_connections": MAX_CONNECTIONS,
            "max_connections_per_client": MAX_CONNECTIONS,
            "max_head_bytes": MAX_HEAD_BYTES,
            "header_timeout_s": TIMEOUT_S,
            "body_timeout_s": body_timeout_s,
            "write_timeout_s": TIMEOUT_S,
            "keep_alive_s": KEEP_ALIVE_S,
            "drain_timeout_s": drain_s,
            **changed,
        }
    )
    server = Server(create_app(settings), settings)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        number = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        yield number, server
        server.should_exit = True
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def running(toy_settings: Settings) -> Iterator[tuple[int, Server]]:
    """A server that all tests ask, and its port."""
    with serving(toy_settings) as found:
        yield found


@pytest.fixture(scope="module")
def port(running: tuple[int, Server]) -> int:
    """The port of the server that all tests ask."""
    return running[0]


@pytest.fixture
def connect(running: tuple[int, Server]) -> Iterator[Open]:
    """Open connections, all of which are closed after the test; the service must have survived it.

    It begins when the service has noticed that those of the test before are closed, as it takes few at once.
    """
    port, server = running
    opened: list[Connection] = []
    wait_until(lambda: len(server.connections) == 0)

    def connect(*, is_narrow: bool = False) -> Connection:
        opened.append(Connection(port, is_narrow=is_narrow))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.__exit__()
    wait_until(lambda: is_alive(port))


def is_alive(port: int) -> bool:
    with Connection(port) as connection:
        connection.send(GET)
        return connection.reply().status_code == 200


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def post(length: int | str | None, *headers: str, path: str = PREDICT) -> bytes:
    """The head of a POST of octets."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/octet-stream"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def chunks(body: bytes, size: int) -> bytes:
    """A body in chunks, with its end."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


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
def test_a_head_that_breaks_a_rule_is_refused(connect: Open, sent: bytes, status: int, kind: str) -> None:
    """
    Versions, Host and transfer codings, as RFC 9112 has them: sections 2.3, 3.2 and 6.1.
    """
    connection = connect()

    connection.send(sent)

    reply = connection.reply()
    problem(reply, status, kind)
    assert reply.headers["connection"] == "close"
    assert connection.is_closed()


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
def test_what_is_no_http_gets_a_problem_and_the_connection_ends(connect: Open, sent: bytes) -> None:
    """
    Other protocols, lengths that lie, two lengths at once, chunks without sizes.
    """
    connection = connect()

    connection.send(sent)

    reply = connection.reply()
    assert "should be an HTTP/1.1 request" in problem(reply, 400, "broken-http")
    assert reply.headers["connection"] == "close"
    assert connection.is_closed()


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
def test_arbitrary_bytes_never_take_the_service_down(port: int, start: bytes, sent: bytes) -> None:
    """
    Alone, or in the middle or after the end of a request; whatever is answered is no error of ours.
    """
    with Connection(port) as connection:
        connection.send(start, sent)
        connection.finish()
        answer = connection.rest()

    assert not answer or answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4"))
    assert is_alive(port)


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /livez HTTP/1.1\r\n", GET[:-2], GET + b"GET /li"])
def test_a_head_that_never_ends_ends_the_connection(connect: Open, sent: bytes) -> None:
    """
    Also if nothing was sent at all, and also the second one of a connection.
    """
    connection = connect()

    connection.send(sent)
    if sent.startswith(GET):
        assert connection.reply().status_code == 200

    assert connection.is_closed()


def test_a_head_that_arrives_byte_by_byte_gets_no_more_time(connect: Open) -> None:
    """
    The clock is not set back by every byte.
    """
    connection = connect()
    connection.send(b"GET /livez HTTP/1.1\r\nA: ")

    sent = connection.drip(b"a", 100)

    assert sent < 100
    assert connection.is_closed()


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
def test_a_head_that_is_too_large_is_refused(connect: Open, parts: list[bytes]) -> None:
    """
    In one piece or in many, with or without its end, the line or the headers.
    """
    connection = connect()

    connection.send(*parts)

    assert "at most 4,096 bytes" in problem(connection.reply(), 431, "head-too-large")
    assert connection.is_closed()


def test_the_second_head_of_a_connection_is_measured_too(connect: Open) -> None:
    """
    And the first does not count towards it.
    """
    connection = connect()
    large = GET[:-2] + b"A: " + b"a" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n"

    connection.send(large)
    first = connection.reply()
    connection.send(large)
    second = connection.reply()
    connection.send(large[:-2], b"B: " + b"b" * 400 + b"\r\n\r\n")
    third = connection.reply()

    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 431]


def test_one_connection_too_many_is_turned_away_and_later_ones_are_welcome(
    running: tuple[int, Server], connect: Open
) -> None:
    """
    Where none is idle; the others are not disturbed.
    """
    inside = [connect() for _ in range(MAX_CONNECTIONS)]
    for connection in inside:
        connection.send(GET)
        assert connection.reply().status_code == 200
        connection.send(GET[:-2])
    wait_until(lambda: not any(other.is_idle() for other in running[1].connections.all()))

    outside = connect()
    refused = outside.reply()
    assert outside.is_closed()
    inside[0].send(GET[-2:])
    undisturbed = inside[0].reply()
    inside[0].send(GET[:-2])
    wait_until(lambda: not any(other.is_idle() for other in running[1].connections.all()))
    inside[1].finish()
    assert inside[1].is_closed()
    wait_until(lambda: len(running[1].connections) == MAX_CONNECTIONS - 1)
    later = connect()
    later.send(GET)

    detail = problem(refused, 503, "too-many-connections")
    assert f"at most {MAX_CONNECTIONS}" in detail
    assert int(refused.headers["retry-after"]) in range(1, 4)
    assert undisturbed.status_code == 200
    assert later.reply().status_code == 200


def test_a_client_that_was_turned_away_does_not_keep_its_connection(
    running: tuple[int, Server], connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It has no place, so no limit and no sweep knows of it: it ends by itself.
    """
    monkeypatch.setattr(connection_module, "_LINGER_S", 0.1)
    for _ in range(MAX_CONNECTIONS):
        connect().send(GET[:-2])
    wait_until(lambda: not any(other.is_idle() for other in running[1].connections.all()))
    turned_away = [connect() for _ in range(20)]
    for connection in turned_away:
        problem(connection.reply(), 503, "too-many-connections")

    wait_until(lambda: running[1].connections.refused == 0)


@pytest.mark.parametrize("path", [b"/livez%0a", b"/livez%0D", b"/v1/models%0a"])
def test_a_path_with_a_line_end_is_no_path(connect: Open, path: bytes) -> None:
    """
    A proxy that closes a path would let its twin with a line end pass.
    """
    connection = connect()

    connection.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")

    problem(connection.reply(), 400, "bad-target")


def test_the_oldest_idle_connection_makes_room(
    running: tuple[int, Server], connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A new client is worth more than one that is silent.
    """
    monkeypatch.setattr(connections, "_IDLE_S", 0.0)
    inside = [connect() for _ in range(MAX_CONNECTIONS)]
    for connection in inside:
        connection.send(GET)
        assert connection.reply().status_code == 200
    wait_until(lambda: all(other.is_idle() for other in running[1].connections.all()))

    newest = connect()
    newest.send(GET)

    assert newest.reply().status_code == 200
    assert inside[0].is_closed()
    inside[1].send(GET)
    assert inside[1].reply().status_code == 200


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
def test_a_caller_who_has_said_everything_is_still_answered(connect: Open, sent: bytes) -> None:
    """
    A connection closed in one direction is open in the other, whoever computes the answer.
    """
    connection = connect()

    connection.send(sent)
    connection.finish()

    assert connection.reply().status_code == 200
    assert connection.is_closed()


def test_requests_sent_together_are_answered_in_order(connect: Open) -> None:
    """
    Slow ones and quick ones, bodies and none.
    """
    connection = connect()
    nowhere = GET.replace(b"livez", b"nowhere")
    slow = post(784, path=f"{PREDICT}?prepare=mnist") + DOT

    connection.send(slow + GET + nowhere + post(784) + DOT + GET)

    assert [connection.reply().status_code for _ in range(5)] == [200, 200, 404, 200, 200]


def test_requests_sent_together_by_a_caller_who_has_said_everything_are_all_answered(connect: Open) -> None:
    """
    Not only the first of them.
    """
    connection = connect()
    slow = post(784, path=f"{PREDICT}?prepare=mnist") + DOT

    connection.send(slow + GET + slow)
    connection.finish()

    assert [connection.reply().status_code for _ in range(3)] == [200, 200, 200]
    assert connection.is_closed()


def test_an_answer_to_head_has_no_body_on_the_wire(connect: Open) -> None:
    """
    The next answer follows at once.
    """
    connection = connect()

    connection.send(
        GET.replace(b"GET", b"HEAD") + GET.replace(b"GET", b"HEAD").replace(b"livez", b"nowhere") + GET
    )

    head, lost = connection.reply(of_head=True), connection.reply(of_head=True)
    get = connection.reply()
    assert (head.status_code, lost.status_code, get.status_code) == (200, 404, 200)
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert int(lost.headers["content-length"]) > 0


@pytest.mark.parametrize("drip", [False, True])
@pytest.mark.parametrize(
    ("head", "part"),
    [
        (post(784), b"\0"),
        (post(None, "Transfer-Encoding: chunked"), b"1\r\n\0\r\n"),
        (post(None, "Transfer-Encoding: chunked") + b"310\r\n", b"\0"),
        (post(None, "Transfer-Encoding: chunked") + chunks(DOT, 784)[:-2], b"A: b\r\n"),
    ],
)
def test_a_body_that_does_not_arrive_in_time_gets_a_408(
    connect: Open, head: bytes, part: bytes, drip: bool
) -> None:
    """
    Whether it stops or arrives byte by byte, with or without a length, and also if its trailers do.
    """
    connection = connect()

    connection.send(head, part)
    if drip:
        assert connection.drip(part, 60) < 60

    reply = connection.reply()
    problem(reply, 408, "body-timeout")
    assert reply.headers["connection"] == "close"
    assert connection.is_closed()


@pytest.mark.parametrize("trailers", [b"A: " + b"a" * 100 + b"\r\n", b"a" * 1000])
def test_trailers_are_measured_as_a_head_is(connect: Open, trailers: bytes) -> None:
    """
    Headers may follow a body in chunks; they too would fill the memory if nobody counted them.
    """
    connection = connect()

    connection.send(post(None, "Transfer-Encoding: chunked") + chunks(DOT, 784)[:-2] + b"A: ")
    sent = connection.flood(trailers, 20 * MAX_HEAD_BYTES)

    reply = connection.reply()
    assert reply.status_code in (400, 408, 413, 431), (reply, sent)  # 408 on a machine that is slow
    assert connection.is_closed()


def test_a_header_after_the_body_is_none_of_the_requests_headers(connect: Open) -> None:
    """
    A content type that comes as a trailer comes too late.
    """
    connection = connect()
    head = post(None, "Transfer-Encoding: chunked").replace(b"Content-Type", b"X-Other")

    connection.send(head + chunks(DOT, 784)[:-2] + b"Content-Type: application/octet-stream\r\n\r\n")

    problem(connection.reply(), 415, "unsupported-media-type")


def test_an_offer_of_another_protocol_is_passed_over(connect: Open) -> None:
    """
    Java's client and `curl --http2` offer HTTP/2 with their first request, and mean its body all the same.
    """
    connection = connect()
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")

    connection.send(post(784, *offer) + DOT)

    assert connection.reply().json()["predictions"][0]["prepared"]


def test_many_pipelined_requests_are_answered_in_order(connect: Open) -> None:
    """
    However many come at once: few of them are parsed ahead, and the rest waits as bytes.
    """
    connection = connect()
    count = 2000
    requests = b"".join(
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-ID: n%d\r\n\r\n" % number for number in range(count)
    )
    sender = threading.Thread(target=connection.send, args=(requests,))

    sender.start()

    assert [connection.reply().headers["x-request-id"] for _ in range(count)] == [
        f"n{number}" for number in range(count)
    ]
    sender.join()


def test_a_caller_who_takes_nothing_of_a_large_answer_is_cut_off(connect: Open) -> None:
    """
    Its answer would stay in memory, and its place taken, for as long as it likes.
    """
    connection = connect()
    many = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"

    sent = connection.drip(many * 60, 200)

    assert sent < 200


def counted(port: int, code: str) -> float:
    """How many predictions ended with a code."""
    with Connection(port) as connection:
        connection.send(GET.replace(b"livez", b"metrics"))
        text = connection.reply().content.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "inkling_requests_total" and sample.labels["code"] == code
    )


@pytest.mark.parametrize("polite", [True, False])
def test_a_caller_who_leaves_in_the_middle_of_a_body_is_recorded_as_such(
    port: int, connect: Open, polite: bool
) -> None:
    """
    Whether the connection is closed or torn down.
    """
    before, failed = counted(port, "499"), counted(port, "500")
    connection = connect()
    connection.send(post(784) + DOT[:100])
    if polite:
        connection.finish()
        assert connection.is_closed()
    else:
        linger = b"\x01\0\0\0\0\0\0\0"  # on, 0 seconds: the kernel sends a reset
        connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.__exit__()

    wait_until(lambda: counted(port, "499") == before + 1)

    assert counted(port, "500") == failed


def test_a_body_longer_than_its_length_is_no_second_request(connect: Open) -> None:
    """
    What follows is judged as a request, and is none.
    """
    connection = connect()

    connection.send(post(784) + DOT)
    assert connection.reply().status_code == 200
    connection.send(DOT)

    problem(connection.reply(), 400, "broken-http")
    assert connection.is_closed()


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
def test_an_early_refusal_can_be_read_by_a_caller_who_is_still_sending(
    connect: Open, chunked: bool, path: str, status: int, kind: str
) -> None:
    """
    One answer and no other; where the rest of the body is known and short, the connection takes the next
    request.
    """
    connection = connect()
    body = bytes(1_000_000)
    head = post(None, "Transfer-Encoding: chunked", path=path) if chunked else post(len(body), path=path)
    sent = chunks(body, 20_000) if chunked else body

    connection.send(head)
    for start in range(0, len(sent), 50_000):
        connection.send(sent[start : start + 50_000])
    refused = connection.reply()

    problem(refused, status, kind)
    if chunked:
        assert refused.headers["connection"] == "close"
    else:
        connection.send(GET)
        assert connection.reply().status_code == 200


def test_a_caller_who_goes_on_sending_after_a_refusal_is_not_listened_to_for_ever(connect: Open) -> None:
    """
    The rest of the body has as much time as a head.
    """
    connection = connect()
    connection.send(post(10**9))
    problem(connection.reply(), 413, "payload-too-large")

    sent = connection.drip(bytes(1000), 100)

    assert sent < 100
    assert connection.is_closed()


def test_a_caller_who_asks_first_is_told_to_go_on(connect: Open) -> None:
    """
    `Expect: 100-continue`.
    """
    connection = connect()

    connection.send(post(784, "Expect: 100-continue"))
    asked = connection.reply()
    connection.send(DOT + GET)

    assert asked.status_code == 100
    assert [connection.reply().status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(("length", "path", "status"), [(10**6, PREDICT, 413), (784, "/nowhere", 404)])
def test_a_caller_who_asks_first_may_be_refused_before_sending(
    connect: Open, length: int, path: str, status: int
) -> None:
    """
    No 100; the connection ends, as nobody knows whether the body follows.
    """
    connection = connect()

    connection.send(post(length, "Expect: 100-continue", path=path))

    assert connection.reply().status_code == status
    assert connection.is_closed()


def test_http_1_0_is_answered(connect: Open) -> None:
    """
    The connection ends after it.
    """
    connection = connect()

    connection.send(b"GET /livez HTTP/1.0\r\n\r\n")

    assert connection.reply().content == b'{"status":"live"}'
    assert connection.is_closed()


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
def test_odd_but_legal_requests_are_answered(connect: Open, sent: bytes) -> None:
    """
    Whole addresses, odd hosts, offers of other protocols, empty lines in front.
    """
    connection = connect()

    connection.send(sent)

    assert connection.reply().content == b'{"status":"live"}'


@pytest.mark.parametrize("host", [b"[", b"a b", b"/x?y#z", b"", b"\xff"])
def test_an_odd_host_does_not_spoil_a_problem(connect: Open, host: bytes) -> None:
    """
    The problem names the path that was asked for.
    """
    connection = connect()

    connection.send(b"GET /nowhere HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")

    reply = connection.reply()
    problem(reply, 404, "not-found")
    assert reply.json()["instance"] == "/nowhere"


def test_the_asterisk_is_no_path_of_ours(connect: Open) -> None:
    """
    `OPTIONS *` asks about the whole server.
    """
    connection = connect()

    connection.send(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n")

    problem(connection.reply(), 404, "not-found")


def test_a_caller_who_does_not_read_does_not_disturb_others(port: int, connect: Open) -> None:
    """
    Dozens of large answers wait for him; everybody else is served.
    """
    connection = connect()
    weights = f"GET {QUADRANTS}/weights/output HTTP/1.1\r\nHost: test\r\n\r\n".encode()

    connection.send(weights * 40)

    assert all(is_alive(port) for _ in range(5))


def test_an_array_in_pieces_is_put_together(connect: Open) -> None:
    """
    However the network cuts it.
    """
    connection = connect()
    body = npy(toys.dot(3))
    sent = post(len(body)).replace(b"octet-stream", b"x-npy") + body

    for start in range(0, len(sent), 97):
        connection.send(sent[start : start + 97])

    assert connection.reply().json()["predictions"][0]["label"] == toys.QUARTERS[0]


def test_what_comes_while_an_answer_is_due_is_answered_after_it(connect: Open) -> None:
    """
    Also where the next request comes in pieces, and on whichever way either goes.
    """
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
        replies = [connection.reply() for _ in range(expected)]

        assert [reply.status_code for reply in replies] == [200] * expected


def test_a_connection_is_kept_as_long_as_it_is_used(connect: Open) -> None:
    """
    A little longer than the time that one may lie idle, and then closed.
    """
    connection = connect()
    for _ in range(6):
        connection.send(post(len(DOT)) + DOT)
        assert connection.reply().status_code == 200
        time.sleep(KEEP_ALIVE_S / 4)

    assert connection.is_closed()


def test_who_leaves_after_asking_disturbs_nobody(port: int, connect: Open) -> None:
    """
    With requests that come in one piece; the next caller is answered.
    """
    for _ in range(20):
        with Connection(port) as leaver:
            leaver.send(post(len(DOT)) + DOT)
        wait_until(lambda: is_alive(port))  # there are few places, and a leaver has one until it is answered
    connection = connect()
    connection.send(post(len(DOT)) + DOT)

    assert connection.reply().status_code == 200


def test_what_is_asked_on_the_short_way_is_answered_before_the_end(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Long work when the server stops; then the connection ends, and with it the server.
    """
    body = images(*range(60)).tobytes()
    with serving(toy_settings) as (number, server), Connection(number) as connection:
        held = Held(monkeypatch)
        connection.send(post(len(body)) + body)
        held.wait_for_one()
        server.should_exit = True
        time.sleep(TIMEOUT_S)  # in which it begins to stop
        held.let_go()

        assert connection.reply().status_code == 200
        assert connection.is_closed()


def test_an_answer_may_take_longer_than_a_connection_lies_idle(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also the second one, for which the time since the first has begun.
    """
    body = images(*range(60)).tobytes()
    keep_alive_s = 0.2
    with serving(toy_settings, keep_alive_s=keep_alive_s) as (number, _), Connection(number) as connection:
        connection.send(post(len(DOT)) + DOT)
        assert connection.reply().status_code == 200
        held = Held(monkeypatch)
        connection.send(post(len(body)) + body)
        held.wait_for_one()
        time.sleep(4 * keep_alive_s)
        held.let_go()

        assert connection.reply().status_code == 200


def test_who_takes_no_answers_on_the_short_way_is_cut_off(connect: Open) -> None:
    """
    Answers of a megabyte each are not piled up: reading stops, and after a while the connection ends.
    """
    connection = connect()
    path = PREDICT.replace("predict", "probabilities") + "?include=seen"
    body = images(*range(1, 21)).tobytes()
    whole = post(len(body), path=path) + body

    sent = connection.flood(whole, 40_000_000)

    assert sent < 40_000_000


def test_half_a_head_after_a_request_is_finished_by_what_comes_next(connect: Open) -> None:
    """
    Whatever that looks like by itself: here a whole request within a header.
    """
    for first in (GET, post(len(DOT)) + DOT):
        connection = connect()
        connection.send(first + b"POST /v1/models/nope/predict HTTP/1.1\r\nX-Any: ")
        assert connection.reply().status_code == 200
        connection.send(post(len(DOT)) + DOT)

        problem(connection.reply(), 404, "unknown-model")


def test_half_a_head_after_a_request_gets_no_more_time(connect: Open) -> None:
    connection = connect()
    connection.send(post(len(DOT)) + DOT + b"GET /livez HTTP/1.1\r\nA: ")
    assert connection.reply().status_code == 200

    assert connection.is_closed()


@pytest.mark.parametrize("finishes", [False, True])
def test_a_connection_ends_after_an_answer_that_did_not_fit_at_once(connect: Open, finishes: bool) -> None:
    """
    As it does after others: idle for too long, or at once if the caller has sent everything.
    """
    body = images(*range(1, 61)).tobytes()
    path = PREDICT.replace("predict", "probabilities") + "?include=seen"
    connection = connect(is_narrow=True)
    connection.send(post(len(body), path=path) + body)
    if finishes:
        connection.finish()
    time.sleep(TIMEOUT_S / 5)  # in which the answer fills what the system keeps

    assert connection.reply().status_code == 200
    assert connection.is_closed()


def test_a_url_without_a_path_disturbs_nobody(port: int, connect: Open) -> None:
    """
    Beside and after a prediction; it is answered itself.
    """
    evil = b"POST http://x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    connection, other = connect(), connect()
    other.send(post(len(DOT)) + DOT)
    connection.send(post(len(DOT)) + DOT, evil)

    assert connection.reply().status_code == 200
    problem(connection.reply(), 405, "wrong-method")
    assert other.reply().status_code == 200
    wait_until(lambda: counted(port, "200") >= 2)


def test_a_body_that_does_not_come_before_the_end_is_told_so(toy_settings: Settings) -> None:
    """
    Once the time to drain is over: a problem like any other, not the server's own words.
    """
    with serving(toy_settings, 0.2, PATIENCE_S) as (number, server), Connection(number) as connection:
        connection.send(post(len(DOT)) + DOT[:100])
        wait_until(lambda: in_flight(number) == 2)  # it has gone the usual way; the other one asks this
        server.should_exit = True

        problem(connection.reply(), 503, "stopping")


def in_flight(port: int) -> float:
    with Connection(port) as connection:
        connection.send(GET.replace(b"livez", b"metrics"))
        text = connection.reply().content.decode()
    return float(text.partition("\ninkling_requests_in_flight ")[2].split()[0])
