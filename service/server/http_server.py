"""uvicorn's server with our own listeners, a lame duck period, and a listener for operators."""

import asyncio
import logging
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from service.app import App
from service.http.security.client_address import TrustedProxies
from service.http.security.cors import CorsPolicy
from service.http.security.response_headers import constant_headers
from service.http.server.connection.protocol import Connection
from service.http.server.connection_table import ConnectionTable
from service.http.server.listener import Listener
from service.http.server.request import Request
from service.http.server.server_context import ServerContext, StopFlag
from service.http.server.tls import Certificates
from service.multiprocess.worker import WorkerProcess
from service.server.connection_options import (
    abort_all,
    connection_limits,
    header_lines,
    probe_check,
    shortest_timeout_s,
)
from service.server.operators import OperatorsThread
from service.settings import Settings

log = logging.getLogger(__name__)

_RESERVED_FOR_OTHERS = 8
"""Connections that a single client cannot occupy, unless the settings say otherwise."""


class Server(uvicorn.Server):
    """uvicorn's server with our own listeners, a lame duck period and a listener for operators.

    Attributes:
        server_context: Options and state that all connections share.
        connections: Table of open connections.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        certificates: Certificates | None = None,
        operators: socket.socket | None = None,
        worker: WorkerProcess | None = None,
    ) -> None:
        """Create it; `run` or `serve` start it.

        Args:
            app: The service.
            settings: The settings.
            certificates: Certificates for TLS; None serves plain HTTP.
            operators: Listening socket for operators; None without one.
            worker: This worker process; None if only one process serves.
        """
        self._app = app
        self._worker = worker
        self._settings = settings
        self._certificates = certificates
        self._operators_socket = operators
        self._stopping = StopFlag()
        self.connections = ConnectionTable(
            settings.max_connections,
            settings.max_connections_per_client or max(1, settings.max_connections - _RESERVED_FOR_OTHERS),
            shortest_timeout_s(settings),
        )
        self._proxies = TrustedProxies(settings.trusted_proxy, settings.forwarded_header)
        cors = CorsPolicy(settings.cors_origin)
        constant = header_lines(constant_headers(tls=certificates is not None, cors=cors.is_on))

        def headers(request: Request | None) -> bytes:
            return cors.lines(request.head.first_headers.get(b"origin") if request else None)

        self.server_context = ServerContext(
            limits=connection_limits(settings),
            connections=self.connections,
            budget=app.budget,
            request_log=app.request_log,
            dispatch=app.dispatch,
            stopping=self._stopping,
            constant_headers=constant,
            headers=headers if cors.is_on else None,
            is_probe=probe_check(settings),
            client=self._client if self._proxies else None,
        )
        self._listener: Listener | None = None
        self._operators: OperatorsThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_lame = False
        super().__init__(
            uvicorn.Config(
                app,
                http=self._connect,  # type: ignore[arg-type]  # any protocol factory
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
        """Start the application, then accept connections."""
        await super().startup(sockets=[])
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(
            lambda slot, refusal: Connection(self.server_context, self.server_state, slot, refusal),
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
        """Handle a signal: SIGTERM starts the lame duck period, in which an unready service serves."""
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
        """Become unready, and close connections after their next response."""
        if not self._stopping.is_set:
            self._stopping.is_set = True
            self._app.registry.begin_stopping()
            if self._worker is not None:
                self._worker.report_draining()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept queued connections, answer requests that have arrived, and stop."""
        del sockets  # the listener closes them
        self._begin_stopping()
        if self._worker is not None:
            self._worker.detach_listener()
        if self._listener is not None:
            await self._listener.close()
        await super().shutdown()
        await abort_all(self.server_state)
        if self._operators is not None:
            self._operators.stop()

    def _connect(self, *, server_state: ServerState, **others: Any) -> Connection:  # noqa: ANN401 - uvicorn's
        """Create a connection; uvicorn's protocol factory."""
        del others
        return Connection(self.server_context, server_state)

    def _client(self, peer: str, request: Request) -> str:
        return self._proxies.client(peer, request.head.headers)
