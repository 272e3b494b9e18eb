"""A process that serves: the application, our listeners and connections, and uvicorn's process handling."""

import asyncio
import gc
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from service import addresses
from service.addresses import CannotServe
from service.app import App, create_app
from service.core.errors import ArtifactError
from service.http.routing.root_path import strip_root_path
from service.http.security.client_address import TrustedProxies
from service.http.security.cors import CorsPolicy
from service.http.security.response_headers import Header, constant_headers
from service.http.server.connection import Connection
from service.http.server.connection_table import Connections
from service.http.server.listener import Listener
from service.http.server.request import Request
from service.http.server.server_context import Limits, ServerContext, Stopping
from service.http.server.tls import Certificates
from service.inference.admission.buckets import Buckets
from service.memory.budget import Budget
from service.multiprocess.worker import WorkerProcess
from service.observability.request_log import ThreadRecorder
from service.settings import ENVIRONMENT_PREFIX, Settings

log = logging.getLogger(__name__)

_GARBAGE = 5_000
"""New containers before Python looks for cycles among them. A request makes some hundreds and leaves no
cycle; with Python's own 700 it looked after every few requests, and now and then through all that was
loaded."""

_OPEN_TO_OTHERS = 8
"""Places that one client cannot take, unless the settings say otherwise."""

_PROBES = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})

_OPERATORS_CONNECTIONS = 64
_OPERATORS_BYTES = 32 * 2**20
_OPERATORS_START_S = 10.0

_DATE_S = 1.0
"""How often the operators' header `Date` is renewed."""


def serve(
    settings: Settings,
    bound: socket.socket | None = None,
    worker: WorkerProcess | None = None,
    buckets: Buckets | None = None,
) -> int:
    """Serve until a signal says stop.

    Args:
        settings: How.
        bound: The address, if several processes serve there; else it is taken at once, and listened on when
            the models are loaded.
        worker: This process among those.
        buckets: Where rates are counted, if several processes share them.

    Returns:
        The exit status.

    Raises:
        CannotServe: The address is not free, the models folder or a certificate cannot be read, or a model
            was refused where the settings are strict.
    """
    listening = addresses.bind(settings) if bound is None else bound
    operators = addresses.bind_operators(settings, is_shared=worker is not None)
    certificates = _certificates(settings)
    try:
        app = create_app(settings, worker, buckets)
    except ArtifactError as error:
        strict = f"{ENVIRONMENT_PREFIX}STRICT (--strict)"
        raise CannotServe(f"{strict}: every model should be sound; got {error}") from error
    except OSError as error:
        raise addresses.unreadable(error) from error
    addresses.listen(listening)
    if operators is not None:
        addresses.listen(operators, "admin_port")
    if bound is None:
        addresses.announce(listening, operators=operators, is_secure=certificates is not None)
    _spare_what_stays()
    if certificates is not None:
        app.stager.hooks.append(certificates.prepare)
    server = Server(app, settings, certificates, operators, worker)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 3


