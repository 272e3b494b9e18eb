"""The service behind nginx and HAProxy, with the files of `deploy/` and docs/how-to/proxies.md."""

import random
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from tests import toys
from tests.processes import PATIENCE_S, Process, free_port, peer_ports, running, wait_until
from tests.proxies import (
    NAMES,
    UNBUFFERED,
    UPGRADING,
    Answered,
    Certificate,
    Proxy,
    ServiceLog,
    Setup,
    ask,
    make_certificate,
    program,
    proxied,
    snippet,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests use the whole of 127.0.0.0/8")

TRUSTED = ("--trusted-proxy", "127.0.0.1")
PREDICT = "/v1/models/quadrants/predict"
IMAGE = toys.dot(1).tobytes()
MAX_BODY_BYTES = 1_000_000
each_proxy = pytest.mark.parametrize("name", NAMES)


@dataclass
class Front:
    """A proxy and the service behind it."""

    proxy: Proxy
    service: Process
    log: ServiceLog


@contextmanager
def front(setup: Setup, models: Path, folder: Path, *arguments: str) -> Iterator[Front]:
    """Run a service that trusts the proxy, and the proxy."""
    program(setup.name)
    if setup.service_certificate is not None:
        files = setup.service_certificate
        arguments += ("--tls-cert", str(files.certificate), "--tls-key", str(files.key))
    with running(models, *TRUSTED, *arguments) as service, ExitStack() as stack:
        log = ServiceLog(service)
        setup = Setup(setup.name, [service.port], setup.certificate, setup.service_certificate, setup.changes)
        proxy = stack.enter_context(proxied(setup, folder))
        yield Front(proxy, service, log)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(
    scope="module",
    params=[(name, kind) for name in NAMES for kind in ("buffering", "streaming", "tls")],
    ids="-".join,
)
def both(
    request: pytest.FixtureRequest, toy_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """Every proxy: as in `deploy/` but without TLS, without buffering, and with TLS on both sides."""
    name, kind = request.param
    made = request.getfixturevalue("certificate") if kind == "tls" else None
    setup = Setup(name, [], made, made, UNBUFFERED[name] if kind == "streaming" else {})
    limit = ("--max-body-bytes", str(MAX_BODY_BYTES))
    with front(setup, toy_root, tmp_path_factory.mktemp(f"{name}-{kind}"), *limit) as found:
        yield found


def is_prediction(answer: Answered, images: int = 1) -> bool:
    return answer.status == 200 and len(answer.json["predictions"]) == images


def test_proxy_reuses_its_connection_for_many_clients(both: Front) -> None:
    """
    Each client has its own connection to the proxy; the proxy keeps one to the service open.
    """
    seen = []
    for _ in range(30):
        assert is_prediction(both.proxy.ask("POST", PREDICT, IMAGE))
        seen.append(peer_ports(both.service.port, both.service.handle.pid))

    assert set.intersection(*seen)
    assert all(len(ports) <= 3 for ports in seen)  # with one or two of health checks


def test_client_connection_serves_many_requests(both: Front) -> None:
    """
    Of different kinds, with errors.
    """
    requests = [
        ("GET", "/livez", None),
        ("POST", PREDICT, IMAGE),
        ("GET", "/nothing", None),
        ("POST", PREDICT, b"x"),
    ]
    with closing(both.proxy.connect()) as connection:
        connection.connect()
        first = connection.sock
        found = [ask(connection, *request).status for _ in range(10) for request in requests]
        assert connection.sock is first

    assert found == [200, 200, 404, 400] * 10


def test_chunked_body_is_accepted(both: Front) -> None:
    """
    Whether the proxy forwards chunks, or a length after it has buffered them.
    """
    pieces = [IMAGE[start : start + 100] for start in range(0, 784, 100)]

    assert is_prediction(both.proxy.ask("POST", PREDICT, iter(pieces)))


def test_a_thousand_images_are_predicted(both: Front) -> None:
    """
    In one request of 784 KB.
    """
    assert is_prediction(both.proxy.ask("POST", PREDICT, IMAGE * 1000), images=1000)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 6 * MAX_BODY_BYTES])
def test_413_passes_the_proxy(both: Front, size: int, chunked: bool) -> None:
    """
    Although it is sent while the body is still arriving; the next request succeeds.
    """
    body = bytes(size)
    pieces = iter([body[start : start + 65_536] for start in range(0, size, 65_536)])

    refused = both.proxy.ask("POST", PREDICT, pieces if chunked else body)

    assert refused.status == 413
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert is_prediction(both.proxy.ask("POST", PREDICT, IMAGE))


