import asyncio
import errno
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observability import json_logging
from tests.conftest import REPOSITORY
from tests.processes import python


def record(message: str, *arguments: object, **others: object) -> logging.LogRecord:
    """Return a record as a logger would make it."""
    made = logging.LogRecord("service.test", logging.INFO, __file__, 1, message, arguments, None)
    vars(made).update(others)
    return made


def parsed(made: logging.LogRecord) -> dict[str, Any]:
    """Format a record, and read the line back; it must be one line."""
    line = json_logging.JsonFormatter().format(made)
    assert len(line.splitlines()) == 1
    content: dict[str, Any] = json.loads(line)
    return content


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, json_logging._handler
    yield
    logging.captureWarnings(False)
    sys.excepthook, sys.unraisablehook, threading.excepthook, json_logging._handler = hooks
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
    lines = json_logging.Lines("service.test", "request", [{"code": 200}, {"code": 404, "path": "\n"}])

    written = [json.loads(line) for line in json_logging.JsonFormatter().format(lines).split("\n")]
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

    line = json_logging.JsonFormatter().format(made)

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
def test_everything_goes_to_standard_error_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    """
    Our events and other packages', from the level that was asked for.
    """
    json_logging.set_up("warning")

    logging.getLogger("uvicorn.error").warning("theirs")
    logging.getLogger("tests").error("ours", extra={"fields": {"code": 500}})
    logging.getLogger("tests").info("not severe enough")

    captured = capfd.readouterr()
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert [(line["level"], line["event"]) for line in lines] == [("warning", "theirs"), ("error", "ours")]
    assert lines[1]["code"] == 500


@pytest.mark.usefixtures("_logging_as_before")
def test_warnings_are_logged_too(capfd: pytest.CaptureFixture[str]) -> None:
    """
    What Python itself would print between the lines becomes one of them.
    """
    json_logging.set_up("info")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old", DeprecationWarning, "file.py", 1)

    (line,) = capfd.readouterr().err.splitlines()
    assert "DeprecationWarning: old" in json.loads(line)["event"]


class Pipe:
    """A pipe that nobody reads unless a test does."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def read(self) -> bytes:
        """Return everything that is in it."""
        found = b""
        with suppress(BlockingIOError):
            while new := os.read(self.reading, 1 << 16):
                found += new
        return found

    def events(self) -> list[str]:
        """Return the events of the lines that are in it, which must be whole."""
        return [json.loads(line)["event"] for line in self.read().splitlines()]

    def fill(self) -> None:
        """Leave no room for a single byte, without making the writing end non-blocking."""
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
def handler(pipe: Pipe) -> json_logging.LineHandler:
    """A handler that nobody else writes to."""
    handler = json_logging.LineHandler(json_logging.Output(pipe.writing))
    handler.setFormatter(json_logging.JsonFormatter())
    return handler


def test_lines_of_one_turn_of_the_event_loop_are_written_together(
    handler: json_logging.LineHandler, pipe: Pipe
) -> None:
    """
    At its end.
    """

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


def test_warnings_are_written_at_once_after_what_waits(handler: json_logging.LineHandler, pipe: Pipe) -> None:
    """
    Whatever happens next, they are in the log.
    """

    async def log() -> None:
        handler.handle(record("one"))
        handler.handle(record("two", levelno=logging.WARNING))
        assert pipe.events() == ["one", "two"]

    asyncio.run(log())

    assert pipe.events() == []


def test_lines_outside_of_the_event_loop_are_written_at_once(
    handler: json_logging.LineHandler, pipe: Pipe
) -> None:
    """
    Before it runs, in other threads, and where a loop ended with a line waiting.
    """
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


_TWO_WRITERS = """
import asyncio, logging, os, sys
from service.observability import json_logging
from tests.conftest import REPOSITORY

json_logging.SHUTDOWN_S = 60
json_logging.set_up("info")

async def write(who):
    for turn in range(50):
        for _ in range(60):
            logging.getLogger("test").info(who * 200)
        await asyncio.sleep(0)

for who in "ab":
    if os.fork() == 0:
        asyncio.run(write(who))
        assert not json_logging.dropped()
        logging.shutdown()
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

    assert sorted(events) == ["a" * 200] * 3000 + ["b" * 200] * 3000


each_access = pytest.mark.parametrize("can_open", [True, False], ids=["opened", "polled"])
"""Whether the system lets us open a pipe again; it does not where the pipe is of another user."""


