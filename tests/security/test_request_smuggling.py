"""Request smuggling: the service and any other parser agree where a request ends.

Promised: what a connection's bytes mean does not depend on how they are cut into packets. Every request below
is sent cut at every byte, alone and before another request, and the responses are the same. Where its length
is not clear by the letter of RFC 9112, it is refused, and nothing after it is ever taken for a request. Where
it is clear, h11, an independent parser, finds the same requests with the same bodies.

Not promised: that a request which is refused by its head before its body has arrived leaves the connection
open. Then the connection closes, and what follows is not answered.
"""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.app import App, create_app
from service.settings import Settings
from tests.examples import examples
from tests.processes import PATIENCE_S, Process, running
from tests.security.conftest import Record
from tests.security.in_process import Echo, Outcome, Server, exchange, parse

HOST = b"Host: test\r\n"
SHORT = b'{"image": 1}'  # a body that is read and then refused: 400 of the application's


def get(
    *lines: bytes, target: bytes = b"/livez", method: bytes = b"GET", version: bytes = b"HTTP/1.1"
) -> bytes:
    """Return the head of a request with a Host, and these lines."""
    return b"\r\n".join([b"%b %b %b" % (method, target, version), b"Host: test", *lines, b"", b""])


def post(*lines: bytes, body: bytes = b"", target: bytes = b"/v1/models/quadrants/predict") -> bytes:
    """Return a request with a body framed as the header lines say."""
    return get(b"Content-Type: application/json", *lines, target=target, method=b"POST") + body


