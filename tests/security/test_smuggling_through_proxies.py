"""Request smuggling through nginx and HAProxy: the service sees only requests that the proxy forwarded.

Each attack is bytes in which two programs may see different requests: lengths that contradict each other,
transfer codings and chunk sizes written oddly, responses that come before the body. It is sent through nginx
and HAProxy, with and without buffering. Requests of other clients follow over the same connections.

Promised: each of those gets its own answer, and the log of the service has no request that the log of the
proxy has not.
"""

import json
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests import toys
from tests.processes import running, wait_until
from tests.proxies import UNBUFFERED, UPGRADING, Proxy, ServiceLog, Setup, ask, program, proxied

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look into /proc")

PREDICT = "/v1/models/quadrants/predict"
HIDDEN = "/smuggled"
WAIT_S = 0.3
"""How long an attacker reads what comes back."""
ATTACKERS = 16
"""Most of the time they wait."""

SMUGGLED = f"GET {HIDDEN} HTTP/1.1\r\nHost: inkling.example\r\nX-Rest: ".encode()

LENGTHS = (
    "Content-Length: {0}\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {0}",
    "Content-Length: {0}\r\nContent-Length: {0}",
    "Content-Length: {0}, {0}",
    "Content-Length: {0}, 0",
    "Content-Length: 0, {0}",
    "Content-Length: +{0}",
    "Content-Length: -0",
    "Content-Length: 0x{0}",
    "Content-Length: 0{0}",
    "Content-Length: {0} 0",
    "Content-Length: 0 {0}",
    "Content-Length: 1{0}",
    "Content-Length: 18446744073709551616",
    "Content-Length: 4294967296",
    "Content-Length:\t{0}\t",
    "Content-Length : {0}",
    "Content-Length\t: {0}",
    " Content-Length: {0}",
    "Content_Length: {0}",
    "Content-Length:",
    "X: y\nContent-Length: {0}",
    "X: y\rContent-Length: {0}",
    "X: y\0\r\nContent-Length: {0}",
    "Connection: close, Content-Length\r\nContent-Length: {0}",
    "Connection: Content-Length\r\nContent-Length: {0}",
)
"""Ways to write a length of {0} bytes that a program may take for none, or the other way round."""

CODINGS = (
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked;q=1",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding:",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked\t",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: \x0cchunked",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: \xa0chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked",
)
"""Ways to write that a body is chunked, or that it is not."""

CHUNKS = (
    b"%x\r\n%b\r\n0\r\n\r\n",
    b"%X ;x=y\r\n%b\r\n0\r\n\r\n",
    b"0%x\r\n%b\r\n0\r\n\r\n",
    b"%x;x=y\n\r\n%b\r\n0\r\n\r\n",
    b'%x;x="\r\n"\r\n%b\r\n0\r\n\r\n',
    b"%x;\n%b\r\n0\r\n\r\n",
    b"%x\n%b\n0\n\n",
    b"%x\r%b\r0\r\r",
    b"%x\r\n%b0\r\n\r\n",
    b"%x\r\n%bxx0\r\n\r\n",
    b"0x%x\r\n%b\r\n0\r\n\r\n",
    b"+%x\r\n%b\r\n0\r\n\r\n",
    b"-%x\r\n%b\r\n0\r\n\r\n",
    b" %x\r\n%b\r\n0\r\n\r\n",
    b"%x \r\n%b\r\n0\r\n\r\n",
    b"\r\n%x\r\n%b\r\n0\r\n\r\n",
    b"10000000000000000%x\r\n%b\r\n0\r\n\r\n",
    b"00000000000000000000000000000000%x\r\n%b\r\n0\r\n\r\n",
    b"ffffffff%08x\r\n%b\r\n0\r\n\r\n",
    b"%x\r\n%b\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n",
    b"%x\r\n%b\r\n0\r\nX: y\nGET /smuggled HTTP/1.1\r\n\r\n",
    b"%x\r\n%b\r\n0\r\n",
    b"%x\r\n%b\r\n00\r\n\r\n",
    b"%x\r\n%b\r\n0;x=y\r\n\r\n",
    b"%x\r\n%b\r\n0\n\n",
)
"""Ways to write one chunk and the end."""


