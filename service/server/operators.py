"""Listener for operators: probes, metrics and management on a thread and event loop of their own."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate

from uvicorn.server import ServerState

from service.app import App
from service.http.security.response_headers import constant_headers
from service.http.server.connection.protocol import Connection
from service.http.server.connection_table import ConnectionTable
from service.http.server.listener import Listener
from service.http.server.server_context import ServerContext, StopFlag
from service.http.server.tls import Certificates
from service.memory.budget import Budget
from service.observability.request_log import ThreadRecorder
from service.server.connection_options import (
    abort_all,
    connection_limits,
    header_lines,
    probe_check,
    shortest_timeout_s,
)
from service.settings import Settings

_MAX_CONNECTIONS = 64
_MAX_BYTES = 32 * 2**20
_START_TIMEOUT_S = 10.0

_DATE_S = 1.0
"""Interval in seconds at which the header `Date` is renewed."""


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
        """Create it; `start` starts the thread.

        Args:
            app: The service.
            settings: Timeouts and limits of connections.
            listening: The listening socket.
            certificates: Certificates for TLS; None serves plain HTTP.
            loop: Event loop of the application, in which requests are recorded.
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
        """Start the thread, and wait until it serves."""
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S):
            raise RuntimeError("The operators' listener should have started")

    def stop(self) -> None:
        """Stop, without waiting for requests in progress."""
        self._stop()
        self._thread.join(1)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(ended.set)
        connections = ConnectionTable(_MAX_CONNECTIONS, _MAX_CONNECTIONS, shortest_timeout_s(self._settings))
        constant = header_lines(constant_headers(tls=self._certificates is not None, cors=False))
        server_context = ServerContext(
            limits=connection_limits(self._settings),
            connections=connections,
            budget=Budget(_MAX_BYTES),
            request_log=self._recorder,
            dispatch=self._dispatch,
            stopping=StopFlag(),
            constant_headers=constant,
            is_probe=probe_check(self._settings),
        )
        state = ServerState()
        listener = Listener(
            lambda slot, refusal: Connection(server_context, state, slot, refusal),
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
        await abort_all(state)
