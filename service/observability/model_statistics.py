"""Statistics of each model since the start of the process: counts and durations of predictions.

They are those of the Open Inference Protocol's statistics extension. `Metrics` counts the same requests by
route, for Prometheus.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class StatisticDuration:
    """Number of events, and their total duration."""

    count: int = 0
    seconds: float = 0.0

    @property
    def ns(self) -> int:
        """Total duration in nanoseconds."""
        return round(1e9 * self.seconds)

    def add(self, seconds: float) -> None:
        """Count one event of this duration."""
        self.count += 1
        self.seconds += seconds

    def merge(self, count: int, seconds: float) -> None:
        """Add the counts of another process."""
        self.count += count
        self.seconds += seconds


@dataclass
class BatchStatistics:
    """Executions of one batch size: durations of input, inference and output."""

    input: StatisticDuration = field(default_factory=StatisticDuration)
    infer: StatisticDuration = field(default_factory=StatisticDuration)
    output: StatisticDuration = field(default_factory=StatisticDuration)

    def durations(self) -> tuple[StatisticDuration, ...]:
        """Return all durations, in constant order."""
        return self.input, self.infer, self.output


@dataclass
class VersionStatistics:
    """Statistics of one version of a model.

    Attributes:
        images: Number of predicted images.
        executions: Number of batches.
        last_ms: End of the last request, in milliseconds since 1970; 0 without any.
        success: Successful requests, with their whole duration.
        fail: Requests that ended in an error.
        queue, input, infer, output: Phases of successful requests.
        batches: Executions by batch size.
    """

    images: int = 0
    executions: int = 0
    last_ms: int = 0
    success: StatisticDuration = field(default_factory=StatisticDuration)
    fail: StatisticDuration = field(default_factory=StatisticDuration)
    queue: StatisticDuration = field(default_factory=StatisticDuration)
    input: StatisticDuration = field(default_factory=StatisticDuration)
    infer: StatisticDuration = field(default_factory=StatisticDuration)
    output: StatisticDuration = field(default_factory=StatisticDuration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)

    def durations(self) -> tuple[StatisticDuration, ...]:
        """Return all durations except those of `batches`, in constant order."""
        return self.success, self.fail, self.queue, self.input, self.infer, self.output


class StatisticsReader(Protocol):
    """Returns the statistics of a model version."""

    def of(self, name: str, version: str) -> VersionStatistics:
        """Return the statistics of a version; all zero without requests."""


_Request = tuple[str, str, int, int, float, Mapping[str, float], float]

_MAX_BUFFERED = 256
"""Number of requests that are buffered and then counted together, as in `Metrics`."""


class Statistics:
    """Statistics of every model version; written by the event loop, read from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._records: dict[tuple[str, str], VersionStatistics] = {}
        self._buffer: deque[_Request] = deque()
        self._lock = threading.Lock()

    def of(self, name: str, version: str) -> VersionStatistics:
        """Return the statistics of a version; all zero without requests."""
        self._count_all()
        return self._records.get((name, version)) or VersionStatistics()

    def count(
        self,
        name: str,
        version: str,
        images: int,
        batch: int,
        seconds: float,
        phases: Mapping[str, float],
    ) -> None:
        """Count a successful request.

        Args:
            name: Name of a served model, so that clients cannot fill the memory.
            version: Version of the model.
            images: Number of images.
            batch: As `Prediction.batch`.
            seconds: Duration of the request.
            phases: Duration of each phase in milliseconds; not modified later.
        """
        self._buffer.append((name, version, images, batch, seconds, phases, self._clock()))
        if len(self._buffer) >= _MAX_BUFFERED:
            self._count_all()

    def _count_all(self) -> None:
        """Count the buffered requests."""
        with self._lock:
            while self._buffer:
                self._count_one(*self._buffer.popleft())

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
        queue_s = phase("queue", 0) / 1000
        input_s = (phase("decode", 0) + phase("prepare", 0)) / 1000
        infer_s = (phase("infer", 0) + phase("explain", 0)) / 1000
        output_s = phase("encode", 0) / 1000
        record = self._record(name, version)
        record.images += images
        record.last_ms = round(1000 * ended)
        record.success.add(seconds)
        record.queue.add(queue_s)
        record.input.add(input_s)
        record.infer.add(infer_s)
        record.output.add(output_s)
        if batch:
            record.executions += 1
            executions = record.batches.get(batch)
            if executions is None:
                executions = record.batches[batch] = BatchStatistics()
            executions.input.add(input_s)
            executions.infer.add(infer_s)
            executions.output.add(output_s)

    def count_failure(self, name: str, version: str, seconds: float) -> None:
        """Count a request that ended in an error after `seconds`."""
        self._record(name, version).fail.add(seconds)

    def snapshot(self) -> list[Any]:
        """Return all statistics as a JSON array, for `add`."""
        self._count_all()
        return [
            (
                *version,
                (record.images, record.executions, record.last_ms),
                [(duration.count, duration.seconds) for duration in record.durations()],
                [
                    (size, [(duration.count, duration.seconds) for duration in batch.durations()])
                    for size, batch in list(record.batches.items())
                ],
            )
            for version, record in list(self._records.items())  # a copy: other threads may add versions
        ]

    def add(self, snapshot: Iterable[Any]) -> None:
        """Add a snapshot of another process."""
        for name, version, (images, executions, last_ms), durations, batches in snapshot:
            record = self._record(name, version)
            record.images += images
            record.executions += executions
            record.last_ms = max(record.last_ms, last_ms)
            for own, other in zip(record.durations(), durations, strict=True):
                own.merge(*other)
            for size, others in batches:
                batch = record.batches.setdefault(size, BatchStatistics())
                for own, other in zip(batch.durations(), others, strict=True):
                    own.merge(*other)

    def _record(self, name: str, version: str) -> VersionStatistics:
        record = self._records.get((name, version))
        if record is None:
            record = self._records[name, version] = VersionStatistics()
        return record
