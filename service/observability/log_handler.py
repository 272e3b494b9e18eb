"""Logging handler that writes the lines of one turn of the event loop together.

There is no writer thread: the supervisor forks and may not have threads, the last lines before a crash would
be lost, and passing lines to a thread costs an event loop more than writing them (10 to 80 microseconds per
turn on two cores).
"""

import asyncio
import logging
from contextlib import suppress

from service.observability.json_lines import BatchRecord, warning_line
from service.observability.log_output import BufferedOutput

SHUTDOWN_S = 1.0
"""Maximum time that `logging.shutdown` waits for the log's reader, in seconds; then lines are dropped."""
RETRY_S = 0.1
"""Time between attempts to write waiting lines, in seconds."""


class LineHandler(logging.Handler):
    """Writes the lines of one turn of the event loop with one system call, at the end of the turn.

    A system call per line would cost a request as much as its prediction. Warnings, `BatchRecord`s, and lines
    of other threads are written at once, after all earlier lines. Lines that could not be written yet are
    tried again with the next line, and by a timer of the event loop.
    """

    def __init__(self, output: BufferedOutput) -> None:
        """Create a handler that writes to `output`; nothing else may use that."""
        super().__init__()
        self.output = output
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # will flush at the end of its turn
        self._retrying: asyncio.AbstractEventLoop | None = None  # has a timer that will flush
        self._last_loop: asyncio.AbstractEventLoop | None = None
        self._is_flushing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Format and enqueue a record; called under the handler's lock."""
        self._lines.append(self._format(record))
        can_wait = record.levelno < logging.WARNING and not isinstance(record, BatchRecord)
        loop = _running_loop() if can_wait else None
        if loop is None:
            self.flush()
        elif loop is not self._loop:
            self._loop = self._last_loop = loop
            loop.call_soon(self.flush)

    def write(self, text: str) -> None:
        """Write text that is not JSON, after all earlier lines; it ends with a line break."""
        self.acquire()
        try:
            self._lines.append(text.removesuffix("\n"))
            self.flush()
        finally:
            self.release()

    def flush(self) -> None:
        """Write as much as possible without blocking."""
        self.try_to_write()

    def try_to_write(self) -> bool:
        """Write as much as possible without blocking; return whether lines still wait."""
        self.acquire()
        try:
            if self._is_flushing:  # a finalizer has logged while this thread writes
                return True
            self._is_flushing = True
            try:
                self._loop = None
                if self._lines:
                    lines, self._lines = self._lines, []
                    self.output.add("\n".join([*lines, ""]))
                waits = self.output.write() or bool(self._lines)
            finally:
                self._is_flushing = False
            if waits:
                self._retry_later()
            return waits
        finally:
            self.release()

    def close(self) -> None:
        """Write waiting lines for at most `SHUTDOWN_S` seconds; drop the rest, and every later line."""
        self.flush()
        self.acquire()
        try:
            self.output.close(SHUTDOWN_S)
        finally:
            self.release()
        super().close()

    def reset(self) -> None:
        """Clear all state; after a fork it belongs to the parent."""
        self._lines.clear()
        self._loop = self._retrying = self._last_loop = None
        self._is_flushing = False
        self.output.reset()

    def _format(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # as in every handler: a logging error must not fail its caller
            return warning_line("log record not formatted", logger=record.name, reason=type(error).__name__)

    def _retry_later(self) -> None:
        """Schedule a flush in `RETRY_S` seconds in the event loop, if there is one and none is scheduled."""
        if self._retrying is not None and not self._retrying.is_closed():
            return
        loop = _running_loop() or self._last_loop
        with suppress(RuntimeError):  # it is closed
            if loop is not None:
                loop.call_soon_threadsafe(loop.call_later, RETRY_S, self._retry)
                self._retrying = loop

    def _retry(self) -> None:
        self._retrying = None
        self.flush()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
