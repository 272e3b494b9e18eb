"""The process: settings, logs, the app, and uvicorn with our connections."""

import gc
import importlib.util
import logging
import socket
import sys
from collections.abc import Sequence

import uvicorn

from service import logs
from service.app import App, create_app
from service.core.errors import ArtifactError
from service.http import transport
from service.settings import ENVIRONMENT_PREFIX, BadSettings, Settings, load

log = logging.getLogger(__name__)

_GARBAGE = 5_000
"""New containers before Python looks for cycles among them. A request makes some hundreds and leaves no
cycle; with Python's own 700 it looked after every few requests, and now and then through all that was
loaded."""


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal says stop.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 2 for a bad setting, or one whose packages are missing; 3 for an address that is not
        free, or a model that was refused where the settings are strict. One line on standard error says why.
    """
    try:
        settings = load(arguments)
        if not settings.models.is_dir():
            variable = f"{ENVIRONMENT_PREFIX}MODELS (--models)"
            raise BadSettings(f"{variable}: should be a folder; got {str(settings.models)!r}.")
        if settings.grpc_port is not None:
            _check_grpc_is_installed()
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.set_up(settings.log_level)
    try:
        app = create_app(settings)
        listening = _listen(settings)
    except _AddressTaken as error:
        sys.stderr.write(f"{error}\n")
        return 3
    except ArtifactError as error:
        sys.stderr.write(f"{ENVIRONMENT_PREFIX}STRICT (--strict): every model should be sound; got {error}\n")
        return 3
    except OSError as error:
        variable = f"{ENVIRONMENT_PREFIX}MODELS (--models)"
        sys.stderr.write(f"{variable}: should be a folder that can be read; got {error.strerror}.\n")
        return 3
    _spare_what_stays()
    return 0 if _serve(app, settings, listening) else 3


class _AddressTaken(Exception):
    """Nobody else may listen there; the message is one line that names the settings."""


def _spare_what_stays() -> None:
    """Take what is loaded out of the search for garbage: it stays as long as the process does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def _check_grpc_is_installed() -> None:
    for package in ("grpc", "grpc_health", "grpc_reflection"):
        if importlib.util.find_spec(package) is None:
            variable = f"{ENVIRONMENT_PREFIX}GRPC_PORT (--grpc-port)"
            raise BadSettings(f"{variable}: needs more packages; pip install 'inkling[grpc]' installs them.")


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        variables = f"{ENVIRONMENT_PREFIX}HOST, {ENVIRONMENT_PREFIX}{setting.upper()}"
        flags = f"--host, --{setting.replace('_', '-')}"
        raise _AddressTaken(
            f"{variables} ({flags}): should be a free address; got {host}:{port}, {error.strerror}."
        ) from error


def _listen(settings: Settings) -> socket.socket:
    listening = _bind(settings.host, settings.port, "port")
    if settings.grpc_port is not None:
        try:
            _bind(settings.host, settings.grpc_port, "grpc_port").close()  # gRPC binds it, in the event loop
        except _AddressTaken:
            listening.close()
            raise
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    log.info("listening", extra={"fields": {"address": address, "documentation": f"{address}/docs"}})
    return listening


def _serve(app: App, settings: Settings, listening: socket.socket) -> bool:
    """Serve until a signal says stop; return whether the app could begin."""
    connection = transport.with_limits(
        max_connections=settings.max_connections,
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        direct=app.direct,
    )
    server = uvicorn.Server(
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
        )
    )
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return True
    return server.started
