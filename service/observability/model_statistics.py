"""What each model was asked and how long that took, since the process began.

The counts and nanoseconds of the Open Inference Protocol's statistics extension. `Metrics` counts the same
requests for Prometheus, by route.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class Tally:
    """How often something happened, and how long it took in all."""

    count: int = 0
    seconds: float = 0.0

    @property
    def ns(self) -> int:
        """How long in nanoseconds."""
        return round(1e9 * self.seconds)

    def add(self, seconds: float) -> None:
        """Count one more that took so long."""
        self.count += 1
        self.seconds += seconds

    def merge(self, count: int, seconds: float) -> None:
        """Count what another process counted, too."""
        self.count += count
        self.seconds += seconds


@dataclass
class BatchTally:
    """Executions of one batch size: what their input, inference and output took."""

    input: Tally = field(default_factory=Tally)
    infer: Tally = field(default_factory=Tally)
    output: Tally = field(default_factory=Tally)

    def tallies(self) -> tuple[Tally, ...]:
        """Return all, always in one order."""
        return self.input, self.infer, self.output


@dataclass
class Record:
    """What one version of a model was asked.

    Attributes:
        images: How many it answered.
        executions: In how many batches.
        last_ms: When the last one ended, in milliseconds since 1970; 0 before the first.
        success: Requests answered; whole durations.
        fail: Requests that ended in an error.
        queue, input, infer, output: Parts of the answered ones.
        batches: By images that ran together, at most as many as one request may hold.
    """

    images: int = 0
    executions: int = 0
    last_ms: int = 0
    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    input: Tally = field(default_factory=Tally)
    infer: Tally = field(default_factory=Tally)
    output: Tally = field(default_factory=Tally)
    batches: dict[int, BatchTally] = field(default_factory=dict)

    def tallies(self) -> tuple[Tally, ...]:
        """Return those that are not of one batch size, always in one order."""
        return self.success, self.fail, self.queue, self.input, self.infer, self.output


class Records(Protocol):
    """What knows the record of every version."""

    def of(self, name: str, version: str) -> Record:
        """Return the record of a version; an empty one if nobody asked it yet."""


_Answered = tuple[str, str, int, int, float, Mapping[str, float], float]

_UNCOUNTED = 256
"""Answered requests that are kept until they are counted together, as `Metrics` does."""


class Statistics:
    """A record of every version that was ever asked; counted on the event loop, read from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._records: dict[tuple[str, str], Record] = {}
        self._uncounted: deque[_Answered] = deque()
        self._lock = threading.Lock()

    def of(self, name: str, version: str) -> Record:
        """Return the record of a version; an empty one if nobody asked it yet."""
        self._count_all()
        return self._records.get((name, version)) or Record()

    def count(
        self,
        name: str,
        version: str,
        images: int,
        batch: int,
        seconds: float,
        phases: Mapping[str, float],
    ) -> None:
        """Count an answered request.

        Args:
            name: Of the model; one that is served, so that callers cannot make this grow.
            version: Its version.
            images: How many it answered.
            batch: How many ran together with them; 0 if another request of the same run is counted for it.
            seconds: From its head to its answer.
            phases: Milliseconds spent in each phase; not changed later.
        """
        self._uncounted.append((name, version, images, batch, seconds, phases, self._clock()))
        if len(self._uncounted) >= _UNCOUNTED:
            self._count_all()

    def _count_all(self) -> None:
        """Count the requests that are kept."""
        with self._lock:
            while self._uncounted:
                self._count_one(*self._uncounted.popleft())

    def _count_one(
        self,
        name: str,
        version: str,
        images: int,
        batch: int,
        seconds: float,
        phases: Mapping[str, float],
        ended: float,
    ) -> None:
        phase = phases.get
        queued = phase("queue", 0) / 1000
        taken_in = (phase("decode", 0) + phase("prepare", 0)) / 1000
        inferred = (phase("infer", 0) + phase("explain", 0)) / 1000
        written = phase("encode", 0) / 1000
        record = self._record(name, version)
        record.images += images
        record.last_ms = round(1000 * ended)
        record.success.add(seconds)
        record.queue.add(queued)
        record.input.add(taken_in)
        record.infer.add(inferred)
        record.output.add(written)
        if batch:
            record.executions += 1
            tally = record.batches.get(batch)
            if tally is None:
                tally = record.batches[batch] = BatchTally()
            tally.input.add(taken_in)
            tally.infer.add(inferred)
            tally.output.add(written)

    def count_failure(self, name: str, version: str, seconds: float) -> None:
        """Count a request that ended in an error after so long."""
        self._record(name, version).fail.add(seconds)

    def snapshot(self) -> list[Any]:
        """Return everything that was counted, as JSON can have it, for `add`."""
        self._count_all()
        return [
            (
                *version,
                (record.images, record.executions, record.last_ms),
                [(tally.count, tally.seconds) for tally in record.tallies()],
                [
                    (size, [(tally.count, tally.seconds) for tally in batch.tallies()])
                    for size, batch in list(record.batches.items())
                ],
            )
            for version, record in list(self._records.items())  # a copy: another thread may add some
        ]

    def add(self, snapshot: Iterable[Any]) -> None:
        """Count what another process counted, too."""
        for name, version, (images, executions, last_ms), tallies, batches in snapshot:
            record = self._record(name, version)
            record.images += images
            record.executions += executions
            record.last_ms = max(record.last_ms, last_ms)
            for own, other in zip(record.tallies(), tallies, strict=True):
                own.merge(*other)
            for size, others in batches:
                batch = record.batches.setdefault(size, BatchTally())
                for own, other in zip(batch.tallies(), others, strict=True):
                    own.merge(*other)

    def _record(self, name: str, version: str) -> Record:
        record = self._records.get((name, version))
        if record is None:
            record = self._records[name, version] = Record()
        return record
