import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from service.observability import json_logging
from tests.conftest import REPOSITORY
from tests.processes import python


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """Restore the logging configuration of the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, json_logging._handler
    yield
    logging.captureWarnings(False)
    sys.excepthook, sys.unraisablehook, threading.excepthook, json_logging._handler = hooks
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_logging_as_before")
def test_all_loggers_write_json_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """From the configured level on."""
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
def test_python_warnings_are_logged(capfd: pytest.CaptureFixture[str]) -> None:
    json_logging.set_up("info")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old", DeprecationWarning, "file.py", 1)

    (line,) = capfd.readouterr().err.splitlines()
    assert "DeprecationWarning: old" in json.loads(line)["event"]


_TWO_WRITERS = """
import asyncio, logging, os, sys
from service.observability import json_logging, log_handler
from tests.conftest import REPOSITORY

log_handler.SHUTDOWN_S = 60
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_lines_of_several_processes_are_not_interleaved() -> None:
    """Each writes more at once than an atomic write to the pipe, and the pipe is full."""
    with subprocess.Popen(
        [sys.executable, "-c", _TWO_WRITERS], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stderr
        events = [json.loads(line)["event"] for line in writers.stderr]

    assert sorted(events) == ["a" * 200] * 3000 + ["b" * 200] * 3000


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
def test_a_forked_process_starts_with_an_empty_buffer() -> None:
    """Else each process would write the parent's lines again."""
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


def test_uncaught_exceptions_are_logged() -> None:
    """Of a finalizer, a thread and the main thread; Python would print them and may block."""
    done = python("-c", _UNCAUGHT)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [line["event"] for line in lines] == ["uncaught exception"] * 3
    for line, error in zip(lines, ("finalizer", "thread", "main"), strict=True):
        assert line["exception"].endswith(f"ValueError: {error}")
