import json
import logging

import pytest

from service.inference.admission import audit
from service.inference.admission.audit import Actor
from service.observability import json_lines


def test_a_change_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """With client, operation, and versions before and after."""
    audit.record(Actor("ops", "192.0.2.1", "abc"), "load", "ink", ["1"], ["1", "2"])

    (record,) = caplog.records
    line = json.loads(json_lines.JsonFormatter().format(record))
    del line["time"]
    assert line == {
        "level": "info",
        "event": "management",
        "key": "ops",
        "address": "192.0.2.1",
        "request_id": "abc",
        "operation": "load",
        "model": "ink",
        "before": ["1"],
        "after": ["1", "2"],
        "outcome": "done",
    }


def test_the_record_is_written_at_any_log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET)
    root = logging.getLogger()
    level = root.level
    try:
        root.setLevel(logging.ERROR)
        audit.record(Actor(), "unload", "ink", ["1"], [])
    finally:
        root.setLevel(level)

    assert [record.getMessage() for record in caplog.records] == ["management"]
