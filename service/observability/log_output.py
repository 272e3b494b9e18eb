"""Writes lines to a file descriptor without ever blocking.

No operating system has non-blocking writes to regular files: a full disk only loses lines, but a disk that
hangs blocks the process.
"""

import errno
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from service.observability.json_lines import warning_line

if sys.platform != "win32":
    import fcntl

BUFFER_BYTES = 1 << 20
"""Size of the buffer; lines beyond it are dropped."""

_PIPE_BYTES: int = getattr(select, "PIPE_BUF", 4096)
"""Size of a write to a pipe that is atomic: not interleaved with writes of other processes."""
_END = ord("\n")


class BufferedOutput:
    """A file descriptor with a bounded buffer: writes whole lines, never blocks, counts dropped lines.

    Pipes and terminals are opened again through /proc with O_NONBLOCK, because setting it on the given
    descriptor would affect every process that shares it. If that is not allowed (a pipe of another user), and
    for sockets, at most `PIPE_BUF` bytes are written after `poll` reports that the descriptor is writable.
    Processes that share a pipe do that under a lock; else one could fill the pipe between the poll and the
    write of another.

    One write contains whole lines of at most `PIPE_BUF` bytes in total, which the kernel does not interleave
    with writes of other processes, or a single longer line.

    Not thread-safe: `LineHandler` calls it under its lock.

    Attributes:
        dropped: Number of lines dropped so far.
    """

    def __init__(self, descriptor: int | None, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Create an output with an empty buffer.

        Args:
            descriptor: File descriptor; it stays open. None drops every line.
            buffer_bytes: Size of the buffer in bytes.
        """
        self.dropped = 0
        self._waiting = bytearray()
        self._buffer_bytes = buffer_bytes
        self._unreported = 0  # dropped lines that are not reported in the log yet
        self._is_within_line = False  # the last byte written is not a line break
        self._descriptor = descriptor
        self._own: int | None = None  # the same file, opened again with O_NONBLOCK
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
            self._own = _reopen_nonblocking(descriptor)
        if self._can_block and self._own is None:
            self._poll = _poll_for_writing(descriptor)

    def add(self, lines: str) -> None:
        """Add lines, each with its line break, to the buffer; drop and count those that do not fit."""
        data = lines.encode(errors="backslashreplace")
        if self._unreported or len(self._waiting) + len(data) > self._buffer_bytes:
            self.write()
        # After one dropped line, all are dropped until the buffer is empty and the notice is written.
        free = 0 if self._unreported else self._buffer_bytes - len(self._waiting)
        if len(data) > free:
            end = data.rfind(b"\n", 0, free) + 1
            self._drop(data.count(b"\n", end))
            data = data[:end]
        self._waiting += data

    def write(self) -> bool:
        """Write as much as possible without blocking; return whether lines still wait.

        Lines that cannot be written at all (no reader, a full disk) are dropped.
        """
        try:
            while self._waiting:
                del self._waiting[: self._send(self._next_chunk())]
            if self._unreported:
                notice = warning_line("log lines dropped", lines=self._unreported).encode() + b"\n"
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

    def close(self, timeout_s: float) -> None:
        """Write waiting lines for at most `timeout_s` seconds; drop the rest, and every later line."""
        deadline = time.monotonic() + timeout_s
        while self.write() and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._own is not None:
            os.close(self._own)
        self._descriptor = self._own = None  # the number may be reused for another file
        self.write()

    def reset(self) -> None:
        """Clear the buffer and the counts; after a fork they belong to the parent."""
        self._waiting.clear()
        self.dropped = self._unreported = 0

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._unreported += lines

    def _next_chunk(self) -> bytearray:
        """Return the first waiting lines, as much as one write may contain."""
        waiting = self._waiting
        if not self._can_block or len(waiting) <= _PIPE_BYTES:
            return waiting
        end = waiting.rfind(b"\n", 0, _PIPE_BYTES) + 1
        return waiting[: end or waiting.find(b"\n") + 1]

    def _send(self, data: bytes | bytearray) -> int:
        """Write the beginning of `data`; return the number of bytes written, at least 1.

        Raises:
            BlockingIOError: The write would block.
            OSError: The write failed.
        """
        descriptor = self._descriptor if self._own is None else self._own
        if descriptor is None:
            raise OSError(errno.EBADF, "closed")
        if self._poll is None:
            sent = os.write(descriptor, data)
        else:
            with _pipe_lock(descriptor) if self._is_pipe else nullcontext():
                if not self._poll.poll(0):
                    raise BlockingIOError
                sent = os.write(descriptor, data[:_PIPE_BYTES])
        if not sent:
            raise BlockingIOError
        self._is_within_line = data[sent - 1] != _END
        return sent


def _reopen_nonblocking(descriptor: int) -> int | None:
    """Open a pipe or terminal again with O_NONBLOCK; return None if that is not possible."""
    if sys.platform != "linux":
        return None
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a pipe of another user, no reader, or no /proc
        return None


def _poll_for_writing(descriptor: int) -> "select.poll | None":
    if not hasattr(select, "poll"):  # Windows
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll


@contextmanager
def _pipe_lock(descriptor: int) -> Iterator[None]:
    """Lock a pipe against other processes that use this function.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    if sys.platform == "win32":
        yield
        return
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
