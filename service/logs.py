"""One line of JSON for every event, on standard error; never a payload."""

import json
import logging
import sys
import time
from functools import lru_cache

import orjson


@lru_cache(1)
def _whole_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class JsonFormatter(logging.Formatter):
    """Writes a record as one line: time, level, event, and the fields given as `extra={"fields": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        line: dict[str, object] = {
            "time": f"{_whole_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # half a character, a number of more than 64 bits, keys that are no text
            return json.dumps(line, default=str, skipkeys=True)


def set_up(level: str) -> None:
    """Send every log line of this process to standard error as JSON.

    Args:
        level: Least severe level that is written: debug, info, warning or error.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # What no line of ours says is not looked up, half of what one costs: the logging HOWTO, "Optimization".
    for lookup in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, lookup, None)
    # It writes a line of its own for every broken form; the caller is told, and the access log too.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
