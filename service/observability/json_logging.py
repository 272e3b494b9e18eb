"""JSON logging to standard error, one line per event, which never blocks the process; never a payload.

A log reader that stops reading must not stop the service. Lines go into a bounded buffer, and from there to
the descriptor as far as it takes them now; the rest is tried again later. When the buffer is full, lines are
dropped and counted, and the line `log lines dropped` stands in the log where they are missing.

There is no writer thread. The supervisor forks, so it may not have one; the last lines of a process that
crashes would be lost with it; and handing lines over costs an event loop more than writing them (10 to 80
microseconds a turn more, two cores). No system has non-blocking writes to regular files: a full disk costs
lines, but one that hangs blocks the process.
"""

import asyncio
import errno
import json
import logging
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from types import TracebackType

import orjson

if sys.platform != "win32":
    import fcntl

BUFFER_BYTES = 1 << 20
"""Bytes of lines that wait until the log's reader takes them; lines beyond that are dropped."""
SHUTDOWN_S = 1.0
"""Seconds that `logging.shutdown` waits for the log's reader; what remains then is dropped."""
RETRY_S = 0.1
"""Seconds between attempts to write lines that wait."""

_PIPE_BYTES: int = getattr(select, "PIPE_BUF", 4096)
"""Bytes that a pipe takes whole or not at all, and never between bytes of another process."""
_END = ord("\n")


@lru_cache(1)
def _whole_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _timestamp(seconds: float, milliseconds: float) -> str:
    return f"{_whole_second(int(seconds))}.{int(milliseconds):03d}Z"


_USUAL = vars(logging.LogRecord("", logging.INFO, "", 0, "", (), None))


