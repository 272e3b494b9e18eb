"""The serving process: shutdown, the operators' port, TLS."""

import http.client
import logging
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from service import addresses, cli
from service.app import App, create_app
from service.http.server import tls
from service.http.server.tls import Certificates
from service.inference.admission.keys import hash_of, new_key
from service.observability import json_logging
from service.server.http_server import Server
from service.settings import Settings
from tests import toys
from tests.certificates import Pair, make, shown
from tests.service.http.bodies import PREDICT, images, problem
from tests.service.http.running import PATIENCE_S, HeldPredictions, RecordedResponse
from tests.service.http.server.response_parser import responses

DOT = toys.dot(2).tobytes()
MANY = images(*range(60)).tobytes()
"""So many that they are predicted on a thread."""

OCTETS = {"Content-Type": "application/octet-stream"}
INDEX = "/v2/repository/index"


class Client:
    """One connection of a well-behaved client."""

    def __init__(self, port: int, *, is_tls: bool = False) -> None:
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=PATIENCE_S, context=context
            )
        else:
            self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self._connection.connect()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> None:
        """Send a request."""
        self._connection.request(method, path, body, {**OCTETS, **headers})

    def send_half(self, path: str) -> None:
        """Send a head, and half a body."""
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\n"
        raw = self._connection.sock
        raw.sendall(head.encode() + b"Content-Length: 784\r\n\r\n" + DOT[:300])

    def response(self) -> RecordedResponse:
        """Read a response."""
        answer = self._connection.getresponse()
        return RecordedResponse(answer.status, Headers(dict(answer.getheaders())), answer.read())

    def raw_response(self) -> RecordedResponse:
        """Read the response to what was sent without `send`."""
        answer = http.client.HTTPResponse(self._connection.sock)
        answer.begin()
        return RecordedResponse(answer.status, Headers(dict(answer.getheaders())), answer.read())

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> RecordedResponse:
        """Send a request, and read the response."""
        self.send(method, path, body, **headers)
        return self.response()

    @property
    def socket(self) -> socket.socket:
        """The socket."""
        found = self._connection.sock
        assert isinstance(found, socket.socket)
        return found