def test_head_gets_the_headers_of_get(both: Front) -> None:
    """
    Without a body; the connection serves the next request.
    """
    with closing(both.proxy.connect()) as connection:
        for path in ("/", "/livez", "/openapi.json", "/nothing"):
            head, get = ask(connection, "HEAD", path), ask(connection, "GET", path)
            assert (head.status, head.content) == (get.status, b"")
            assert head.headers["Content-Type"] == get.headers["Content-Type"]
            assert get.content


def read_head(connection: socket.socket) -> bytes:
    """Read until an empty line."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        new = connection.recv(1)
        assert new, f"the connection ended after {head!r}"
        head += new
    return head


def head(path: str, *lines: str) -> bytes:
    """Return the head of a POST."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: inkling.example", *lines, "", ""]).encode()


def test_100_continue_is_sent(both: Front) -> None:
    """
    Once, by the proxy or the service; then the response.
    """
    lines = ("Content-Type: application/octet-stream", "Content-Length: 784", "Expect: 100-continue")
    with both.proxy.socket() as connection:
        connection.sendall(head(PREDICT, *lines))
        interim = read_head(connection)
        connection.sendall(IMAGE)
        final = read_head(connection)

    assert interim.startswith(b"HTTP/1.1 100 ")
    assert final.startswith(b"HTTP/1.1 200 ")


def test_too_large_body_with_100_continue_is_refused(both: Front) -> None:
    """
    With 413 by the service, before or after the body is sent.
    """
    size = 2 * MAX_BODY_BYTES
    lines = ("Content-Type: application/octet-stream", f"Content-Length: {size}", "Expect: 100-continue")
    with both.proxy.socket() as connection:
        connection.sendall(head(PREDICT, *lines))
        found = read_head(connection)
        if found.startswith(b"HTTP/1.1 100 "):
            with suppress(OSError):  # refused meanwhile
                connection.sendall(bytes(size))
            found = read_head(connection)

    assert found.startswith(b"HTTP/1.1 413 ")


def test_slowly_read_response_is_complete(both: Front) -> None:
    """
    The largest response of the service, read slowly.
    """
    body = IMAGE * 1200
    lines = ("Content-Type: application/octet-stream", f"Content-Length: {len(body)}", "Connection: close")
    with both.proxy.socket() as connection:
        connection.sendall(head(PREDICT, *lines) + body)
        time.sleep(0.2)
        content = b"".join(iter(lambda: connection.recv(4096), b""))

    assert content.startswith(b"HTTP/1.1 200 ")
    assert content.count(b'"label"') == 1200 * len(toys.QUARTERS)


@pytest.mark.parametrize(
    ("client", "header"), [("127.0.0.1", None), ("127.0.0.7", None), ("127.0.0.7", "203.0.113.9")]
)
def test_log_has_the_client_address(both: Front, client: str, header: str | None) -> None:
    """
    The real one, not one that the client sends.
    """
    headers = {} if header is None else {"X-Forwarded-For": header, "Forwarded": f"for={header}"}
    answer = both.proxy.ask("POST", PREDICT, IMAGE, headers, client)

    assert both.log.request(answer.headers["X-Request-ID"])["client"] == client


def test_hsts_is_sent_once_and_only_with_tls(both: Front) -> None:
    """
    By the proxy, although the service may have TLS too.
    """
    found = both.proxy.ask("GET", "/").headers.get_all("Strict-Transport-Security", [])

    assert len(found) == (1 if both.proxy.tls else 0)


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/v2/repository/index", "/v2/%72epository/index"])
def test_operators_paths_are_not_forwarded(both: Front, path: str) -> None:
    """
    However they are encoded.
    """
    assert both.proxy.ask("GET", path).status == 404
    assert both.proxy.attempts(path) == [0]


FORWARDED = {
    "nginx": {'Forwarded "";': "Forwarded for=$remote_addr;"},
    "haproxy": {"http-request del-header Forwarded ": "http-request set-header Forwarded for=%[src] #"},
}


@each_proxy
def test_forwarded_header_can_be_configured(toy_root: Path, tmp_path: Path, name: str) -> None:
    """
    Then X-Forwarded-For is ignored.
    """
    setup = Setup(name, [], changes=FORWARDED[name])
    with front(setup, toy_root, tmp_path, "--forwarded-header", "forwarded") as found:
        headers = {"Forwarded": "for=203.0.113.9", "X-Forwarded-For": "203.0.113.9"}
        answer = found.proxy.ask("GET", "/livez", None, headers, "127.0.0.7")

        assert found.log.request(answer.headers["X-Request-ID"])["client"] == "127.0.0.7"


