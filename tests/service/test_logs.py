import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import logs
from tests.conftest import REPOSITORY


def record(message: str, *arguments: object, **others: object) -> logging.LogRecord:
    """Return a record as a logger would make it."""
    made = logging.LogRecord("service.test", logging.INFO, __file__, 1, message, arguments, None)
    vars(made).update(others)
    return made


def parsed(made: logging.LogRecord) -> dict[str, Any]:
    """Format a record, and read the line back; it must be one line."""
    line = logs.JsonFormatter().format(made)
    assert len(line.splitlines()) == 1
    content: dict[str, Any] = json.loads(line)
    return content


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_line_says_when_how_severe_and_what() -> None:
    """
    Time in UTC with milliseconds, level in small letters, the event.
    """
    made = record("model ready", created=1_700_000_000.25, msecs=250.0)

    line = parsed(made)

    assert line == {"time": "2023-11-14T22:13:20.250Z", "level": "info", "event": "model ready"}
    assert datetime.fromisoformat(line["time"]).timestamp() == made.created


def test_many_lines_are_a_record_like_any_other() -> None:
    """
    Ours writes each as a line of its own, and the library's own formatters can write it.
    """
    before = time.time()
    lines = logs.Lines("service.test", "request", [{"code": 200}, {"code": 404, "path": "\n"}])

    written = [json.loads(line) for line in logs.JsonFormatter().format(lines).split("\n")]
    assert [{**line, "time": ""} for line in written] == [
        {"time": "", "level": "info", "event": "request", "code": 200},
        {"time": "", "level": "info", "event": "request", "code": 404, "path": "\n"},
    ]
    assert before <= lines.created <= time.time()
    shown = logging.Formatter("%(name)s %(levelname)s %(filename)s:%(lineno)d %(message)s").format(lines)
    assert shown == "service.test INFO :0 request"


def test_fields_stand_beside_the_event() -> None:
    """
    Fields rather than sentences: whoever searches the log needs no pattern.
    """
    line = parsed(record("request", fields={"code": 200, "ms": 1.5, "route": "/", "seen": None}))

    assert {key: line[key] for key in ("code", "ms", "route", "seen")} == {
        "code": 200,
        "ms": 1.5,
        "route": "/",
        "seen": None,
    }


def test_arguments_are_put_into_the_event() -> None:
    """
    Other packages log in the way of the standard library.
    """
    assert parsed(record("%s of %d", "one", 2))["event"] == "one of 2"


def test_value_that_json_does_not_know_is_written_as_text() -> None:
    """
    A path in a field is no reason to lose the line.
    """
    assert parsed(record("x", fields={"file": Path("a/b")}))["file"] == "a/b"


@given(
    st.text(), st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63) | st.floats(), max_size=3)
)
def test_every_event_is_one_line(event: str, fields: dict[str, object]) -> None:
    """
    Line breaks and quotes of any kind are escaped; the answer is JSON.
    """
    made = record("%s", event, fields=fields)

    line = logs.JsonFormatter().format(made)

    assert "\n" not in line
    assert "\r" not in line
    assert fields.keys() <= json.loads(line).keys()


@pytest.mark.parametrize("value", ["\ud800", 2**64, {1: "one"}, {"a": {2**70}}])
def test_value_that_cannot_be_written_does_not_lose_the_line(value: object) -> None:
    """
    Half a character, a number too long, keys that are no text.
    """
    line = parsed(record("request", fields={"value": value}))

    assert line["event"] == "request"


def test_exception_stands_inside_the_line() -> None:
    """
    With its traceback, so that one event stays one line.
    """
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        made = record("request failed", exc_info=sys.exc_info())

    line = parsed(made)

    assert line["event"] == "request failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: broken\nin two")


