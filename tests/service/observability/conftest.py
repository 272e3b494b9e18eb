"""Log records, and a pipe for log output."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.observability import log_output
from service.observability.json_lines import JsonFormatter
from service.observability.log_handler import LineHandler
from service.observability.log_output import BufferedOutput


def record(message: str, *arguments: object, **others: object) -> logging.LogRecord:
    """Return a record as a logger would make it."""
    made = logging.LogRecord("service.test", logging.INFO, __file__, 1, message, arguments, None)
    vars(made).update(others)
    return made


class Pipe:
    """A pipe; only the test reads it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def read(self) -> bytes:
        """Return its content."""
        found = b""
        with suppress(BlockingIOError):
            while new := os.read(self.reading, 1 << 16):
                found += new
        return found

    def events(self) -> list[str]:
        """Return the events of its content, which must be whole lines."""
        return [json.loads(line)["event"] for line in self.read().splitlines()]

    def fill(self) -> None:
        """Fill it completely, without making the writing end non-blocking."""
        own = os.open(f"/proc/self/fd/{self.writing}", os.O_WRONLY | os.O_NONBLOCK)
        with suppress(BlockingIOError):
            while True:
                os.write(own, b"x" * 4095 + b"\n")
        os.close(own)

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def handler(pipe: Pipe) -> LineHandler:
    """A handler that writes to the pipe."""
    handler = LineHandler(BufferedOutput(pipe.writing))
    handler.setFormatter(JsonFormatter())
    return handler


each_access = pytest.mark.parametrize("can_open", [True, False], ids=["opened", "polled"])
"""Whether the pipe can be opened again through /proc; not if it belongs to another user."""


@pytest.fixture
def _access(can_open: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_open:
        monkeypatch.setattr(log_output, "_reopen_nonblocking", lambda _: None)