@each_proxy
def test_rate_limits_apply_per_client(toy_root: Path, tmp_path: Path, name: str) -> None:
    """
    A client can neither use another's rate nor invent an address.
    """
    rate = ("--rate", "0.001", "--rate-burst", "3")
    with front(Setup(name, []), toy_root, tmp_path, *rate) as found:
        of_one = [found.proxy.ask("POST", PREDICT, IMAGE, client="127.0.0.7").status for _ in range(4)]
        invented = [
            found.proxy.ask("POST", PREDICT, IMAGE, {header: value}, "127.0.0.7").status
            for header, value in (("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9"))
        ]
        of_another = found.proxy.ask("POST", PREDICT, IMAGE, client="127.0.0.8").status

    assert of_one == [200, 200, 200, 429]
    assert invented == [429, 429]
    assert of_another == 200


def test_untrusted_peer_cannot_set_the_client_address(toy_root: Path) -> None:
    """
    On a connection to the service that bypasses the proxy.
    """
    headers = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    with running(toy_root, *TRUSTED) as service:
        log = ServiceLog(service)
        direct = Proxy("", service.port, None, Path())

        answers = {
            client: direct.ask("GET", "/livez", None, headers, client)
            for client in ("127.0.0.1", "127.0.0.9")
        }
        found = {
            client: log.request(answer.headers["X-Request-ID"])["client"]
            for client, answer in answers.items()
        }

    assert found == {"127.0.0.1": "203.0.113.9", "127.0.0.9": "127.0.0.9"}


@each_proxy
@pytest.mark.parametrize("offer", ["websocket", "h2c"])
def test_upgrade_is_ignored(toy_root: Path, tmp_path: Path, name: str, offer: str) -> None:
    """
    nginx forwards the header if configured, HAProxy always; the request gets its response.
    """
    headers = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": offer,
        "HTTP2-Settings": "AAMAAABkAAQAAP__",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    with (
        front(Setup(name, [], changes=UPGRADING[name]), toy_root, tmp_path) as found,
        closing(found.proxy.connect()) as connection,
    ):
        answers = [ask(connection, "POST", PREDICT, IMAGE, headers) for _ in range(3)]
        after = ask(connection, "GET", "/livez", None, headers)

    assert all(map(is_prediction, answers))
    assert after.status == 200


# Under a path

KEPT = {
    "nginx": {"    location / {\n        proxy_pass http://inkling;\n    }\n": "LOCATION"},
    "haproxy": {"    default_backend inkling": "LOCATION    default_backend inkling"},
}
STRIPS: dict[str, Callable[[str], str]] = {
    "nginx": lambda block: block.replace("proxy_pass http://inkling;", "proxy_pass http://inkling/;"),
    "haproxy": lambda block: block + "    http-request replace-path /inkling(/.*) \\1\n",
}