def chunks(*parts: bytes, trailers: bytes = b"") -> bytes:
    """Return a chunked body."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return framed + b"0\r\n" + trailers + b"\r\n"


LENGTH = b"Content-Length: %d" % len(SHORT)
CHUNKED = b"Transfer-Encoding: chunked"
INNER = get(target=b"/smuggled")


@dataclass(frozen=True)
class Case:
    """Sent bytes, and their expected result.

    Attributes:
        sent: The bytes.
        statuses: Of the responses of the application. For the echo, which knows no paths and bodies, all
            responses but refusals of the connection are 200.
        ends: Whether the connection closes after them.
        methods: Methods of the requests.
    """

    sent: bytes
    statuses: tuple[int, ...]
    ends: bool = False
    methods: tuple[str, ...] = ("?", "?")


def refused(status: int, sent: bytes) -> Case:
    return Case(sent, (status,), ends=True)


CLEAR: dict[str, Case] = {
    "GET": Case(get(), (200,)),
    "length": Case(post(LENGTH, body=SHORT), (400,)),
    "length with leading zeros": Case(post(b"Content-Length: 0012", body=SHORT), (400,)),
    "length 0": Case(post(b"Content-Length: 0"), (400,)),
    "length of a GET, whose body is a request": Case(get(b"Content-Length: %d" % len(INNER)) + INNER, (200,)),
    "body that is a request": Case(post(b"Content-Length: %d" % len(INNER), body=INNER), (400,)),
    "no length, and so no body": Case(post(), (400,)),
    "chunked": Case(post(CHUNKED, body=chunks(SHORT[:5], SHORT[5:])), (400,)),
    "chunks that are requests": Case(post(CHUNKED, body=chunks(INNER, INNER)), (400,)),
    "chunked, another case": Case(post(b"tRANSFER-eNCODING:\tChUnKeD ", body=chunks(SHORT)), (400,)),
    "chunk sizes in capitals, with zeros": Case(
        post(CHUNKED, body=b"00C\r\n" + SHORT + b"\r\n000\r\n\r\n"), (400,)
    ),
    "chunk extensions": Case(
        post(CHUNKED, body=b'5;a=b\r\n{"ima\r\n7;name="quo ted"\r\nge": 1}\r\n0;last\r\n\r\n'), (400,)
    ),
    "trailers": Case(post(CHUNKED, body=chunks(SHORT, trailers=b"A: b\r\nHost: other\r\n")), (400,)),
    "HEAD": Case(get(method=b"HEAD"), (200,), methods=("HEAD", "?")),
    "HEAD with a length": Case(
        get(b"Content-Length: 6", method=b"HEAD") + b"GET /s", (200,), methods=("HEAD", "?")
    ),
    "HTTP/1.0": Case(get(version=b"HTTP/1.0"), (200,), ends=True),
    "HTTP/1.0 without Host": Case(b"GET /livez HTTP/1.0\r\n\r\n", (200,), ends=True),
    "HTTP/1.0 that asks to be kept": Case(
        get(b"Connection: keep-alive", version=b"HTTP/1.0"), (200,), ends=True
    ),
    "absolute-form": Case(get(target=b"http://other:81/livez"), (200,)),
    "asterisk-form": Case(get(target=b"*", method=b"OPTIONS"), (404,)),
    "expectation": Case(post(b"Expect: 100-continue", LENGTH, body=SHORT), (400,)),
    "expectation, chunked": Case(post(b"Expect: 100-continue", CHUNKED, body=chunks(SHORT)), (400,)),
    "offer of WebSocket": Case(get(b"Connection: Upgrade", b"Upgrade: websocket"), (200,)),
    "offer of h2c": Case(
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"), (200,)
    ),
    "offer with a length": Case(post(b"Connection: Upgrade", b"Upgrade: h2c", LENGTH, body=SHORT), (400,)),
    "offer with chunks": Case(
        post(
            b"Connection: Upgrade",
            b"Upgrade: h2c",
            CHUNKED,
            body=chunks(SHORT[:5], SHORT[5:], trailers=b"a: b\r\n"),
        ),
        (400,),
    ),
    "two offers": Case(
        post(b"Connection: Upgrade", b"Upgrade: h2c", LENGTH, body=SHORT)
        + get(b"Connection: Upgrade", b"Upgrade: websocket"),
        (400, 200),
    ),
    "offer with a body that is a request": Case(
        post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: %d" % len(INNER), body=INNER), (400,)
    ),
    "close": Case(get(b"Connection: close"), (200,), ends=True),
    "close, with a body": Case(post(b"Connection: close", LENGTH, body=SHORT), (400,), ends=True),
    "empty lines first": Case(b"\r\n\r\n" + get(), (200,)),
    "no space after the colon": Case(get(b"A:b"), (200,)),
    "empty value": Case(get(b"A:"), (200,)),
    "bytes above ASCII in a value": Case(get(b"A: \xc3\xa4\xff"), (200,)),
    "names that are nearly those of lengths": Case(
        get(b"Content_Length: 5", b"Transfer_Encoding: chunked", b"XTransfer-Encoding: chunked"), (200,)
    ),
}
"""What is clear."""

UNCLEAR: dict[str, Case] = {
    "length and chunked": refused(400, post(LENGTH, CHUNKED, body=chunks(SHORT))),
    "chunked and length": refused(400, post(CHUNKED, LENGTH, body=chunks(SHORT))),
    "length 0 and chunked": refused(400, post(b"Content-Length: 0", CHUNKED, body=chunks(SHORT))),
    "length and gzip": refused(400, post(LENGTH, b"Transfer-Encoding: gzip", body=SHORT)),
    "two lengths": refused(400, post(LENGTH, b"Content-Length: 5", body=SHORT)),
    "two equal lengths": refused(400, post(LENGTH, LENGTH, body=SHORT)),
    "list of lengths": refused(400, post(b"Content-Length: 12, 12", body=SHORT)),
    "length with a sign": refused(400, post(b"Content-Length: +12", body=SHORT)),
    "negative length": refused(400, post(b"Content-Length: -12", body=SHORT)),
    "hexadecimal length": refused(400, post(b"Content-Length: 0xc", body=SHORT)),
    "length with an underscore": refused(400, post(b"Content-Length: 1_2", body=SHORT)),
    "length with a space": refused(400, post(b"Content-Length: 1 2", body=SHORT)),
    "no number of a length": refused(400, post(b"Content-Length:", body=SHORT)),
    "length in other digits": refused(400, post(b"Content-Length: \xd9\xa1\xd9\xa2", body=SHORT)),
    "length beyond 64 bits": refused(400, post(b"Content-Length: 18446744073709551628", body=SHORT)),
    "gzip": refused(501, post(b"Transfer-Encoding: gzip", body=chunks(SHORT))),
    "gzip, chunked": refused(501, post(b"Transfer-Encoding: gzip, chunked", body=chunks(SHORT))),
    "chunked, gzip": refused(501, post(b"Transfer-Encoding: chunked, gzip", body=chunks(SHORT))),
    "chunked, chunked": refused(501, post(b"Transfer-Encoding: chunked, chunked", body=chunks(SHORT))),
    "chunked, identity": refused(501, post(b"Transfer-Encoding: chunked, identity", body=chunks(SHORT))),
    "identity": refused(501, post(b"Transfer-Encoding: identity", body=chunks(SHORT))),
    "xchunked": refused(501, post(b"Transfer-Encoding: xchunked", body=chunks(SHORT))),
    "chunkedx": refused(501, post(b"Transfer-Encoding: chunkedx", body=chunks(SHORT))),
    "chunked in quotes": refused(501, post(b'Transfer-Encoding: "chunked"', body=chunks(SHORT))),
    "chunked with a parameter": refused(501, post(b"Transfer-Encoding: chunked;a=b", body=chunks(SHORT))),
    "no name of a coding": refused(400, post(b"Transfer-Encoding:", body=chunks(SHORT))),
    "a comma for a coding": refused(501, post(b"Transfer-Encoding: ,chunked", body=chunks(SHORT))),
    "chunked twice": refused(501, post(CHUNKED, CHUNKED, body=chunks(SHORT))),
    "gzip and chunked in lines": refused(501, post(b"Transfer-Encoding: gzip", CHUNKED, body=chunks(SHORT))),
    "chunked and gzip in lines": refused(501, post(CHUNKED, b"Transfer-Encoding: gzip", body=chunks(SHORT))),
    "vertical tab before chunked": refused(400, post(b"Transfer-Encoding: \x0bchunked", body=chunks(SHORT))),
    "chunked in HTTP/1.0": refused(400, get(CHUNKED, method=b"POST", version=b"HTTP/1.0") + chunks(SHORT)),
    "folded value": refused(400, get(b"A: b", b" c")),
    "folded coding": refused(400, post(b"Transfer-Encoding:", b" chunked", body=chunks(SHORT))),
    "folded first line": refused(400, b"GET /livez HTTP/1.1\r\n Host: test\r\nHost: test\r\n\r\n"),
    "space before the colon": refused(400, post(b"Content-Length : 12", body=SHORT)),
    "tab before the colon": refused(400, post(b"Transfer-Encoding\t: chunked", body=chunks(SHORT))),
    "space in a name": refused(400, get(b"Content Length: 12")),
    "no name": refused(400, get(b": a")),
    "no colon": refused(400, get(b"Content-Length")),
    "bare LF after the request line": refused(400, b"GET /livez HTTP/1.1\n" + HOST + b"\r\n"),
    "bare LF after a header": refused(400, b"GET /livez HTTP/1.1\r\nHost: test\nA: b\r\n\r\n"),
    "bare LF at the end of a head": refused(400, b"GET /livez HTTP/1.1\r\n" + HOST + b"\n"),
    "bare CR in a value": refused(400, get(b"A: b\rContent-Length: 5")),
    "bare CR after the request line": refused(400, b"GET /livez HTTP/1.1\rHost: test\r\n\r\n"),
    "NUL in a value": refused(400, get(b"A: b\0c")),
    "NUL in a name": refused(400, get(b"A\0: b")),
    "NUL in a target": refused(400, get(target=b"/live\0z")),
    "control character in a value": refused(400, get(b"A: b\x01c")),
    "space in a target": refused(400, get(target=b"/live z")),
    "tab in the request line": refused(400, b"GET\t/livez HTTP/1.1\r\n" + HOST + b"\r\n"),
    "HTTP/0.9": refused(505, b"GET /livez\r\n\r\n"),
    "HTTP/0.9 with a number": refused(505, get(version=b"HTTP/0.9")),
    "HTTP/1.2": refused(505, get(version=b"HTTP/1.2")),
    "HTTP/2.0": refused(505, get(version=b"HTTP/2.0")),
    "preface of HTTP/2": refused(400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/1.10": refused(400, get(version=b"HTTP/1.10")),
    "HTTP/1,1": refused(400, get(version=b"HTTP/1,1")),
    "http/1.1": refused(400, get(version=b"http/1.1")),
    "no Host": refused(400, b"GET /livez HTTP/1.1\r\nA: b\r\n\r\n"),
    "two Hosts": refused(400, get(b"Host: other")),
    "two Hosts in HTTP/1.0": refused(400, get(b"Host: other", version=b"HTTP/1.0")),
    "CONNECT": refused(400, get(target=b"test:443", method=b"CONNECT")),
    "unknown method": refused(400, get(method=b"GEX")),
    "chunk size with a sign": refused(400, post(CHUNKED, body=b"+c\r\n" + SHORT + b"\r\n0\r\n\r\n")),
    "negative chunk size": refused(400, post(CHUNKED, body=b"-1\r\n" + SHORT + b"\r\n0\r\n\r\n")),
    "chunk size with 0x": refused(400, post(CHUNKED, body=b"0xc\r\n" + SHORT + b"\r\n0\r\n\r\n")),
    "chunk size beyond 64 bits": refused(400, post(CHUNKED, body=b"1000000000000000c\r\n" + SHORT + b"\r\n")),
    "no chunk size": refused(400, post(CHUNKED, body=b"\r\n" + SHORT + b"\r\n0\r\n\r\n")),
    "space after a chunk size": refused(400, post(CHUNKED, body=b"c \r\n" + SHORT + b"\r\n0\r\n\r\n")),
    "bare LF after a chunk size": refused(400, post(CHUNKED, body=b"c\n" + SHORT + b"\r\n0\r\n\r\n")),
    "bare CR after a chunk size": refused(400, post(CHUNKED, body=b"c\r" + SHORT + b"\r\n0\r\n\r\n")),
    "bare LF in an extension": refused(400, post(CHUNKED, body=b"c;a\n" + SHORT + b"\r\n0\r\n\r\n")),
    "bare LF after a chunk": refused(400, post(CHUNKED, body=b"c\r\n" + SHORT + b"\n0\r\n\r\n")),
    "nothing after a chunk": refused(400, post(CHUNKED, body=b"c\r\n" + SHORT + b"0\r\n\r\n")),
    "chunk longer than it says": refused(400, post(CHUNKED, body=b"b\r\n" + SHORT + b"\r\n0\r\n\r\n")),
    "length among the trailers": refused(
        400, post(CHUNKED, body=chunks(SHORT, trailers=b"Content-Length: 5\r\n"))
    ),
    "coding among the trailers": refused(
        501, post(CHUNKED, body=chunks(SHORT, trailers=b"Transfer-Encoding: gzip\r\n"))
    ),
    "bare LF after the last chunk": refused(400, post(CHUNKED, body=b"c\r\n" + SHORT + b"\r\n0\n\n")),
}
"""What is not, and what is not served: one refusal, and nothing after it."""

CASES = CLEAR | UNCLEAR
LAST = Case(get(), (200,))


def followed(case: Case) -> Case:
    """Return a case followed by another request."""
    if case.ends:
        return Case(case.sent + LAST.sent, case.statuses, True, case.methods)
    return Case(case.sent + LAST.sent, case.statuses + LAST.statuses, LAST.ends, case.methods)


def preceded(case: Case) -> Case:
    """Return a case preceded by another request."""
    return Case(LAST.sent + case.sent, LAST.statuses + case.statuses, case.ends, ("?", *case.methods))


SETTINGS: dict[str, Callable[[Case], Case]] = {
    "alone": lambda case: case,
    "between others": lambda case: followed(preceded(case)),
}


@pytest.fixture(scope="module")
def app(toy_settings: Settings) -> App:
    return create_app(toy_settings)


def in_two(sent: bytes) -> list[list[bytes]]:
    """Return bytes split in two at every position, and unsplit."""
    return [[sent[:cut], sent[cut:]] for cut in range(1, len(sent))] + [[sent]]


def check(outcomes: list[Outcome], case: Case) -> None:
    """Assert the expected statuses, and the same outcome wherever the bytes are cut."""
    whole = outcomes[-1]
    assert whole.statuses == list(case.statuses)
    assert whole.has_ended == case.ends
    for cut, outcome in enumerate(outcomes, 1):
        assert outcome == whole, f"cut after byte {cut}: {case.sent[:cut]!r}"


def echoed(name: str) -> Case:
    """Return a case with the statuses of the echo, which knows neither paths nor valid bodies."""
    case = CASES[name]
    if name in UNCLEAR:
        return case
    return Case(case.sent, (200,) * len(case.statuses), case.ends, case.methods)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", CASES)
def test_packet_boundaries_do_not_change_requests(app: App, name: str, setting: str) -> None:
    """
    Methods, targets and bodies are the same. The second packet is sent after all responses to the first.
    """
    case = SETTINGS[setting](echoed(name))

    outcomes = exchange(lambda: Server(Echo, app.request_log), in_two(case.sent), case.methods, settles=True)

    check(outcomes, case)


@pytest.mark.parametrize("name", CASES)
def test_packet_boundaries_do_not_change_responses(app: App, name: str) -> None:
    """
    Predictions and ASGI, between two other requests. The second packet is sent after all responses to the
    first, or at once.
    """
    case = followed(preceded(CASES[name]))

    for settles in (True, False):
        outcomes = exchange(
            lambda: Server(app.dispatch, app.request_log), in_two(case.sent), case.methods, settles=settles
        )
        check(outcomes, case)


@pytest.mark.parametrize("name", CASES)
def test_request_sent_byte_by_byte_is_the_same(app: App, name: str) -> None:
    """
    Between two other requests.
    """
    case = followed(preceded(echoed(name)))
    parts = [case.sent[at : at + 1] for at in range(len(case.sent))]

    outcomes = exchange(
        lambda: Server(Echo, app.request_log), [parts, [case.sent]], case.methods, settles=True
    )

    check(outcomes, case)


def test_refused_head_request_gets_no_body(app: App) -> None:
    """
    Whether it is refused while it is received, or while it is queued.
    """
    head = get(CHUNKED, method=b"HEAD")
    case = preceded(Case(head + b"+1\r\n" + get(), (400,), True, ("HEAD",)))
    case = Case(case.sent, (200, 400), True, case.methods)

    check(
        exchange(lambda: Server(Echo, app.request_log), in_two(case.sent), case.methods, settles=True), case
    )


Seen = list[tuple[str, str, bytes]]


NOT_OF_H11 = {"empty lines first"}
"""What h11 refuses although RFC 9112, section 2.2, asks servers to take it."""


def by_h11(sent: bytes) -> tuple[Seen, bool]:
    """Return the requests that h11 parses: method, path and body, and whether all were valid."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=65_536)
    parser.receive_data(sent)
    found: Seen = []
    try:
        while True:
            event = parser.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return found, True
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                found.append((request.method.decode(), request.target.decode("latin-1"), body))
                parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                parser.send(h11.EndOfMessage())
                if parser.our_state is not h11.DONE:
                    return found, True  # the connection ends
                parser.start_next_cycle()
    except h11.ProtocolError:
        return found, False