def attacks() -> Iterator[tuple[str, list[bytes]]]:
    """Yield each attack: its name, and its packets, with a pause after each."""
    size = len(SMUGGLED)
    for place, lines in enumerate(LENGTHS):
        for method in ("POST", "GET"):
            yield f"length {place} {method}", [_head(method, "/attack", lines.format(size)) + SMUGGLED]
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (size, SMUGGLED)
    end = b"0\r\n\r\n" + SMUGGLED
    for place, lines in enumerate(CODINGS):
        yield f"coding {place} alone", [_head("POST", "/attack", lines) + chunk]
        yield f"coding {place} end", [_head("POST", "/attack", lines) + end]
        for length in (len(end), 4, 0):
            for order in (f"Content-Length: {length}\r\n{lines}", f"{lines}\r\nContent-Length: {length}"):
                body = end if length == len(end) else chunk
                yield f"coding {place} length {length}", [_head("POST", "/attack", order) + body]
    for place, form in enumerate(CHUNKS):
        body = form % (size, SMUGGLED)
        for path in ("/attack", PREDICT):
            yield f"chunk {place} {path}", [_head("POST", path, "Transfer-Encoding: chunked") + body]
    yield from _early_answers(size)
    yield from _other_protocols(size)
    yield from _heads()


def _head(method: str, path: str, *lines: str, version: str = "1.1") -> bytes:
    head = [f"{method} {path} HTTP/{version}", "Host: inkling.example", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def _early_answers(size: int) -> Iterator[tuple[str, list[bytes]]]:
    """Yield requests that get a response before their body, which is itself a request."""
    for method in ("POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        for path in ("/attack", "/livez", PREDICT, "/", "/docs"):
            head = _head(method, path, f"Content-Length: {size}")
            yield f"early {method} {path}", [head, SMUGGLED]
            expects = _head(method, path, f"Content-Length: {size}", "Expect: 100-continue")
            yield f"expects {method} {path}", [expects, SMUGGLED]
            yield f"expects and sends {method} {path}", [expects + SMUGGLED]
    for lines in ("Expect: 100-continue, x", "Expect: x", "Expect: 100-continue\r\nExpect: x", "Expect:"):
        yield f"{lines!r}", [_head("POST", "/attack", lines, f"Content-Length: {size}"), SMUGGLED]
    yield "too large", [_head("POST", PREDICT, "Content-Length: 3000000"), SMUGGLED * 10]
    yield (
        "too large in chunks",
        [
            _head("POST", PREDICT, "Transfer-Encoding: chunked") + b"2dc6c0\r\n" + SMUGGLED * 10,
            SMUGGLED * 50_000,
        ],
    )


def _other_protocols(size: int) -> Iterator[tuple[str, list[bytes]]]:
    """Yield upgrades with a body, and other versions with chunks."""
    for offer in ("websocket", "h2c", "TLS/1.0"):
        upgrade = (f"Upgrade: {offer}", "Connection: Upgrade")
        yield f"{offer} length", [_head("POST", "/attack", *upgrade, f"Content-Length: {size}") + SMUGGLED]
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, SMUGGLED)
        yield f"{offer} chunks", [_head("POST", "/attack", *upgrade, "Transfer-Encoding: chunked") + body]
    for version in ("1.0", "0.9", "1.2", "2.0", "1.1 ", "1.01", "1"):
        for lines in (f"Content-Length: {size}", "Transfer-Encoding: chunked"):
            head = _head("POST", "/attack", lines, "Connection: keep-alive", version=version)
            yield f"version {version} {lines}", [head + SMUGGLED]
    yield "no version", [b"GET /attack\r\n" + SMUGGLED]
    yield "HTTP/2", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED]


def _heads() -> Iterator[tuple[str, list[bytes]]]:
    """Yield heads whose end or target is ambiguous."""
    hidden = SMUGGLED.replace(b"X-Rest: ", b"")
    lines = (
        b"X: y\n\n",
        b"X: y\r\r",
        b"X: y\n\r\n",
        b"X: y\r\n\n",
        b"\n",
        b"X\r\n\r\n",
        b": y\r\n\r\n",
        b"X: y\0\r\n\r\n",
        b"X\0: y\r\n\r\n",
        b"X: y\r\n\tz\r\n\r\n",
        b"Host: other.example\r\n\r\n",
        b"Host: \r\n\r\n",
    )
    for place, line in enumerate(lines):
        start = b"POST /attack HTTP/1.1\r\nHost: inkling.example\r\nContent-Length: %d\r\n" % len(hidden)
        yield f"head {place}", [start + line + hidden]
    targets = (
        b"/attack?x\r\n",
        b"/attack%0d%0aX:%20y",
        b"/attack x",
        b"/attack\t",
        b"/attack\0",
        b"/attack#x",
        b"http://inkling.example/attack",
        b"http://inkling.example:80@x/attack",
        b"//other.example/attack",
        b"*",
        b"attack",
    )
    for target in targets:
        start = b"POST %b HTTP/1.1\r\nHost: inkling.example\r\nContent-Length: %d\r\n\r\n"
        yield f"target {target!r}", [start % (target, len(hidden)) + hidden]


