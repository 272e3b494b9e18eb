import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import logs


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
