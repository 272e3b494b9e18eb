"""What is known of one request while it is being answered."""

import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from service.inference.admission.access import Grant

CLIENT_CLOSED = 499
"""Status in log and metrics for a caller who left before the answer, as nginx writes it."""


_IDS = 256
"""Request ids that are made at once."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class RequestContext:
    """What is known of one request while it is being answered.

    Attributes:
        request_id: The caller's own, or a new one.
        route: The path's template; a fixed word where no route matched, so that callers cannot make
            metrics grow.
        model: Name of the model that answers, or `-`.
        version: Its version, or `-`.
        is_prediction: Whether the model is asked what it makes of images.
        images: How many images it answered.
        batch: How many images ran together with its own; 0 if another request says it.
        received: Bytes of the body, as they came over the wire.
        status: Of the answer; 0 before it is known.
        body_read: Whether the body was read to its end.
        grant: Its admission; None where neither keys nor rates apply.
        ended: When it was answered, by `time.perf_counter`; 0 if that is when it is recorded.
        method, path, client: Verb, path and the client's address, set when it is recorded.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    route: str = "(none)"
    model: str = "-"
    version: str = "-"
    is_prediction: bool = False
    images: int = 0
    batch: int = 0
    received: int = 0
    status: int = 0
    body_read: bool = False
    grant: Grant | None = None
    ended: float = 0.0
    method: str = "-"
    path: str = "-"
    client: str = "-"
    _marks: list[Any] = field(default_factory=list)
    _phases: dict[str, float] | None = None

    def mark(self, phase: str, now: float = 0.0) -> None:
        """Add the time since the previous mark to a phase; a worker may do so after its deadline too.

        Args:
            phase: Its name.
            now: When it ended, by `time.perf_counter`; 0 for now.
        """
        self._marks += phase, now or time.perf_counter()

    @property
    def phases(self) -> dict[str, float]:
        """Milliseconds spent in each phase, in microseconds' precision and in order.

        The same from the first time on, so that header, log and metrics agree.
        """
        if self._phases is None:
            marks, before = self._marks.copy(), self.started
            phases: dict[str, float] = {}
            for phase, now in zip(marks[::2], marks[1::2], strict=False):
                ms = int(1e6 * (now - before) + 0.5) / 1000  # Python's round is slower
                phases[phase] = ms + phases[phase] if phase in phases else ms
                before = now
            self._phases = phases  # at once: another thread may come here too
        return self._phases

    def server_timing(self) -> bytes:
        """Return the time that each phase took, as the header Server-Timing has it, if any."""
        document = orjson.dumps(self.phases)  # which writes numbers several times as fast as Python does
        return document[2:-1].replace(b'":', b";dur=").replace(b',"', b", ")

    def age_s(self) -> float:
        """Return the seconds since it began."""
        return time.perf_counter() - self.started


_unused_ids: list[str] = []


def new_request_id() -> str:
    """Return 16 hexadecimal digits that nobody can guess."""
    try:
        return _unused_ids.pop()
    except IndexError:  # many at once, for one system call
        digits = os.urandom(8 * _IDS).hex()
        _unused_ids.extend(digits[at : at + 16] for at in range(16, len(digits), 16))
        return digits[:16]


def request_id_from(given: str) -> str:
    """Return the id that a caller gave, if it is one that can stand in a log; else a new one."""
    return given if is_request_id(given) else new_request_id()


def is_request_id(text: str) -> bool:
    """Tell whether an id can stand in a log."""
    return _REQUEST_ID.fullmatch(text) is not None
