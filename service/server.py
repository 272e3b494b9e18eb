"""The process: settings, logs, the app, and uvicorn with our connections."""

import contextlib
import logging
import socket
import sys
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp

from service import logs
from service.app import create_app
from service.core.errors import ArtifactError
from service.http import transport
from service.settings import ENVIRONMENT_PREFIX, BadSettings, Settings, load

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal says stop.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 2 for a bad setting; 3 for an address that is not free, or a model that was refused
        where the settings are strict. One line on standard error says which.
    """
    try:
        settings = load(arguments)
        if not settings.models.is_dir():
            variable = f"{ENVIRONMENT_PREFIX}MODELS (--models)"
            raise BadSettings(f"{variable}: should be a folder; got {str(settings.models)!r}.")
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.set_up(settings.log_level)
    try:
        app = create_app(settings)
        listening = _listen(settings)
    except OSError as error:
        sys.stderr.write(
            f"{ENVIRONMENT_PREFIX}HOST, {ENVIRONMENT_PREFIX}PORT (--host, --port): should be a free address; "
            f"got {settings.host}:{settings.port}, {error.strerror}.\n"
        )
        return 3
    except ArtifactError as error:
        sys.stderr.write(f"{ENVIRONMENT_PREFIX}STRICT (--strict): every model should be sound; got {error}\n")
        return 3
    with contextlib.suppress(KeyboardInterrupt):
        _serve(app, settings, listening)
    return 0


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    log.info("listening", extra={"fields": {"address": address, "documentation": f"{address}/docs"}})
    return listening


def _serve(app: ASGIApp, settings: Settings, listening: socket.socket) -> None:
    connection = transport.with_limits(
        max_connections=settings.max_connections,
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
        write_timeout_s=settings.write_timeout_s,
    )
    uvicorn.Server(
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
    ).run(sockets=[listening])
