"""Configures logging: JSON lines on standard error that never block the process.

A log reader that stops reading must not stop the service. Lines go into a bounded buffer and are written from
there without blocking. When the buffer is full, lines are dropped and counted, and the line `log lines
dropped` marks the gap in the log.
"""

import logging
import os
import sys
import threading
from types import TracebackType

from service.observability.json_lines import JsonFormatter
from service.observability.log_handler import LineHandler
from service.observability.log_output import BufferedOutput

_handler: LineHandler | None = None


def set_up(level: str) -> None:
    """Configure logging of this process and of its forked children: JSON lines on standard error.

    Args:
        level: Lowest level that is logged: debug, info, warning or error.
    """
    global _handler  # noqa: PLW0603 - one per process, like logging's own state
    _handler = LineHandler(BufferedOutput(_standard_error()))
    _handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[_handler], force=True)
    logging.captureWarnings(True)
    # Skip fields that no line contains; they are half of the cost. See the logging HOWTO, "Optimization".
    for lookup in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, lookup, None)
    # It logs every invalid form; the client gets an error, and the access log has a line.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # Python would print these to standard error, and block if it is not read.
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_raised
    threading.excepthook = _log_raised


def dropped() -> int:
    """Return the number of log lines that this process has dropped because the log's reader is too slow."""
    return 0 if _handler is None else _handler.output.dropped


def flush() -> bool:
    """Write waiting log lines without blocking; return whether some still wait."""
    return _handler is not None and _handler.try_to_write()


def write(text: str) -> None:
    """Write lines that are not JSON to standard error, in order with the log lines."""
    if _handler is not None:
        _handler.write(text)


def _standard_error() -> int | None:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or replaced by an object without a descriptor
        return None


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    caught = error or kind()
    logging.getLogger(__name__).error("uncaught exception", exc_info=(kind, caught, traceback))


def _log_raised(raised: "sys.UnraisableHookArgs | threading.ExceptHookArgs") -> None:
    if raised.exc_type is not SystemExit:
        _log_uncaught(raised.exc_type, raised.exc_value, raised.exc_traceback)


def _after_fork() -> None:
    if _handler is not None:
        _handler.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