def attack(proxy: Proxy, parts: list[bytes]) -> None:
    """Send an attack on a new connection, and read for a while."""
    with closing(proxy.socket()) as connection, suppress(OSError):
        for part in parts:
            connection.settimeout(5)
            connection.sendall(part)
            connection.settimeout(WAIT_S)
            with suppress(socket.timeout):
                while connection.recv(65_536):
                    pass


def victim(proxy: Proxy, number: int) -> str:
    """Send a prediction; return an error message if the response is wrong."""
    quarter, request_id = number % len(toys.QUARTERS), f"victim-{number}"
    headers = {"X-Request-ID": request_id}
    with closing(proxy.connect()) as connection:
        answer = ask(connection, "POST", f"{PREDICT}?prepare=none", toys.dot(quarter).tobytes(), headers)
    if answer.status != 200:
        return f"{answer.status} {answer.content[:200]!r}"
    label = json.loads(answer.content)["predictions"][0]["label"]
    expected = (request_id, toys.QUARTERS[-1 - quarter])  # the newest version sees the opposite
    got = (answer.headers["X-Request-ID"], label)
    return "" if got == expected else f"expected {expected}, got {got}"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("nginx", {}, id="nginx-buffering"),
        pytest.param("nginx", UNBUFFERED["nginx"], id="nginx-streaming"),
        pytest.param("nginx", UPGRADING["nginx"], id="nginx-upgrading"),
        pytest.param("haproxy", {}, id="haproxy-buffering"),
        pytest.param("haproxy", UNBUFFERED["haproxy"], id="haproxy-streaming"),
    ],
)
def test_no_request_is_smuggled(toy_root: Path, tmp_path: Path, name: str, changes: dict[str, str]) -> None:
    """
    Some hundred attacks, several concurrently, each followed by two requests of other clients.
    """
    program(name)
    arguments = ("--trusted-proxy", "127.0.0.1", "--max-body-bytes", "1000000")
    with running(toy_root, *arguments) as service:
        log = ServiceLog(service)
        setup = Setup(name, [service.port], changes=changes)
        with proxied(setup, tmp_path) as proxy, ThreadPoolExecutor(ATTACKERS) as pool:
            known = list(attacks())

            def run(number: int) -> list[str]:
                what, parts = known[number]
                attack(proxy, parts)
                wrong = [victim(proxy, 2 * number), victim(proxy, 2 * number + 1)]
                return [f"after {what}: {found}" for found in wrong if found]

            wrong = [found for some in pool.map(run, range(len(known))) for found in some]
            assert wrong == []

            victims = 2 * len(known)
            wait_until(lambda: len(_of_victims(log)) >= victims)
            wait_until(lambda: proxy.statuses()["200"] >= victims)
        forwarded = Counter((method, _path(target)) for method, target in proxy.forwarded())

    seen = [(line["method"], line["path"]) for line in log.requests()]
    unparsed = sum(path == "-" for _, path in seen)
    more = Counter(one for one in seen if one[1] != "-") - forwarded
    assert more == Counter()
    assert len(seen) <= forwarded.total()
    assert len(_of_victims(log)) == victims
    assert forwarded.total() > victims + len(known) / 4, "too few attacks reach the service to prove anything"
    assert unparsed <= forwarded.total() - victims


def _path(target: str) -> str:
    """Return the path of a request target, as in the service's log."""
    return unquote(re.sub(r"^http://[^/]*|#.*$", "", target))


def _of_victims(log: ServiceLog) -> list[str]:
    ids = [str(line["request_id"]) for line in log.requests()]
    return [one for one in ids if one.startswith("victim-")]
