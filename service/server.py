"""The process: settings, logs, the app, and uvicorn with our connections."""

import contextlib
import sys
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp

from service import logs
from service.app import create_app
from service.core.errors import ArtifactError
from service.http import transport
from service.settings import ENVIRONMENT_PREFIX, BadSettings, Settings, load


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal says stop.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 2 for a bad setting, 3 for a model that was refused where the settings are strict;
        one line on standard error says which.
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
    except ArtifactError as error:
        sys.stderr.write(f"{ENVIRONMENT_PREFIX}STRICT (--strict): every model should be sound; got {error}\n")
        return 3
    with contextlib.suppress(KeyboardInterrupt):
        _serve(app, settings)
    return 0


def _serve(app: ASGIApp, settings: Settings) -> None:
    connection = transport.with_limits(
        max_connections=settings.max_connections,
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
        write_timeout_s=settings.write_timeout_s,
    )
    uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
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
    ).run()
