"""`service/http/server/parser.py`: requests do not depend on how their bytes are divided."""

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.server.parser import RequestParser
from service.http.server.request import HeadCache, Refused, Request
from tests.examples import examples

MAX_HEAD = 1024
GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"


@dataclass
class Log:
    """Notes what a parser finds, in its order."""

    events: list[tuple[str, str]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def on_request(self, request: Request) -> None:
        self.requests.append(request)
        self.events.append(("request", request.path))

    def on_body(self, request: Request, piece: bytes) -> None:
        assert not request.is_complete
        if self.events[-1][0] != "body":
            self.events.append(("body", ""))
        self.events[-1] = ("body", self.events[-1][1] + piece.decode())
        assert request.received == len(self.events[-1][1])

    def on_complete(self, request: Request) -> None:
        assert request.is_complete
        self.events.append(("complete", request.path))


def feed(*pieces: bytes, max_head_bytes: int = MAX_HEAD) -> Log:
    """Parse pieces to their end."""
    log = Log()
    parser = RequestParser(log, max_head_bytes, HeadCache())
    for piece in pieces:
        rest = piece
        for _ in range(len(piece) + 1):
            if not rest:
                break
            rest = parser.feed(rest)
    return log


STREAMS = {
    "a head": GET,
    "a body": b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "chunks and trailers": CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n",
    "pipelined": GET * 3,
    "a body and a head": b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + GET,
    "empty lines before": b"\r\n\r\n" + GET,
    "an offer": GET[:-2] + UPGRADE + b"\r\n" + GET,
    "an offer with a body": b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    + UPGRADE
    + b"\r\nhello"
    + GET,
    "an offer with chunks": CHUNKED[:-2] + UPGRADE + b"\r\n3\r\nabc\r\n0\r\n\r\n" + GET,
    "offers in a row": (GET[:-2] + UPGRADE + b"\r\n") * 3 + GET,
    "an offer after others": GET + CHUNKED + b"1\r\na\r\n0\r\n\r\n" + GET[:-2] + UPGRADE + b"\r\n" + GET,
}


@pytest.mark.parametrize("name", STREAMS)
def test_requests_do_not_depend_on_how_bytes_are_divided(name: str) -> None:
    """Divided at every byte, and into single bytes."""
    stream = STREAMS[name]
    whole = feed(stream)

    assert whole.events[-1][0] == "complete"
    assert all(request.is_complete for request in whole.requests)
    for at in range(1, len(stream)):
        assert feed(stream[:at], stream[at:]).events == whole.events
    assert feed(*[stream[at : at + 1] for at in range(len(stream))]).events == whole.events


def test_body_after_upgrade_is_parsed() -> None:
    log = feed(STREAMS["an offer with a body"])

    assert log.events == [
        ("request", "/b"),
        ("body", "hello"),
        ("complete", "/b"),
        ("request", "/a"),
        ("complete", "/a"),
    ]


def test_trailers_are_not_headers() -> None:
    (request,) = feed(STREAMS["chunks and trailers"]).requests

    assert b"t" not in request.head.first_headers
    assert [name for name, _ in request.head.headers] == [b"host", b"transfer-encoding"]


@examples(200)
@given(data=st.binary(max_size=200) | st.text("GETPOS/ HTP1.0:\r\n", max_size=200).map(str.encode))
def test_arbitrary_bytes_are_requests_or_refused(data: bytes) -> None:
    """No other error is raised."""
    with suppress(Refused):
        feed(data)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "http-version"),
        (b"hello\r\n", "broken-http"),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "broken-http"),  # a folded header
        (b"GET / HTTP/1.1\nHost: x\n\n", "broken-http"),
        (CHUNKED + b"zz\r\n", "broken-http"),
        (CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n", "broken-http"),
        (CHUNKED.replace(b"chunked", b"gzip"), "unknown-transfer-coding"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD, "head-too-large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * MAX_HEAD + b"\r\n\r\n", "head-too-large"),
        (b"\r\n" * MAX_HEAD, "head-too-large"),
    ],
)
def test_invalid_requests_are_refused(sent: bytes, kind: str) -> None:
    with pytest.raises(Refused) as caught:
        feed(sent)

    assert caught.value.problem.kind == kind


@pytest.mark.parametrize("times", [1, 2, 5])
def test_size_limit_applies_to_each_head(times: int) -> None:
    """Bodies do not count. One byte more is refused."""
    start = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nA: "
    names = len(b"/b") + sum(len(line) for line in start.split(b"\r\n")[1:]) + 2 * 2  # and their line ends
    fill = b"a" * (MAX_HEAD - names - 2)
    one = start + fill + b"\r\n\r\n" + b"x" * 5000

    assert len(feed(one * times).requests) == times
    with pytest.raises(Refused, match="at most 1,024 bytes"):
        feed(one * (times - 1), (start + fill + b"a" * 40 + b"\r\n\r\n"))


def test_chunk_framing_has_a_limit() -> None:
    """Chunks of one byte, or with long extensions, are refused."""
    good = CHUNKED + b"".join(b"8\r\n12345678\r\n" for _ in range(1000)) + b"0\r\n\r\n"
    tiny = CHUNKED + b"1\r\na\r\n" * 2000
    extended = CHUNKED + (b"1;" + b"x" * 500 + b"\r\na\r\n") * 10

    assert feed(*cut(good)).events[-1] == ("complete", "/c")
    for bad in (tiny, extended):
        with pytest.raises(Refused) as caught:
            feed(*cut(bad))
        assert caught.value.problem.kind == "too-many-pieces"


def test_trailers_count_as_framing() -> None:
    with pytest.raises(Refused) as caught:
        feed(*cut(CHUNKED + b"1\r\na\r\n0\r\n" + b"A: b\r\n" * 1000))

    assert caught.value.problem.kind == "too-many-pieces"


def cut(data: bytes, size: int = 100) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_errors_of_callbacks_are_raised() -> None:
    """They are not reported as invalid input."""

    class Broken(Log):
        def on_request(self, request: Request) -> None:
            raise ZeroDivisionError(request.path)

    with pytest.raises(Exception) as caught:  # noqa: PT011 - httptools' own
        RequestParser(Broken(), MAX_HEAD, HeadCache()).feed(GET)

    assert not isinstance(caught.value, Refused)
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_start_of_an_incomplete_head_is_recorded() -> None:
    """From its first byte to its last."""
    parser = RequestParser(Log(), MAX_HEAD, HeadCache())

    assert not parser.head_began
    parser.feed(GET[:1])
    began = parser.head_began
    assert began
    parser.feed(GET[1:5])
    assert parser.head_began == began
    parser.feed(GET[5:])
    assert not parser.head_began
    assert parser.request is not None
    assert parser.request.started == began