def _spare_what_stays() -> None:
    """Take what is loaded out of the search for garbage: it stays as long as the process does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return Certificates(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        names = f"{ENVIRONMENT_PREFIX}TLS_CERT, {ENVIRONMENT_PREFIX}TLS_KEY (--tls-cert, --tls-key)"
        got = error.strerror or "other content"
        raise CannotServe(f"{names}: should be a certificate and its key, in PEM; got {got}.") from error


class Server(uvicorn.Server):
    """uvicorn's server, with our own listeners, a lame duck period and a listener for operators.

    Attributes:
        server_context: What its connections share.
        connections: Those that are open.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        certificates: Certificates | None = None,
        operators: socket.socket | None = None,
        worker: WorkerProcess | None = None,
    ) -> None:
        """Prepare to serve; `run` or `serve` begin.

        Args:
            app: What is served.
            settings: How.
            certificates: For TLS; None serves plain HTTP.
            operators: A listening socket for operators; None if there is none.
            worker: This process, if several serve on one address.
        """
        self._app = app
        self._worker = worker
        self._settings = settings
        self._certificates = certificates
        self._operators_socket = operators
        self._stopping = Stopping()
        self.connections = Connections(
            settings.max_connections,
            settings.max_connections_per_client or max(1, settings.max_connections - _OPEN_TO_OTHERS),
            _shortest_timeout_s(settings),
        )
        self._proxies = TrustedProxies(settings.trusted_proxy, settings.forwarded_header)
        cors = CorsPolicy(settings.cors_origin)
        constant = _lines(constant_headers(tls=certificates is not None, cors=cors.is_on))

        def headers(request: Request | None) -> bytes:
            return cors.lines(request.head.first_headers.get(b"origin") if request else None)

        self.server_context = ServerContext(
            limits=_limits(settings),
            connections=self.connections,
            budget=app.budget,
            request_log=app.request_log,
            dispatch=app.dispatch,
            stopping=self._stopping,
            constant_headers=constant,
            headers=headers if cors.is_on else None,
            is_probe=_is_probe(settings),
            client=self._client if self._proxies else None,
        )
        self._listener: Listener | None = None
        self._operators: OperatorsThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_lame = False
        super().__init__(
            uvicorn.Config(
                app,
                http=self._connect,  # type: ignore[arg-type]  # anything that makes a protocol
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=settings.keep_alive_s,
                timeout_graceful_shutdown=settings.drain_timeout_s,  # type: ignore[arg-type]  # floats work
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and then accept connections."""
        await super().startup(sockets=[])
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(
            lambda place, refusal: Connection(self.server_context, self.server_state, place, refusal),
            self.connections,
            handshake_timeout_s=self._settings.header_timeout_s,
            certificates=self._certificates,
            is_exempt=self._proxies.contains,
            count_error=self._app.metrics.count_accept_error,
        )
        for listening in sockets or []:
            self._listener.add(listening)
        if self._worker is not None:
            self._worker.attach_listener(self._listener)
        if self._operators_socket is not None:
            self._operators = OperatorsThread(
                self._app,
                self._settings,
                self._operators_socket,
                self._certificates,
                asyncio.get_running_loop(),
            )
            self._operators.start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: at SIGTERM after the lame duck period, when the service is not ready and still answers."""
        wait_s = self._settings.lame_duck_s
        if self._is_lame or not wait_s or sig != signal.SIGTERM or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._is_lame = True
        self._captured_signals.append(sig)
        self._loop.call_soon_threadsafe(self._begin_lame_duck, wait_s)

    def _begin_lame_duck(self, wait_s: float) -> None:
        def stop() -> None:
            self.should_exit = True

        log.info("lame duck", extra={"fields": {"seconds": wait_s}})
        self._begin_stopping()
        asyncio.get_running_loop().call_later(wait_s, stop)

    def _begin_stopping(self) -> None:
        """Be not ready, and close connections with their next response."""
        if not self._stopping.is_set:
            self._stopping.is_set = True
            self._app.registry.begin_stopping()
            if self._worker is not None:
                self._worker.report_draining()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what waits, then answer what has arrived, and end."""
        del sockets  # the listener closes them
        self._begin_stopping()
        if self._worker is not None:
            self._worker.detach_listener()
        if self._listener is not None:
            await self._listener.close()
        await super().shutdown()
        await _abort_all(self.server_state)
        if self._operators is not None:
            self._operators.stop()

    def _connect(self, *, server_state: ServerState, **others: Any) -> Connection:  # noqa: ANN401 - uvicorn's
        """Make a connection, as uvicorn asks for one."""
        del others
        return Connection(self.server_context, server_state)

    def _client(self, peer: str, request: Request) -> str:
        return self._proxies.client(peer, request.head.headers)


class OperatorsThread:
    """A listener for operators on a thread and event loop of its own, unaffected by other load."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        listening: socket.socket,
        certificates: Certificates | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            app: What is served.
            settings: Timeouts and limits, which are those of every connection.
            listening: Where.
            certificates: For TLS; None serves plain HTTP.
            loop: The event loop of the application, where requests are recorded.
        """
        self._settings = settings
        self._listening = listening
        self._certificates = certificates
        self._recorder = ThreadRecorder(app.request_log, loop)
        self._dispatch = app.operators(self._recorder, loop)
        self._count_error = app.metrics.count_accept_error
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="operators", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        if not self._started.wait(_OPERATORS_START_S):
            raise RuntimeError("The operators' listener should have started")

    def stop(self) -> None:
        """End, without waiting for requests under way."""
        self._stop()
        self._thread.join(1)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(ended.set)
        connections = Connections(
            _OPERATORS_CONNECTIONS, _OPERATORS_CONNECTIONS, _shortest_timeout_s(self._settings)
        )
        constant = _lines(constant_headers(tls=self._certificates is not None, cors=False))
        server_context = ServerContext(
            limits=_limits(self._settings),
            connections=connections,
            budget=Budget(_OPERATORS_BYTES),
            request_log=self._recorder,
            dispatch=self._dispatch,
            stopping=Stopping(),
            constant_headers=constant,
            is_probe=_is_probe(self._settings),
        )
        state = ServerState()
        listener = Listener(
            lambda place, refusal: Connection(server_context, state, place, refusal),
            connections,
            handshake_timeout_s=self._settings.header_timeout_s,
            certificates=self._certificates,
            count_error=self._count_error,
        )
        listener.add(self._listening)
        self._started.set()
        while not ended.is_set():
            state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _DATE_S)
        await listener.close()
        await _abort_all(state)


async def _abort_all(state: ServerState) -> None:
    """End the connections that are left: an event loop cannot be closed while there are any."""
    for connection in list(state.connections):
        cast("Connection", connection).abort()
    await asyncio.sleep(0)


def _is_probe(settings: Settings) -> Callable[[str], bool]:
    """Return whether a path may be requested on a connection that is reserved for probes."""
    return lambda path: strip_root_path(path, settings.root_path) in _PROBES


def _lines(headers: Sequence[Header]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        drain_timeout_s=settings.drain_timeout_s,
        min_send_rate=settings.min_send_rate,
    )


def _shortest_timeout_s(settings: Settings) -> float:
    return min(
        settings.header_timeout_s, settings.body_timeout_s, settings.write_timeout_s, settings.keep_alive_s
    )
