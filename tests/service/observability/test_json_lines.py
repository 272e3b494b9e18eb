import json
import logging
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observability import json_lines
from tests.service.observability.conftest import record


def parsed(made: logging.LogRecord) -> dict[str, Any]:
    """Format a record, and read the line back; it must be one line."""
    line = json_lines.JsonFormatter().format(made)
    assert len(line.splitlines()) == 1
    content: dict[str, Any] = json.loads(line)
    return content


def test_a_line_has_time_level_and_event() -> None:
    """Time in UTC with milliseconds, level in lower case."""
    made = record("model ready", created=1_700_000_000.25, msecs=250.0)

    line = parsed(made)

    assert line == {"time": "2023-11-14T22:13:20.250Z", "level": "info", "event": "model ready"}
    assert datetime.fromisoformat(line["time"]).timestamp() == made.created


def test_a_batch_record_is_formatted_as_one_line_per_event() -> None:
    """The standard library's formatters can format it too."""
    before = time.time()
    lines = json_lines.BatchRecord("service.test", "request", [{"code": 200}, {"code": 404, "path": "\n"}])

    written = [json.loads(line) for line in json_lines.JsonFormatter().format(lines).split("\n")]
    assert [{**line, "time": ""} for line in written] == [
        {"time": "", "level": "info", "event": "request", "code": 200},
        {"time": "", "level": "info", "event": "request", "code": 404, "path": "\n"},
    ]
    assert before <= lines.created <= time.time()
    shown = logging.Formatter("%(name)s %(levelname)s %(filename)s:%(lineno)d %(message)s").format(lines)
    assert shown == "service.test INFO :0 request"


def test_fields_are_members_of_the_line() -> None:
    line = parsed(record("request", fields={"code": 200, "ms": 1.5, "route": "/", "seen": None}))

    assert {key: line[key] for key in ("code", "ms", "route", "seen")} == {
        "code": 200,
        "ms": 1.5,
        "route": "/",
        "seen": None,
    }


def test_arguments_are_formatted_into_the_event() -> None:
    assert parsed(record("%s of %d", "one", 2))["event"] == "one of 2"


def test_a_value_that_is_not_json_is_written_as_text() -> None:
    assert parsed(record("x", fields={"file": Path("a/b")}))["file"] == "a/b"


@given(
    st.text(), st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63) | st.floats(), max_size=3)
)
def test_line_breaks_and_quotes_are_escaped(event: str, fields: dict[str, object]) -> None:
    made = record("%s", event, fields=fields)

    line = json_lines.JsonFormatter().format(made)

    assert "\n" not in line
    assert "\r" not in line
    assert fields.keys() <= json.loads(line).keys()


@pytest.mark.parametrize("value", ["\ud800", 2**64, {1: "one"}, {"a": {2**70}}])
def test_a_value_that_cannot_be_encoded_does_not_lose_the_line(value: object) -> None:
    """A lone surrogate, a large integer, keys that are not strings."""
    line = parsed(record("request", fields={"value": value}))

    assert line["event"] == "request"


def test_an_exception_is_a_member_of_the_line() -> None:
    """With its traceback."""
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        made = record("request failed", exc_info=sys.exc_info())

    line = parsed(made)

    assert line["event"] == "request failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: broken\nin two")


@pytest.fixture
def _worker_2() -> Iterator[None]:
    json_lines.set_worker(2)
    yield
    json_lines._process_fields.clear()


@pytest.mark.usefixtures("_worker_2")
def test_lines_of_a_worker_have_its_slot() -> None:
    batch = json_lines.BatchRecord("service.test", "request", [{"code": 200}])

    lines = [
        json_lines.JsonFormatter().format(record("model ready")),
        json_lines.JsonFormatter().format(batch),
        json_lines.warning_line("log lines dropped", lines=1),
    ]

    assert [json.loads(line)["worker"] for line in lines] == [2, 2, 2]
