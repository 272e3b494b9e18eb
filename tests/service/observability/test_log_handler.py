import asyncio
import json
import logging
import os
import threading

import pytest

from service.observability import log_handler
from service.observability.log_handler import LineHandler
from tests.service.observability.conftest import Pipe, each_access, record


def test_lines_of_one_turn_of_the_event_loop_are_written_together(handler: LineHandler, pipe: Pipe) -> None:
    """At its end."""

    async def log() -> None:
        for event in ("one", "two"):
            handler.handle(record(event))
        assert pipe.events() == []
        await asyncio.sleep(0)
        assert pipe.events() == ["one", "two"]
        handler.handle(record("three"))
        await asyncio.sleep(0)

    asyncio.run(log())

    assert pipe.events() == ["three"]


def test_warnings_are_written_at_once_after_waiting_lines(handler: LineHandler, pipe: Pipe) -> None:

    async def log() -> None:
        handler.handle(record("one"))
        handler.handle(record("two", levelno=logging.WARNING))
        assert pipe.events() == ["one", "two"]

    asyncio.run(log())

    assert pipe.events() == []


def test_lines_outside_of_the_event_loop_are_written_at_once(handler: LineHandler, pipe: Pipe) -> None:
    """Before it runs, in other threads, and if a loop ended with a waiting line."""
    handler.handle(record("before"))
    before = pipe.events()

    async def log() -> None:
        handler.handle(record("waiting"))
        await asyncio.to_thread(handler.handle, record("thread"))
        assert pipe.events() == ["waiting", "thread"]
        asyncio.get_running_loop().call_soon(handler.handle, record("last"))

    asyncio.run(log())
    handler.flush()

    async def again() -> None:
        handler.handle(record("again"))
        await asyncio.sleep(0)

    asyncio.run(again())

    assert before == ["before"]
    assert pipe.events() == ["last", "again"]


def test_waiting_lines_are_retried_by_a_timer(handler: LineHandler, pipe: Pipe) -> None:
    """Also lines of other threads."""

    async def log() -> None:
        pipe.fill()
        handler.handle(record("loop"))
        await asyncio.sleep(0)
        await asyncio.to_thread(handler.handle, record("thread"))
        pipe.read()
        events: list[str] = []
        while len(events) < 2:
            await asyncio.sleep(0.01)
            events += pipe.events()
        assert events == ["loop", "thread"]

    asyncio.run(asyncio.wait_for(log(), 30))


@each_access
@pytest.mark.usefixtures("_access")
def test_lines_are_dropped_without_a_reader(handler: LineHandler, pipe: Pipe) -> None:
    """A broken pipe raises no error."""
    os.close(pipe.reading)

    handler.handle(record("one"))
    handler.handle(record("two"))

    assert handler.output.dropped == 2


@each_access
@pytest.mark.usefixtures("_access")
@pytest.mark.parametrize("is_read", [True, False])
def test_closing_waits_for_the_reader_for_a_limited_time(
    pipe: Pipe, is_read: bool, handler: LineHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later lines are dropped: the descriptor may be reused for another file."""
    monkeypatch.setattr(log_handler, "SHUTDOWN_S", 60.0 if is_read else 0.1)
    pipe.fill()
    handler.handle(record("one"))
    reader = threading.Timer(0.05, pipe.read)
    if is_read:
        reader.start()

    handler.close()
    if is_read:
        reader.join()
    handler.handle(record("two"))

    found = pipe.read()
    assert found.endswith(b'"event":"one"}\n') == is_read
    assert b"two" not in found
    assert handler.output.dropped == (1 if is_read else 2)


def test_a_record_that_cannot_be_formatted_is_reported(handler: LineHandler, pipe: Pipe) -> None:
    handler.handle(record("%d", "no number"))

    line = json.loads(pipe.read())
    assert (line["event"], line["logger"]) == ("log record not formatted", "service.test")
    assert line["reason"] == "TypeError"
