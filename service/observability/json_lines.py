"""Formats log records as JSON, one line per event; never the content of a request."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache

import orjson

_process_fields: dict[str, object] = {}


def set_worker(slot: int) -> None:
    """Add the field `worker` to every line of this process: the number of its slot, from 0."""
    _process_fields["worker"] = slot


@lru_cache(1)
def _whole_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _timestamp(seconds: float, milliseconds: float) -> str:
    return f"{_whole_second(int(seconds))}.{int(milliseconds):03d}Z"


_RECORD_DEFAULTS = vars(logging.LogRecord("", logging.INFO, "", 0, "", (), None))


class BatchRecord(logging.LogRecord):
    """One record for many events of the same name, each with its own fields; it is formatted as many lines.

    Creating and handling a `LogRecord` takes longer than formatting a line.
    """

    def __init__(self, logger: str, event: str, lines: Sequence[Mapping[str, object]]) -> None:
        """Create a record with the current time and level INFO.

        Args:
            logger: Name of the logger.
            event: Event of every line.
            lines: Fields of each line.
        """
        now = time.time()
        self.__dict__ = {**_RECORD_DEFAULTS, "name": logger, "msg": event, "lines": lines, "created": now}
        self.msecs = 1000 * (now % 1)

    def getMessage(self) -> str:  # noqa: N802 - name of the base class
        """Return the event."""
        return str(self.msg)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: time, level, event, and the fields in `extra={"fields": …}`.

    A `BatchRecord` is formatted as several lines.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its line break."""
        common: dict[str, object] = {
            "time": _timestamp(record.created, record.msecs),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_process_fields,
        }
        if isinstance(record, BatchRecord):
            return "\n".join([_json({**common, **fields}) for fields in vars(record)["lines"]])
        line = {**common, **getattr(record, "fields", {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _json(line)


def warning_line(event: str, **fields: object) -> str:
    """Return a warning as a line without its line break."""
    now = time.time()
    time_text = _timestamp(now, 1000 * (now % 1))
    return _json({"time": time_text, "level": "warning", "event": event, **_process_fields, **fields})


def _json(line: Mapping[str, object]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # a lone surrogate, an integer of more than 64 bits, keys that are not strings
        return json.dumps(line, default=str, skipkeys=True)
