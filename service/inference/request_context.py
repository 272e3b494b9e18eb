"""Request context: identity, timing and outcome of one request."""

import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from service.inference.admission.access import Grant

CLIENT_CLOSED = 499
"""Status in log and metrics if the client disconnected before the response, as in nginx."""

_ID_BATCH = 256
"""Number of request ids that one system call generates."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class RequestContext:
    """Identity, timing and outcome of one request; created when its head has arrived.

    Attributes:
        request_id: Id that the client sent, or a generated one.
        started: Start of the request, by `time.perf_counter`.
        route: Path template; a constant if no route matches, so that clients cannot add metric series.
        model: Model name, or `-`.
        version: Model version, or `-`.
        is_prediction: Whether the request is a prediction or an explanation.
        images: Number of images in the response.
        batch: As `Prediction.batch`.
        received: Size of the body as it was received, in bytes.
        status: Status of the response; 0 before it is known.
        body_read: Whether the body was read to its end.
        grant: Admission of the request; None if neither keys nor rates apply.
        ended: End of the request, by `time.perf_counter`; 0 if it ends when it is logged.
        method, path, client: Method, path and client address; set when the request is logged.
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
        """Add the time since the previous mark to a phase; may be called after the request's deadline.

        Args:
            phase: Name of the phase.
            now: End of the phase, by `time.perf_counter`; 0 is the current time.
        """
        self._marks += phase, now or time.perf_counter()

    @property
    def phases(self) -> dict[str, float]:
        """Duration of each phase in milliseconds, rounded to microseconds, in order.

        Computed once, so that header, log and metrics agree.
        """
        if self._phases is None:
            marks, before = self._marks.copy(), self.started
            phases: dict[str, float] = {}
            for phase, now in zip(marks[::2], marks[1::2], strict=False):
                ms = int(1e6 * (now - before) + 0.5) / 1000  # Python's round is slower
                phases[phase] = ms + phases[phase] if phase in phases else ms
                before = now
            self._phases = phases  # assigned as a whole: other threads may read it
        return self._phases

    def server_timing(self) -> bytes:
        """Return the phases as the value of the header Server-Timing; empty without phases."""
        document = orjson.dumps(self.phases)  # formats numbers several times as fast as Python
        return document[2:-1].replace(b'":', b";dur=").replace(b',"', b", ")

    def age_s(self) -> float:
        """Return the seconds since the start of the request."""
        return time.perf_counter() - self.started


_unused_ids: list[str] = []


def new_request_id() -> str:
    """Return a random id of 16 hexadecimal digits."""
    try:
        return _unused_ids.pop()
    except IndexError:
        digits = os.urandom(8 * _ID_BATCH).hex()
        _unused_ids.extend(digits[at : at + 16] for at in range(16, len(digits), 16))
        return digits[:16]


def request_id_from(value: str) -> str:
    """Return the client's request id if it is valid; else a new one."""
    return value if is_request_id(value) else new_request_id()


def is_request_id(text: str) -> bool:
    """Return whether a text is a valid request id: 1 to 64 letters, digits, `.`, `_` or `-`."""
    return _REQUEST_ID.fullmatch(text) is not None