def by_us(outcome: Outcome) -> Seen:
    """Return the requests that the echo received."""
    asked = [json.loads(body) for status, body in outcome.responses if status == 200]
    return [(method, target, bytes.fromhex(body)) for method, target, body in asked]


def without_host(seen: Seen) -> Seen:
    """Replace targets in absolute form by their path."""
    return [(method, target.removeprefix("http://other:81"), body) for method, target, body in seen]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", sorted(set(CLEAR) - NOT_OF_H11))
def test_h11_parses_the_same_requests(app: App, name: str, setting: str) -> None:
    """
    The same methods, paths and bodies.
    """
    case = SETTINGS[setting](CLEAR[name])
    sent = case.sent.replace(b"HEAD ", b"GET ")

    (outcome,) = exchange(lambda: Server(Echo, app.request_log), [[sent]], settles=True)
    found, is_sound = by_h11(sent)

    assert is_sound
    assert by_us(outcome) == without_host(found)


def streams(draw: st.DrawFn) -> bytes:
    """Draw consecutive requests with a few bytes changed, removed or inserted."""
    names = draw(st.lists(st.sampled_from(sorted(CASES)), min_size=1, max_size=4))
    sent = bytearray(b"".join(CASES[name].sent.replace(b"HEAD ", b"GET ") for name in names))
    odd = st.sampled_from(
        [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"0", b"a", b"\xff"]
    )
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(sent)))
        sent[at : at + draw(st.integers(0, 1))] = draw(odd)
    return bytes(sent)


