"""A process that serves: the app, and uvicorn with our connections."""

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from service import addresses
from service.addresses import CannotServe
from service.app import App, create_app
from service.core.errors import ArtifactError
from service.http import transport
from service.multiprocess.worker import WorkerProcess
from service.settings import ENVIRONMENT_PREFIX, Settings

_GARBAGE = 5_000
"""New containers before Python looks for cycles among them. A request makes some hundreds and leaves no
cycle; with Python's own 700 it looked after every few requests, and now and then through all that was
loaded."""


def serve(settings: Settings, bound: socket.socket | None = None, worker: WorkerProcess | None = None) -> int:
    """Serve until a signal says stop.

    Args:
        settings: How.
        bound: The address, if several processes serve there; else it is taken at once, and listened on when
            the models are loaded.
        worker: This process among those.

    Returns:
        The exit status.

    Raises:
        CannotServe: The address is not free, the models folder cannot be read, or a model was refused where
            the settings are strict.
    """
    listening = addresses.bind(settings) if bound is None else bound
    try:
        app = create_app(settings, worker)
    except ArtifactError as error:
        strict = f"{ENVIRONMENT_PREFIX}STRICT (--strict)"
        raise CannotServe(f"{strict}: every model should be sound; got {error}") from error
    except OSError as error:
        raise addresses.unreadable(error) from error
    addresses.listen(listening)
    if bound is None:
        addresses.announce(listening)
    _spare_what_stays()
    return 0 if _serve(app, settings, listening, worker) else 3


class _Acceptor:
    """Accepts connections from more listening sockets, each with an asyncio server of its own."""

    def __init__(self, create_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._create_protocol = create_protocol
        self._servers: dict[int, asyncio.Task[asyncio.Server]] = {}  # by descriptor

    def add(self, sock: socket.socket) -> None:
        """Accept from this socket too."""
        loop = asyncio.get_running_loop()
        serving = loop.create_server(self._create_protocol, sock=sock.dup(), backlog=socket.SOMAXCONN)
        self._servers[sock.fileno()] = loop.create_task(serving)

    def remove(self, sock: socket.socket) -> None:
        """Stop accepting from this socket, without closing it."""
        self._servers.pop(sock.fileno()).add_done_callback(lambda task: task.result().close())


class _Server(uvicorn.Server):
    """uvicorn's server as one of several workers."""

    def __init__(self, worker: WorkerProcess | None, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and accept from the sockets of dead workers."""
        await super().startup(sockets)
        if self._worker:
            self._worker.attach_listener(_Acceptor(self._create_protocol))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and let the other workers accept from this one's socket."""
        if self._worker:
            self._worker.report_draining()
            self._worker.detach_listener()
        await super().shutdown(sockets)

    def _create_protocol(self) -> asyncio.Protocol:
        create: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = create(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _spare_what_stays() -> None:
    """Take what is loaded out of the search for garbage: it stays as long as the process does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def _serve(app: App, settings: Settings, listening: socket.socket, worker: WorkerProcess | None) -> bool:
    """Serve until a signal says stop; return whether the app could begin."""
    connection = transport.with_limits(
        max_connections=settings.max_connections,
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        direct=app.direct,
    )
    server = _Server(
        worker,
        uvicorn.Config(
            app,
            http=connection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # else any local caller could put any text into the log
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.drain_timeout_s,  # type: ignore[arg-type]  # floats work
        ),
    )
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return True
    return server.started