@pytest.fixture
def _access(can_open: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_open:
        monkeypatch.setattr(json_logging, "_opened_without_blocking", lambda _: None)


@each_access
@pytest.mark.usefixtures("_access")
def test_a_line_that_is_longer_than_a_pipe_takes_as_one_is_written_whole(pipe: Pipe) -> None:
    """
    And those beside it too, in their order.
    """
    lines = "".join(["short\n", "long" * 5000 + "\n", *["ä" * 50 + "\n"] * 100, "last\n"])
    output = json_logging.Output(pipe.writing)

    output.add(lines)
    waits = output.write()

    assert not waits
    assert pipe.read().decode() == lines


@each_access
@pytest.mark.usefixtures("_access")
def test_lines_wait_for_their_reader_and_are_dropped_when_the_buffer_is_full(pipe: Pipe) -> None:
    """
    Those that found room come in their order; then one line says how many are missing, and the log goes on.
    """
    output = json_logging.Output(pipe.writing, buffer_bytes=10_000)
    line = json.dumps({"event": "e" * 86}) + "\n"  # of 100 bytes
    assert len(line) == 100
    pipe.fill()

    for _ in range(50):
        output.add(3 * line)
        assert output.write()
    filled = pipe.read()
    first = output.write()
    found = pipe.read().splitlines()
    output.add(line)
    output.write()

    assert set(filled) == set(b"x\n")
    assert not first
    assert output.dropped == 50
    assert [len(one) + 1 for one in found[:-1]] == [100] * 100
    notice = json.loads(found[-1])
    assert (notice["level"], notice["event"], notice["lines"]) == ("warning", "log lines dropped", 50)
    assert pipe.read().decode() == line


def test_gaps_are_reported_one_after_the_other(pipe: Pipe) -> None:
    """
    Each with the lines that are missing at its place; together they are what was counted.
    """
    output = json_logging.Output(pipe.writing, buffer_bytes=1000)
    seen: list[dict[str, int]] = []
    for gap in (3, 5):
        pipe.fill()
        output.add("{}\n" * 333)
        for _ in range(gap):
            output.add("{}\n")
        pipe.read()
        output.write()
        seen += [json.loads(line) for line in pipe.read().splitlines()]

    notices = [line["lines"] for line in seen if line]
    assert len(notices) == 2
    assert sum(notices) == output.dropped == 8
    assert len(seen) - 2 == 2 * 333


def test_more_than_the_buffer_at_once_is_cut_between_lines(pipe: Pipe) -> None:
    """
    One turn of the event loop may end any number of requests.
    """
    output = json_logging.Output(pipe.writing, buffer_bytes=1000)

    output.add(('"' + "e" * 98 + '"\n') * 100)
    output.write()

    lines = pipe.read().splitlines()
    assert [len(line) for line in lines[:-1]] == [100] * 9
    assert json.loads(lines[-1])["lines"] == output.dropped == 91


def test_a_line_that_no_buffer_holds_is_dropped(pipe: Pipe) -> None:
    """
    Memory is bounded whatever is logged.
    """
    output = json_logging.Output(pipe.writing, buffer_bytes=1000)

    output.add("e" * 1000 + "\n")
    output.add("{}\n")
    output.write()

    notice, line = pipe.read().splitlines()
    assert json.loads(notice)["lines"] == output.dropped == 1
    assert line == b"{}"


def test_lines_that_wait_are_written_without_another(handler: json_logging.LineHandler, pipe: Pipe) -> None:
    """
    A timer of the event loop tries again, also for lines of other threads.
    """

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
def test_without_a_reader_lines_are_dropped_and_nothing_is_raised(
    handler: json_logging.LineHandler, pipe: Pipe
) -> None:
    """
    A broken pipe.
    """
    os.close(pipe.reading)

    handler.handle(record("one"))
    handler.handle(record("two"))

    assert handler.output.dropped == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_lines_that_a_full_disk_does_not_take_are_dropped() -> None:
    """
    Nothing is raised.
    """
    descriptor = os.open("/dev/full", os.O_WRONLY)
    output = json_logging.Output(descriptor)

    output.add("one\ntwo\n")
    waits = output.write()
    os.close(descriptor)

    assert not waits
    assert output.dropped == 2


def test_after_half_a_line_the_next_begins_a_line_of_its_own(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A disk that is full in the middle of a line, and then has room again.
    """
    output = json_logging.Output(pipe.writing)
    full = OSError(errno.ENOSPC, "full")
    write = os.write
    answers: Iterator[int | OSError] = iter([4, full, full])

    def full_soon(descriptor: int, data: bytes) -> int:
        answer = next(answers, len(data))
        if isinstance(answer, OSError):
            raise answer
        return write(descriptor, data[:answer])

    monkeypatch.setattr(os, "write", full_soon)

    output.add('"one"\n')
    output.write()
    output.add('"two"\n')
    output.add('"three"\n')
    output.write()

    half, notice, last = pipe.read().splitlines()
    assert (half, last) == (b'"one', b'"three"')
    assert json.loads(notice)["lines"] == output.dropped == 2


def test_an_output_without_a_descriptor_drops_every_line() -> None:
    """
    Also one that is closed.
    """
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.close(descriptor)

    for output in (json_logging.Output(None), json_logging.Output(writing)):
        output.add("one\n")
        output.write()
        assert output.dropped == 1


_HOLDING = """
import fcntl, sys
fcntl.lockf(1, fcntl.LOCK_EX)
print("held", file=sys.stderr, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("can_open", [False])
@pytest.mark.usefixtures("_access")
@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such locks")
def test_processes_that_share_a_pipe_write_one_at_a_time_after_polling(pipe: Pipe) -> None:
    """
    Else one fills it between another's poll and write, which blocks: 4 of 150 pairs stood still.
    """
    output = json_logging.Output(pipe.writing)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDING],
        stdin=subprocess.PIPE,
        stdout=pipe.writing,
        stderr=subprocess.PIPE,
    ) as other:
        assert other.stderr
        other.stderr.readline()
        output.add("one\n")
        waits = output.write()
        held = pipe.read()
        other.communicate()

    assert waits
    assert held == b""
    assert not output.write()
    assert pipe.read() == b"one\n"


@each_access
@pytest.mark.usefixtures("_access")
@pytest.mark.parametrize("is_read", [True, False])
def test_closing_waits_for_the_reader_but_not_for_ever(
    pipe: Pipe, is_read: bool, handler: json_logging.LineHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Later lines are dropped: the descriptor's number may be another file's by then.
    """
    monkeypatch.setattr(json_logging, "SHUTDOWN_S", 60.0 if is_read else 0.1)
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


def test_a_socket_that_takes_no_more_blocks_nobody() -> None:
    """
    The system's journal gives services a socket.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        output = json_logging.Output(writing.fileno())
        while output.dropped == 0:
            output.add("x" * 99_999 + "\n")
        received = b""
        while output.write():
            received += reading.recv(1 << 20)
        assert writing.getblocking()
        writing.close()
        while rest := reading.recv(1 << 20):
            received += rest

        *lines, notice = received.splitlines()
        assert json.loads(notice)["lines"] == output.dropped
        assert {len(line) for line in lines} == {99_999}
        assert len(lines) >= json_logging.BUFFER_BYTES // 100_000


def test_the_given_descriptor_stays_as_it_is(pipe: Pipe) -> None:
    """
    It is shared with other processes, such as the shell that started this one.
    """
    output = json_logging.Output(pipe.writing)
    output.add("one\n")
    output.write()
    output.close(0)

    assert os.get_blocking(pipe.writing)
    assert os.write(pipe.writing, b"two\n") == 4


def test_a_file_is_continued_where_others_write_too(tmp_path: Path) -> None:
    """
    Its position is shared: lines of another process do not write over ours.
    """
    with (tmp_path / "log").open("w") as file:
        output = json_logging.Output(file.fileno())
        output.add("one\n" * 3000)
        output.write()
        os.write(file.fileno(), b"two\n")
        output.add("three\n")
        output.write()

    assert (tmp_path / "log").read_text() == "one\n" * 3000 + "two\nthree\n"


def test_a_record_that_cannot_be_formatted_is_named(handler: json_logging.LineHandler, pipe: Pipe) -> None:
    """
    Nothing is raised, and nothing is printed beside the log.
    """
    handler.handle(record("%d", "no number"))

    line = json.loads(pipe.read())
    assert (line["event"], line["logger"]) == ("log record not formatted", "service.test")
    assert line["reason"] == "TypeError"


_FORKED = """
import logging, os, sys
from service.observability import json_logging

json_logging.set_up("info")
parent = json_logging._handler.output
own = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK)
try:
    while True:
        os.write(own, b"x" * 4095 + b"\\n")
except BlockingIOError:
    pass
logging.info("parent's")
parent.dropped += 5
if os.fork() == 0:
    assert json_logging.dropped() == 0
    assert not json_logging.flush()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert json_logging.dropped() == 5
assert json_logging.flush()
print("done", flush=True)
logging.shutdown()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the test opens its pipe again")
def test_a_fork_begins_with_an_empty_buffer_and_counts_of_its_own() -> None:
    """
    Else the parent's lines would stand in the log once for every process.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _FORKED], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        assert parent.stderr
        assert parent.stdout.readline() == b"done\n"
        lines = parent.stderr.read().splitlines()

    assert parent.returncode == 0
    assert [json.loads(line)["event"] for line in lines if not line.startswith(b"x")] == ["parent's"]


_UNCAUGHT = """
import gc, threading
from service.observability import json_logging

json_logging.set_up("info")

class Loud:
    def __del__(self):
        raise ValueError("finalizer")

def fail():
    raise ValueError("thread")

Loud()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
raise ValueError("main")
"""


def test_errors_that_python_prints_are_log_lines() -> None:
    """
    Of a finalizer, a thread and the whole program: printed by Python they would block without a reader.
    """
    done = python("-c", _UNCAUGHT)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [line["event"] for line in lines] == ["uncaught exception"] * 3
    for line, error in zip(lines, ("finalizer", "thread", "main"), strict=True):
        assert line["exception"].endswith(f"ValueError: {error}")