def agree(app: App, sent: bytes, cuts: list[int]) -> None:
    """Check that h11 and the service parse the same requests, however they are split, until one of both
    refuses."""
    places = sorted({cut % len(sent) for cut in cuts} - {0})
    parts = [sent[start:end] for start, end in zip([0, *places], [*places, len(sent)], strict=True)]
    whole, cut = exchange(lambda: Server(Echo, app.request_log), [[sent], parts], settles=True)
    ours = by_us(whole)
    theirs = without_host(by_h11(sent)[0])
    shared = min(len(ours), len(theirs))

    assert cut == whole
    assert ours[:shared] == theirs[:shared]


@given(st.composite(streams)(), st.lists(st.integers(0, 10_000), max_size=6))
@examples(100)
def test_h11_agrees_on_random_requests(app: App, sent: bytes, cuts: list[int]) -> None:
    """
    Requests with a few changed bytes.
    """
    if sent:
        agree(app, sent, cuts)


@pytest.mark.torture
@given(st.composite(streams)(), st.lists(st.integers(0, 10_000), max_size=6))
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_h11_agrees_on_many_random_requests(app: App, sent: bytes, cuts: list[int]) -> None:
    """
    With new examples in every run.
    """
    if sent:
        agree(app, sent, cuts)


@pytest.fixture(scope="module")
def process(toy_root: Path) -> Iterator[Process]:
    with running(toy_root, "--max-connections", "2000") as process:
        yield process