@pytest.mark.usefixtures("_logging_as_before")
def test_everything_goes_to_standard_error_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Our events and other packages', from the level that was asked for.
    """
    logs.set_up("warning")

    logging.getLogger("uvicorn.error").warning("theirs")
    logging.getLogger("tests").error("ours", extra={"fields": {"code": 500}})
    logging.getLogger("tests").info("not severe enough")

    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert [(line["level"], line["event"]) for line in lines] == [("warning", "theirs"), ("error", "ours")]
    assert lines[1]["code"] == 500


@pytest.mark.usefixtures("_logging_as_before")
def test_warnings_are_logged_too(capsys: pytest.CaptureFixture[str]) -> None:
    """
    What Python itself would print between the lines becomes one of them.
    """
    logs.set_up("info")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old", DeprecationWarning, "file.py", 1)

    (line,) = capsys.readouterr().err.splitlines()
    assert "DeprecationWarning: old" in json.loads(line)["event"]


class Stream(io.StringIO):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[str]] = []

    def write(self, text: str) -> int:
        self.writes.append([json.loads(line)["event"] for line in text.splitlines()])
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def handler(stream: Stream) -> logs.LineHandler:
    """A handler that nobody else writes to."""
    handler = logs.LineHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    return handler


def test_lines_of_one_turn_of_the_event_loop_are_written_together(
    handler: logs.LineHandler, stream: Stream
) -> None:
    async def say() -> None:
        for event in ("one", "two"):
            handler.handle(record(event))
        assert stream.writes == []
        await asyncio.sleep(0)
        handler.handle(record("three"))
        await asyncio.sleep(0)

    asyncio.run(say())

    assert stream.writes == [["one", "two"], ["three"]]


def test_warnings_are_written_at_once_after_what_waits(handler: logs.LineHandler, stream: Stream) -> None:
    async def say() -> None:
        handler.handle(record("one"))
        handler.handle(record("two", levelno=logging.WARNING))
        assert stream.writes == [["one", "two"]]

    asyncio.run(say())

    assert stream.writes == [["one", "two"]]


def test_lines_outside_of_the_event_loop_are_written_at_once(
    handler: logs.LineHandler, stream: Stream
) -> None:
    """
    Before it runs, in other threads, and where a loop ended with a line waiting.
    """
    handler.handle(record("before"))

    async def say() -> None:
        handler.handle(record("waiting"))
        await asyncio.to_thread(handler.handle, record("thread"))
        asyncio.get_running_loop().call_soon(handler.handle, record("last"))

    asyncio.run(say())
    handler.flush()

    async def again() -> None:
        handler.handle(record("again"))
        await asyncio.sleep(0)

    asyncio.run(again())

    assert [event for write in stream.writes for event in write] == [
        "before",
        "waiting",
        "thread",
        "last",
        "again",
    ]


_TWO_WRITERS = """
import asyncio, logging, os, sys
from service import logs
from tests.conftest import REPOSITORY

logs.set_up("info", is_shared=True)

async def write(who):
    for turn in range(100):
        for _ in range(60):
            logging.getLogger("test").info(who * 200)
        await asyncio.sleep(0)

for who in "ab":
    if os.fork() == 0:
        asyncio.run(write(who))
        os._exit(0)
os.wait(), os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no processes of this kind")
def test_lines_of_several_processes_stay_whole() -> None:
    """
    Where each writes many at once, more than a pipe takes as one, and the pipe is full.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _TWO_WRITERS], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stderr
        events = [json.loads(line)["event"] for line in writers.stderr]

    assert sorted(events) == ["a" * 200] * 6000 + ["b" * 200] * 6000


def test_a_line_that_is_longer_than_a_pipe_takes_as_one_is_written_whole() -> None:
    """
    And those beside it too, in their order.
    """
    lines = ["short\n", "long" * 5000 + "\n", *["ä" * 50 + "\n"] * 100, "no end"]
    reading, writing = os.pipe()

    logs.WholeLines(writing).write("".join(lines))
    os.close(writing)

    with os.fdopen(reading, encoding="utf-8") as stream:
        assert stream.read() == "".join(lines)