class Lines(logging.LogRecord):
    """A record of one event for many requests, with one line for each, made of their fields alone.

    What `LogRecord` looks up for every record, and what handlers do for it, takes longer than a line.
    """

    def __init__(self, logger: str, event: str, lines: Sequence[Mapping[str, object]]) -> None:
        """Create a record with the current time and level INFO.

        Args:
            logger: Name of the logger.
            event: The event of every line.
            lines: The fields of each line.
        """
        now = time.time()
        self.__dict__ = {**_USUAL, "name": logger, "msg": event, "lines": lines, "created": now}
        self.msecs = 1000 * (now % 1)

    def getMessage(self) -> str:  # noqa: N802 - the library's name
        """Return the event."""
        return str(self.msg)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line: time, level, event, and the fields given as `extra={"fields": …}`.

    A record of class `Lines` becomes one line for each of its mappings.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        always: dict[str, object] = {
            "time": _timestamp(record.created, record.msecs),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if isinstance(record, Lines):
            return "\n".join([_json({**always, **fields}) for fields in vars(record)["lines"]])
        line = {**always, **getattr(record, "fields", {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _json(line)


def _json(line: Mapping[str, object]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # a lone surrogate, a number of more than 64 bits, keys that are not strings
        return json.dumps(line, default=str, skipkeys=True)


def _line(event: str, **fields: object) -> str:
    """Return a warning as a line without its end."""
    now = time.time()
    return _json({"time": _timestamp(now, 1000 * (now % 1)), "level": "warning", "event": event, **fields})


class Output:
    """A descriptor with a bounded buffer: writes whole lines, never blocks, counts what it drops.

    Pipes and terminals are opened again through /proc as descriptors that do not block, as O_NONBLOCK on the
    given one would hold for every process that shares it. Where that is not allowed (a pipe of another user),
    and for sockets, at most `PIPE_BUF` bytes are written after `poll` has found room for them; processes that
    share a pipe do so one at a time, else one could fill it between another's poll and write.

    A write to them is whole lines of together at most `PIPE_BUF` bytes, which a pipe does not mix with those
    of another process, or one longer line.

    Not thread-safe: `LineHandler` calls it under its lock.

    Attributes:
        dropped: Lines dropped so far.
    """

    def __init__(self, descriptor: int | None, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Create an output with an empty buffer.

        Args:
            descriptor: Where lines are written; it stays open. None drops every line.
            buffer_bytes: Size of the buffer.
        """
        self.dropped = 0
        self._waiting = bytearray()
        self._buffer_bytes = buffer_bytes
        self._unreported = 0  # dropped lines that no line in the log tells of yet
        self._is_within_line = False  # the last byte written is not the end of a line
        self._descriptor = descriptor
        self._own: int | None = None  # the same file, opened as one that does not block
        self._poll: select.poll | None = None
        self._is_pipe = self._can_block = False
        if descriptor is None:
            return
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:  # closed
            self._descriptor = None
            return
        self._is_pipe = stat.S_ISFIFO(mode)
        self._can_block = self._is_pipe or stat.S_ISSOCK(mode) or os.isatty(descriptor)
        if self._can_block and not stat.S_ISSOCK(mode):
            self._own = _opened_without_blocking(descriptor)
        if self._can_block and self._own is None:
            self._poll = _polling(descriptor)

    def add(self, lines: str) -> None:
        """Put lines, each with its end, into the buffer; drop and count those that find no room."""
        data = lines.encode(errors="backslashreplace")
        if self._unreported or len(self._waiting) + len(data) > self._buffer_bytes:
            self.write()
        # After the first dropped line, every line is, until the buffer is empty and the notice is written.
        room = 0 if self._unreported else self._buffer_bytes - len(self._waiting)
        if len(data) > room:
            end = data.rfind(b"\n", 0, room) + 1
            self._drop(data.count(b"\n", end))
            data = data[:end]
        self._waiting += data

    def write(self) -> bool:
        """Write what the descriptor takes now; return whether lines wait for it to take more.

        Lines that cannot be written at all (no reader, a full disk) are dropped.
        """
        try:
            while self._waiting:
                del self._waiting[: self._send(self._piece())]
            if self._unreported:
                notice = _line("log lines dropped", lines=self._unreported).encode() + b"\n"
                data = b"\n" + notice if self._is_within_line else notice
                sent = self._send(data)
                self._unreported = 0
                self._waiting += data[sent:]
        except BlockingIOError:
            return True
        except OSError:
            self._drop(self._waiting.count(b"\n"))
            self._waiting.clear()
        return bool(self._waiting)

    def close(self, patience_s: float) -> None:
        """Write what waits, for at most `patience_s` seconds; drop what remains, and every later line."""
        deadline = time.monotonic() + patience_s
        while self.write() and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._own is not None:
            os.close(self._own)
        self._descriptor = self._own = None  # the number may soon be another file's
        self.write()

    def forget(self) -> None:
        """Clear the buffer and the counts: after a fork they are the parent's."""
        self._waiting.clear()
        self.dropped = self._unreported = 0

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._unreported += lines

    def _piece(self) -> bytearray:
        """Return the first of what waits, as much as may be written at once."""
        waiting = self._waiting
        if not self._can_block or len(waiting) <= _PIPE_BYTES:
            return waiting
        end = waiting.rfind(b"\n", 0, _PIPE_BYTES) + 1
        return waiting[: end or waiting.find(b"\n") + 1]

    def _send(self, data: bytes | bytearray) -> int:
        """Write the beginning of some bytes; return how many were written, at least one.

        Raises:
            BlockingIOError: The descriptor takes nothing now.
            OSError: It cannot be written to.
        """
        descriptor = self._descriptor if self._own is None else self._own
        if descriptor is None:
            raise OSError(errno.EBADF, "closed")
        if self._poll is None:
            sent = os.write(descriptor, data)
        else:
            with _only_writer(descriptor) if self._is_pipe else nullcontext():
                if not self._poll.poll(0):
                    raise BlockingIOError
                sent = os.write(descriptor, data[:_PIPE_BYTES])
        if not sent:
            raise BlockingIOError
        self._is_within_line = data[sent - 1] != _END
        return sent


def _opened_without_blocking(descriptor: int) -> int | None:
    """Return a second descriptor of a pipe or terminal, which does not block; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # of another user, no reader, or no /proc
        return None


def _polling(descriptor: int) -> "select.poll | None":
    if not hasattr(select, "poll"):  # Windows
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll


@contextmanager
def _only_writer(descriptor: int) -> Iterator[None]:
    """Keep other processes that use this function from writing to a pipe.

    Raises:
        BlockingIOError: One of them writes now.
    """
    if sys.platform == "win32":
        yield
        return
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)


class LineHandler(logging.Handler):
    """Writes the lines of one turn of the event loop at once, at its end.

    One system call for every line would cost a request as much as its network. Warnings, `Lines`, and lines
    of other threads are written at once, after everything that was logged before. Lines that wait for the
    log's reader are tried again with the next line, and by a timer of the event loop.
    """

    def __init__(self, output: Output) -> None:
        """Create a handler that writes to `output`, which it alone uses from then on."""
        super().__init__()
        self.output = output
        self._lines: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # that will flush
        self._retrying: asyncio.AbstractEventLoop | None = None  # whose timer will flush
        self._last_loop: asyncio.AbstractEventLoop | None = None
        self._is_flushing = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; called under the handler's lock."""
        self._lines.append(self._format(record))
        can_wait = record.levelno < logging.WARNING and not isinstance(record, Lines)
        loop = _running_loop() if can_wait else None
        if loop is None:
            self.flush()
        elif loop is not self._loop:
            self._loop = self._last_loop = loop
            loop.call_soon(self.flush)

    def write(self, text: str) -> None:
        """Write text that is not JSON, after everything that was logged before; it must end with its line."""
        self.acquire()
        try:
            self._lines.append(text.removesuffix("\n"))
            self.flush()
        finally:
            self.release()

    def flush(self) -> None:
        """Write what the log's reader takes now; never blocks."""
        self.try_to_write()

    def try_to_write(self) -> bool:
        """Write what the log's reader takes now, without blocking; return whether lines wait for it."""
        self.acquire()
        try:
            if self._is_flushing:  # a finalizer logs while this thread writes
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
        """Write what waits, for at most `SHUTDOWN_S` seconds; drop what remains, and every later line."""
        self.flush()
        self.acquire()
        try:
            self.output.close(SHUTDOWN_S)
        finally:
            self.release()
        super().close()

    def forget(self) -> None:
        """Clear everything that a fork took over from the parent."""
        self._lines.clear()
        self._loop = self._retrying = self._last_loop = None
        self._is_flushing = False
        self.output.forget()

    def _format(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # as every handler: what cannot be logged must not fail what it is about
            return _line("log record not formatted", logger=record.name, reason=type(error).__name__)

    def _retry_later(self) -> None:
        """Have the event loop flush in `RETRY_S` seconds, if there is one and it is not asked already."""
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


_handler: LineHandler | None = None


def set_up(level: str) -> None:
    """Send every log line of this process, and of those it forks, to standard error as JSON.

    Args:
        level: Lowest level that is logged: debug, info, warning or error.
    """
    global _handler  # noqa: PLW0603 - as logging's own, one for the process
    _handler = LineHandler(Output(_standard_error()))
    _handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[_handler], force=True)
    logging.captureWarnings(True)
    # What no line of ours has is not looked up, half of what one costs: the logging HOWTO, "Optimization".
    for lookup in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, lookup, None)
    # It writes a line of its own for every broken form; the caller is told, and the access log too.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # Python would print these to standard error itself, and block where nobody reads it.
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_raised
    threading.excepthook = _log_raised


def dropped() -> int:
    """Return how many log lines this process has dropped, because their reader did not take them."""
    return 0 if _handler is None else _handler.output.dropped


def flush() -> bool:
    """Write log lines that wait, without blocking; return whether some still wait, for `RETRY_S` at least."""
    return _handler is not None and _handler.try_to_write()


def write(text: str) -> None:
    """Write lines that are not JSON to standard error, as log lines are written."""
    if _handler is not None:
        _handler.write(text)


def _standard_error() -> int | None:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or replaced by something that is no file
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
        _handler.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