def barrier(connection: socket.socket) -> None:
    """Wait until the service has read everything sent before."""
    connection.sendall(get())
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(4096)
        assert received


def read(connection: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while new := connection.recv(65_536):
            received += new
    return received


def over_sockets(process: Process, case: Case, cuts: list[int], address: str) -> list[Outcome]:
    """Send a case in two parts, over one connection per split; the second part once the first was read."""
    where = ("127.0.0.1", process.port)
    with ExitStack() as stack:
        other = stack.enter_context(socket.create_connection(where, PATIENCE_S))
        opened = [
            stack.enter_context(socket.create_connection(where, PATIENCE_S, (address, 0))) for _ in cuts
        ]
        for connection, cut in zip(opened, cuts, strict=True):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(case.sent[:cut])
        barrier(other)
        for connection, cut in zip(opened, cuts, strict=True):
            with suppress(OSError):  # refused already
                connection.sendall(case.sent[cut:])
                connection.shutdown(socket.SHUT_WR)
        return [Outcome(parse(read(connection), case.methods), case.ends) for connection in opened]


def check_over_sockets(process: Process, step: int) -> int:
    """Check every case, split at every `step` bytes; return the number of connections."""
    count = 0
    for number, (name, setting) in enumerate(product(CASES, SETTINGS)):
        case = SETTINGS[setting](CASES[name])
        cuts = [*range(1 + number % step, len(case.sent), step), len(case.sent)]
        check(over_sockets(process, case, cuts, f"127.0.1.{1 + number % 200}"), case)
        count += len(cuts)
    return count


def test_packet_boundaries_do_not_change_responses_over_sockets(process: Process, figure: Record) -> None:
    """
    A service process, and a sample of the splits.
    """
    figure("connections, all answered alike", check_over_sockets(process, 40))


@pytest.mark.torture
def test_no_packet_boundary_changes_responses_over_sockets(process: Process, figure: Record) -> None:
    """
    Every split.
    """
    figure("connections, all answered alike", check_over_sockets(process, 1))


EARLY = {
    "unknown path, chunked": post(CHUNKED, body=chunks(INNER), target=b"/nowhere"),
    "unknown path": post(b"Content-Length: %d" % len(INNER), body=INNER, target=b"/nowhere"),
    "unknown model": post(CHUNKED, body=chunks(INNER), target=b"/v1/models/none/predict"),
}


@pytest.mark.parametrize("name", EARLY)
def test_unread_body_is_not_parsed_as_a_request(app: App, name: str) -> None:
    """
    A request refused by its head: its body is skipped, or the connection is closed.
    """
    sent = EARLY[name] + get()

    outcomes = exchange(lambda: Server(app.dispatch, app.request_log), in_two(sent), settles=True)

    for outcome in outcomes:
        first, *others = outcome.statuses
        assert first in (404, 413)
        assert others in ([], [200])
        assert outcome.has_ended == (others == [])
