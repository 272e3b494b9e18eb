"""`python -m service`: read the settings, build the app, run it."""

import contextlib
import signal
import sys
from types import FrameType

import uvicorn

from service import logs
from service.app import create_app
from service.http import transport
from service.settings import BadSettings, Settings, load


def main() -> None:
    """Serve until told to stop; exit with 0 after SIGTERM, with 2 and one line for a bad setting."""
    try:
        settings = load(sys.argv[1:])
        if not settings.models.is_dir():
            raise BadSettings(f"INKLING_MODELS (--models): should be a folder; got {str(settings.models)!r}.")
    except BadSettings as error:
        sys.exit(_complain(error))
    logs.set_up(settings.log_level)
    # uvicorn raises the signal again once it has stopped; without this it would end us with 143.
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.suppress(KeyboardInterrupt):
        serve(settings)


def serve(settings: Settings) -> None:
    """Run the service until a signal stops it."""
    connection = transport.with_limits(
        max_connections=settings.max_connections,
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
    )
    uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            http=connection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=settings.drain_timeout_s,  # type: ignore[arg-type]  # floats work
        )
    ).run()


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    sys.exit(0)


def _complain(error: BadSettings) -> int:
    sys.stderr.write(f"{error}\n")
    return 2


if __name__ == "__main__":
    main()
