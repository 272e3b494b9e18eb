"""One line of JSON for every event, on standard error; never a payload."""

import asyncio
import json
import logging
import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TextIO, cast

import orjson

_PIPE_BYTES: int = getattr(select, "PIPE_BUF", 4096)
"""What a pipe takes at once or not at all, whoever else writes."""


@lru_cache(1)
def _whole_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


_USUAL = vars(logging.LogRecord("", logging.INFO, "", 0, "", (), None))


class Lines(logging.LogRecord):
    """A record of what happened for many requests, a line for each: made of their fields alone.

    What `LogRecord` looks up for every record, and what handlers do for it, takes longer than a line.
    """

    def __init__(self, logger: str, event: str, lines: Sequence[Mapping[str, object]]) -> None:
        """Say what happened, now.

        Args:
            logger: Name of who says it.
            event: What, every time.
            lines: What is known of it each time.
        """
        now = time.time()
        self.__dict__ = {**_USUAL, "name": logger, "msg": event, "lines": lines, "created": now}
        self.msecs = 1000 * (now % 1)

    def getMessage(self) -> str:  # noqa: N802 - the library's name
        """Return what happened."""
        return str(self.msg)


class JsonFormatter(logging.Formatter):
    """Writes a record as one line: time, level, event, and the fields given as `extra={"fields": …}`.

    Of `Lines` it writes one line for each.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        always: dict[str, object] = {
            "time": f"{_whole_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if isinstance(record, Lines):
            return "\n".join([_written({**always, **fields}) for fields in vars(record)["lines"]])
        line = {**always, **getattr(record, "fields", {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _written(line)


def _written(line: Mapping[str, object]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half a character, a number of more than 64 bits, keys that are no text
        return json.dumps(line, default=str, skipkeys=True)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes what is said in one turn of the event loop at once, at its end.

    One system call for every line would cost a request as much as its network. Warnings, `Lines`, and what
    other threads say, are written at once, after everything that was said before.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will flush

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; called under the handler's lock."""
        try:
            self._lines.append(self.format(record))
            can_wait = record.levelno < logging.WARNING and not isinstance(record, Lines)
            loop = _running_loop() if can_wait else None
            if loop is None:
                self.flush()
            elif loop is not self._loop:
                self._loop = loop
                loop.call_soon(self.flush)
        except Exception:  # as every handler: what cannot be logged must not fail what it is about
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._loop = None
            if self._lines:
                text = "\n".join([*self._lines, ""])
                self._lines.clear()
                self.stream.write(text)
            super().flush()
        finally:
            self.release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class WholeLines:
    """A stream that several processes write to, in pieces of whole lines that a pipe does not tear apart.

    A longer line, which only a traceback can be, is written by itself; it could be torn where a pipe is full.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """Write whole lines."""
        rest = text.encode(errors="backslashreplace")
        while rest:
            end = len(rest) if len(rest) <= _PIPE_BYTES else rest.rfind(b"\n", 0, _PIPE_BYTES) + 1
            end = end or rest.find(b"\n") + 1 or len(rest)
            written = os.write(self._descriptor, rest[:end])
            rest = rest[written:]

    def flush(self) -> None:
        """Do nothing: nothing is held back."""


def set_up(level: str, is_shared: bool = False) -> None:
    """Send every log line of this process to standard error as JSON.

    Args:
        level: Least severe level that is written: debug, info, warning or error.
        is_shared: Whether several processes write there.
    """
    handler = LineHandler(cast(TextIO, WholeLines(sys.stderr.fileno())) if is_shared else sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # What no line of ours says is not looked up, half of what one costs: the logging HOWTO, "Optimization".
    for lookup in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, lookup, None)
    # It writes a line of its own for every broken form; the caller is told, and the access log too.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