class Links(HTMLParser):
    """Collects the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


@each_proxy
@pytest.mark.parametrize("strips", [False, True], ids=["prefix kept", "prefix removed"])
def test_page_and_documentation_work_under_a_path(
    published: Path, tmp_path: Path, name: str, strips: bool
) -> None:
    """
    All their links exist under the path.
    """
    block = snippet(name, "Under a path")
    if strips:
        block = STRIPS[name](block)
    changes = {old: new.replace("LOCATION", block) for old, new in KEPT[name].items()}
    with front(Setup(name, [], changes=changes), published, tmp_path, "--root-path", "/inkling") as found:
        proxy = found.proxy
        base = f"http://127.0.0.1:{proxy.port}/inkling/"
        moved = proxy.ask("GET", "/inkling")
        assert moved.status in (301, 307, 308)
        assert urljoin(base.rstrip("/"), moved.headers["Location"]) == base
        for page in ("", "docs"):
            answer = proxy.ask("GET", urlsplit(base + page).path)
            assert answer.status == 200
            text = answer.content.decode()
            links = Links(text).found + re.findall(r"url: '([^']+)'", text)
            places = {urljoin(base + page, link) for link in links if not link.startswith("data:")}
            own = {
                urlsplit(place).path for place in places if place.startswith(f"http://127.0.0.1:{proxy.port}")
            }
            assert own
            assert all(path.startswith("/inkling") for path in own)
            assert {path: proxy.ask("GET", path).status for path in own} == dict.fromkeys(own, 200)
        document = proxy.ask("GET", "/inkling/openapi.json").json
        assert document["servers"][0]["url"].rstrip("/").endswith("/inkling")
        assert proxy.ask("POST", "/inkling/v1/models/mlp-128/predict", IMAGE).status == 200
        assert proxy.ask("GET", "/inkling/metrics").status == 404
        assert proxy.ask("GET", "/v1/models").status == 404


# Idle connections

IDLE = {
    "nginx": "keepalive_timeout 15s;",
    "haproxy": "pool-purge-delay 5s",
}
NO_RETRY = {
    "nginx": {"proxy_next_upstream error timeout non_idempotent;": "proxy_next_upstream off;"},
    "haproxy": {"    retry-on conn-failure": "    # retry-on conn-failure", "    retries 2": "    retries 0"},
}


@each_proxy
@pytest.mark.parametrize(
    ("proxy_ms", "service_s", "pause_s", "retries"),
    [(200, 5, 0.2, False), (4000, 1, 1.0, True)],
    ids=["proxy closes", "service closes"],
)
def test_no_request_is_lost_when_idle_connections_close(
    toy_root: Path, tmp_path: Path, name: str, proxy_ms: int, service_s: int, pause_s: float, retries: bool
) -> None:
    """
    Hundreds of requests, each after a pause of about the keep-alive timeout.
    """
    idle = IDLE[name]
    changes = {idle: re.sub(r"\d+s", f"{proxy_ms}ms", idle)} | ({} if retries else NO_RETRY[name])
    rounds, clients = 4, 48
    chance = random.Random(1)
    with (
        front(
            Setup(name, [], changes=changes), toy_root, tmp_path, "--keep-alive-s", str(service_s)
        ) as found,
        ExitStack() as stack,
    ):
        connections = [stack.enter_context(closing(found.proxy.connect())) for _ in range(clients)]
        statuses: list[int] = []

        def use(index: int, pauses: list[float]) -> None:
            for pause in pauses:
                statuses.append(ask(connections[index], "POST", PREDICT, IMAGE).status)
                time.sleep(pause)

        threads = [
            threading.Thread(
                target=use, args=(index, [pause_s * chance.uniform(0.9, 1.35) for _ in range(rounds)])
            )
            for index in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)

    assert statuses == [200] * (rounds * clients)


# Restarts


class Load:
    """Sends predictions over several connections until it is stopped."""

    def __init__(self, proxy: Proxy, clients: int = 4) -> None:
        self.statuses: list[int] = []
        self.errors: list[Exception] = []
        self._proxy = proxy
        self._stops = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self) -> None:
        with closing(self._proxy.connect()) as connection:
            while not self._stops.is_set():
                try:
                    self.statuses.append(ask(connection, "POST", PREDICT, IMAGE).status)
                except OSError as error:  # of the proxy, which nobody restarts
                    self.errors.append(error)
                self._stops.wait(0.005)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stops.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more requests are answered."""
        so_far = len(self.statuses)
        wait_until(lambda: len(self.statuses) >= so_far + count)


@pytest.mark.parametrize(("name", "lame_duck_s", "retries"), [("nginx", 1, True), ("haproxy", 3, False)])
def test_rolling_restart_loses_no_request(
    toy_root: Path, tmp_path: Path, name: str, lame_duck_s: int, retries: bool
) -> None:
    """
    One after the other, under load. HAProxy sees that a process is not ready and needs no second try; nginx
    sees it when a connection is refused.
    """
    program(name)
    ports = [free_port(), free_port()]
    arguments = (*TRUSTED, "--lame-duck-s", str(lame_duck_s))
    setup = Setup(name, ports, changes={"fail_timeout=5s": "fail_timeout=1s"} if retries else NO_RETRY[name])
    with ExitStack() as stack:
        first, second = (stack.enter_context(running(toy_root, *arguments, port=port)) for port in ports)
        for process in (first, second):
            ServiceLog(process)  # reads it
        proxy = stack.enter_context(proxied(setup, tmp_path))
        with Load(proxy) as load:
            load.wait_for_more(50)
            for process in (first, second):
                process.handle.terminate()
                assert process.handle.wait(PATIENCE_S) == 0
                load.wait_for_more(20)
                again = ServiceLog(stack.enter_context(running(toy_root, *arguments, port=process.port)))
                again.wait_for_requests(20)
        assert load.errors == []
        assert set(load.statuses) == {200}