@dataclass
class Running:
    """A server on a thread."""

    server: Server
    thread: threading.Thread
    port: int
    admin_port: int
    is_tls: bool

    def connect(self) -> Client:
        """Connect to the data port."""
        return Client(self.port, is_tls=self.is_tls)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> RecordedResponse:
        """Ask on a connection of its own."""
        with self.connect() as client:
            return client.ask(method, path, body, **headers)

    def ask_operators(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> RecordedResponse:
        """Ask the operators' listener."""
        with Client(self.admin_port, is_tls=self.is_tls) as client:
            return client.ask(method, path, body, **headers)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Do what a signal does."""
        self.server.handle_exit(number, None)

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return not self.thread.is_alive()

    def call(self, work: Callable[[], object]) -> None:
        """Run something in the event loop of the data port."""
        listener = self.server._listener
        assert listener is not None
        listener._loop.call_soon_threadsafe(work)


@contextmanager
def serving(
    settings: Settings, change: Callable[[App], App] = lambda app: app, **changed: object
) -> Iterator[Running]:
    """Run a server with an operators' listener."""
    update = {"drain_timeout_s": PATIENCE_S, "port": 0, "admin_port": 0, **changed}
    settings = settings.model_copy(update=update)
    certificates = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificates = Certificates(settings.tls_cert, settings.tls_key)
    bound = addresses.bind(settings)
    operators = addresses.bind_operators(settings, is_shared=False)
    assert operators is not None
    ports = [one.getsockname()[1] for one in (bound, operators)]
    addresses.listen(bound)
    addresses.listen(operators)
    server = Server(change(create_app(settings)), settings, certificates, operators)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        wait_until(lambda: server._operators is not None and server._operators._started.is_set())
        yield Running(server, thread, ports[0], ports[1], certificates is not None)
    finally:
        server.should_exit = True
        thread.join(3 * PATIENCE_S)
        bound.close()
        operators.close()
    assert not thread.is_alive()
    assert server._app.budget.used == 0


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def through_asgi(app: App) -> App:
    """Handle predictions through ASGI."""
    return replace(app, dispatch=replace(app.dispatch, predictions=None))


# The end


def test_a_service_in_its_lame_duck_period_serves_but_is_unready(toy_settings: Settings) -> None:
    """On old connections and new ones; every response closes its connection."""
    with serving(toy_settings, lame_duck_s=600.0) as running, running.connect() as old:
        before = old.ask("GET", "/readyz")
        running.signal()
        wait_until(lambda: running.ask("GET", "/readyz").status_code == 503)
        answers = [
            old.ask("POST", PREDICT, DOT),
            running.ask("POST", PREDICT, DOT),
            running.ask("GET", "/livez"),
        ]
        operators = running.ask_operators("GET", "/readyz")

        assert before.status_code == 200
        assert "connection" not in before.headers
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert all(answer.headers["connection"] == "close" for answer in answers)
        assert operators.status_code == 503
        assert not running.server.should_exit


def test_the_lame_duck_period_ends(toy_settings: Settings) -> None:
    with serving(toy_settings, lame_duck_s=0.1) as running:
        running.signal()

        wait_until(running.has_ended)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_lame_duck_period(toy_settings: Settings, second: int) -> None:
    with serving(toy_settings, lame_duck_s=600.0) as running:
        running.signal()
        assert not running.server.should_exit
        running.signal(second)

        wait_until(running.has_ended)


@pytest.mark.parametrize(("lame_duck_s", "number"), [(0.0, signal.SIGTERM), (600.0, signal.SIGINT)])
def test_without_a_lame_duck_period_the_service_stops_at_once(
    toy_settings: Settings, lame_duck_s: float, number: int
) -> None:
    """At SIGINT always."""
    with serving(toy_settings, lame_duck_s=lame_duck_s) as running:
        running.signal(number)

        assert running.server.should_exit
        wait_until(running.has_ended)


@pytest.mark.parametrize("change", [lambda app: app, through_asgi])
def test_a_prediction_in_the_thread_pool_completes_before_the_end(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch, change: Callable[[App], App]
) -> None:
    """Directly and through ASGI, with pipelined requests after it."""
    with serving(toy_settings, change) as running, running.connect() as client, running.connect() as idle:
        held = HeldPredictions(monkeypatch)
        client.send("POST", PREDICT, MANY)
        more = f"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nPOST {PREDICT} HTTP/1.1\r\nHost: a\r\n".encode()
        client.socket.sendall(more + b"Content-Length: 0\r\n\r\n")
        held.wait_for_prediction()
        running.signal()
        assert idle.socket.recv(1) == b""
        held.release_all()
        with client.socket.makefile("rb") as file:
            text = file.read()

        answers = list(responses(text))
        assert [answer.status for answer in answers] == [200, 200, 415]
        assert ["connection" in answer.headers for answer in answers] == [False, False, True]
        wait_until(running.has_ended)


@pytest.mark.parametrize("change", [lambda app: app, through_asgi])
def test_a_prediction_beyond_the_drain_timeout_gets_a_503(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch, change: Callable[[App], App]
) -> None:
    with serving(toy_settings, change, drain_timeout_s=0.2) as running, running.connect() as client:
        held = HeldPredictions(monkeypatch)
        client.send("POST", PREDICT, MANY)
        held.wait_for_prediction()
        running.signal()
        answer = client.response()

        problem(answer, 503, "stopping")
        assert answer.headers["connection"] == "close"
        wait_until(running.has_ended)
        held.release_all()
        wait_until(lambda: running.server._app.budget.used == 0)  # the thread still has the images


@pytest.mark.parametrize("change", [lambda app: app, through_asgi])
def test_an_incomplete_body_gets_a_503_at_the_end(
    toy_settings: Settings, change: Callable[[App], App]
) -> None:
    with serving(toy_settings, change, drain_timeout_s=0.2) as running, running.connect() as client:
        client.send_half(PREDICT)
        wait_until(lambda: running.server._app.metrics.in_flight == 1)
        running.signal()

        problem(client.raw_response(), 503, "stopping")
        wait_until(running.has_ended)


def test_an_incomplete_head_does_not_delay_the_end(toy_settings: Settings) -> None:
    with serving(toy_settings, drain_timeout_s=0.2) as running, running.connect() as client:
        client.socket.sendall(b"GET /livez HT")
        running.signal()

        assert client.socket.recv(1) == b""
        wait_until(running.has_ended)


def test_requests_that_have_arrived_before_the_signal_are_answered(toy_settings: Settings) -> None:
    """Also on connections that were not accepted yet."""
    with serving(toy_settings) as running:
        gate = threading.Event()
        running.call(gate.wait)
        clients = [running.connect() for _ in range(30)]
        for client in clients:
            client.send("POST", PREDICT, DOT)
        running.signal()
        gate.set()

        assert [client.response().status_code for client in clients] == [200] * 30
        for client in clients:
            client.__exit__()


# Operators


def test_the_operators_port_has_probes_metrics_and_management(toy_settings: Settings) -> None:
    """Without keys only it has management; it has no predictions."""
    with serving(toy_settings) as running:
        running.ask("POST", PREDICT, DOT)
        found = {path: running.ask_operators("GET", path) for path in ("/livez", "/readyz", "/metrics")}
        index = running.ask_operators("POST", INDEX)
        elsewhere = running.ask("POST", INDEX)
        predicted = running.ask_operators("POST", PREDICT, DOT)
        page = running.ask_operators("GET", "/")

        assert [answer.status_code for answer in found.values()] == [200] * 3
        assert b'code="200"' in found["/metrics"].content
        assert index.status_code == 200
        assert {model["name"] for model in index.json()} == {"quadrants"}
        problem(elsewhere, 403, "management-off")
        problem(predicted, 404, "not-found")
        problem(page, 404, "not-found")


def test_operators_can_load_and_unload_models(toy_settings: Settings) -> None:
    """From their own thread."""
    with serving(toy_settings) as running:
        unloaded = running.ask_operators("POST", "/v2/repository/models/quadrants/unload")
        refused = running.ask("POST", PREDICT, DOT)
        loaded = running.ask_operators("POST", "/v2/repository/models/quadrants/load")
        answer = running.ask("POST", PREDICT, DOT)

        assert [unloaded.status_code, loaded.status_code, answer.status_code] == [200, 200, 200]
        problem(refused, 503, "model-not-ready")


def test_with_keys_management_on_the_operators_port_needs_the_right(
    toy_settings: Settings, tmp_path: Path
) -> None:
    """Probes and metrics need none."""
    reader, manager = new_key(), new_key()
    lines = [f"reader {hash_of(reader)} rights=read", f"manager {hash_of(manager)} rights=manage"]
    path = tmp_path / "keys"
    path.write_text("\n".join(lines))
    with serving(toy_settings, keys=path) as running:

        def ask(**headers: str) -> RecordedResponse:
            return running.ask_operators("POST", INDEX, None, **headers)

        problem(ask(), 401, "unauthenticated")
        problem(ask(Authorization=f"Bearer {reader}"), 403, "forbidden")
        assert ask(Authorization=f"Bearer {manager}").status_code == 200
        for probe in ("/livez", "/readyz", "/metrics"):
            assert running.ask_operators("GET", probe).status_code == 200


def test_the_operators_port_responds_while_the_main_event_loop_is_blocked(toy_settings: Settings) -> None:
    with serving(toy_settings) as running:
        gate, is_blocked = threading.Event(), threading.Event()

        def block() -> None:
            is_blocked.set()
            gate.wait(PATIENCE_S)

        running.call(block)
        assert is_blocked.wait(PATIENCE_S)
        answers = [running.ask_operators("GET", path) for path in ("/livez", "/readyz", "/metrics")]
        answers.append(running.ask_operators("POST", INDEX))
        was_blocked = not gate.is_set()
        gate.set()

        assert was_blocked
        assert [answer.status_code for answer in answers] == [200] * 4


def test_the_operators_port_responds_while_the_service_drains(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(toy_settings) as running, running.connect() as client:
        held = HeldPredictions(monkeypatch)
        client.send("POST", PREDICT, MANY)
        held.wait_for_prediction()
        running.signal()
        wait_until(lambda: running.ask_operators("GET", "/readyz").status_code == 503)
        alive = running.ask_operators("GET", "/livez")
        held.release_all()

        assert alive.status_code == 200
        assert client.response().status_code == 200


def test_requests_on_the_operators_port_are_recorded(
    toy_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service")
    with serving(toy_settings) as running:
        answer = running.ask_operators("GET", "/livez")

        def lines() -> list[Any]:
            return [line for record in caplog.records for line in vars(record).get("lines", ())]

        wait_until(lambda: any(line["request_id"] == answer.headers["x-request-id"] for line in lines()))


@pytest.mark.parametrize("is_tls", [False, True])
def test_every_response_has_the_constant_headers(
    toy_settings: Settings, tmp_path: Path, is_tls: bool
) -> None:
    """On both ports; with TLS also HSTS."""
    pair: Pair | None = make(tmp_path, "one") if is_tls else None
    files: dict[str, Any] = {"tls_cert": pair.certificate, "tls_key": pair.key} if pair else {}
    with serving(toy_settings, **files) as running:
        answers = [
            running.ask("GET", "/livez"),
            running.ask("POST", PREDICT, DOT),
            running.ask("GET", "/nowhere"),
            running.ask_operators("GET", "/livez"),
        ]

        assert [answer.status_code for answer in answers] == [200, 200, 404, 200]
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert ("strict-transport-security" in answer.headers) is is_tls
            assert answer.headers["date"]


# TLS


def test_new_connections_use_a_replaced_certificate(
    toy_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On both ports; old connections go on, and an invalid pair is ignored."""
    monkeypatch.setattr(tls, "_CHECK_S", 0)
    pair, other = make(tmp_path, "one"), make(tmp_path, "two")
    first, second = pair.fingerprint(), other.fingerprint()
    files: dict[str, Any] = {"tls_cert": pair.certificate, "tls_key": pair.key}
    with serving(toy_settings, **files) as running, running.connect() as old:
        assert old.ask("GET", "/livez").status_code == 200
        ports = (running.port, running.admin_port)
        assert [shown(port) for port in ports] == [first, first]
        pair.certificate.write_text("nonsense")
        assert [shown(port) for port in ports] == [first, first]
        pair.replace(other)
        assert [shown(port) for port in ports] == [second, second]

        assert old.ask("GET", "/livez").status_code == 200
        assert running.ask("POST", PREDICT, DOT).status_code == 200


def test_pipelined_requests_over_tls_are_all_answered(toy_settings: Settings, tmp_path: Path) -> None:
    """On both ports, without waiting for further data."""
    pair = make(tmp_path, "one")
    with serving(toy_settings, tls_cert=pair.certificate, tls_key=pair.key) as running:
        for port in (running.port, running.admin_port):
            with Client(port, is_tls=True) as client:
                client.socket.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
                text = b""
                while text.count(b"HTTP/1.1 200 OK") < 20:
                    text += client.socket.recv(10_000)
        wait_until(lambda: not len(running.server.connections))


def test_plain_http_on_a_tls_port_is_closed(toy_settings: Settings, tmp_path: Path) -> None:
    """Other connections are not affected."""
    pair = make(tmp_path, "one")
    with serving(toy_settings, tls_cert=pair.certificate, tls_key=pair.key) as running:
        for port in (running.port, running.admin_port):
            with Client(port) as plain:
                plain.socket.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                assert b"HTTP/1.1 200" not in plain.socket.recv(1000)
        assert running.ask("GET", "/livez").status_code == 200
        assert running.ask_operators("GET", "/livez").status_code == 200


# The start


SOCKETS_LEFT = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The process ends at once, and its sockets with it."""


def start(*arguments: str) -> int:
    """Run the command, which cannot start."""
    return cli.main(arguments)


@pytest.fixture(autouse=True)
def _no_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_logging, "set_up", lambda _: None)


@SOCKETS_LEFT
def test_an_occupied_operators_port_is_reported_in_one_line(
    toy_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        status = start("--models", str(toy_root), "--port", "0", "--admin-port", str(port))

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 3
    expected = "INKLING_HOST, INKLING_ADMIN_PORT (--host, --admin-port): should be a free address; got"
    assert line.startswith(f"{expected} 127.0.0.1:{port}, ")


@SOCKETS_LEFT
@pytest.mark.parametrize("wrong", ["missing", "nonsense", "nonsense as the key", "another key", "a folder"])
def test_an_invalid_certificate_is_one_line_that_names_the_file(
    toy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    pair = make(tmp_path, "one")
    named = [pair.certificate]
    if wrong == "missing":
        pair.certificate.unlink()
    elif wrong == "nonsense":
        pair.certificate.write_text("nonsense")
    elif wrong == "a folder":
        pair = Pair(tmp_path, pair.key)
        named = [tmp_path]
    elif wrong == "nonsense as the key":
        pair.key.write_text("nonsense")
        named = [pair.key]
    else:
        pair = Pair(pair.certificate, make(tmp_path, "two").key)
        named = [pair.certificate, pair.key]

    files = ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]
    status = start("--models", str(toy_root), "--port", "0", *files)

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 3
    expected = (
        "INKLING_TLS_CERT, INKLING_TLS_KEY (--tls-cert, --tls-key): should be a certificate and its key"
    )
    assert line.startswith(expected)
    assert all(f"'{path}'" in line for path in named)
    assert line.count(str(tmp_path)) == len(named)


@pytest.mark.parametrize(("given", "missing"), [("--tls-cert", "tls_key"), ("--tls-key", "tls_cert")])
def test_a_certificate_needs_its_key(
    toy_root: Path, capsys: pytest.CaptureFixture[str], given: str, missing: str
) -> None:
    """One alone would serve plain HTTP."""
    status = start("--models", str(toy_root), "--port", "0", given, "some.pem")

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line == (
        "INKLING_TLS_CERT, INKLING_TLS_KEY (--tls-cert, --tls-key): "
        f"should be given together, or neither; got no {missing}."
    )
