"""Prometheus metrics of the service.

Requests are counted in plain lists, and converted to the client library's objects at each scrape, which is
rare. Thread-safe: scrapes need not run on the event loop that counts, and hold the lock only while they copy
numbers.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.inference.request_context import RequestContext
from service.observability import json_logging

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

_MAX_BUFFERED = 256
"""Number of requests that are buffered, then counted together. Counting each on its own takes several times
as long, because its code has left the processor's caches."""


class _Histogram:
    """Histogram with one label. Not thread-safe: `Metrics` holds a lock."""

    def __init__(self, name: str, documentation: str, label: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._bounds = bounds
        self._edges = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self.observed: dict[str, list[float]] = defaultdict(list)  # by label; waiting for `count`

    def count(self) -> None:
        """Count the observed values, all at once: ten times as fast as one by one."""
        for label, values in self.observed.items():
            counts = self._counts.setdefault(label, [0] * len(self._edges))
            added = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._edges)).tolist()
            self._counts[label] = [old + new for old, new in zip(counts, added, strict=True)]
            self._sums[label] = self._sums.get(label, 0.0) + sum(values)
            values.clear()

    def snapshot(self) -> list[tuple[str, list[int], float]]:
        """Return label, counts by bucket and sum of each series."""
        self.count()
        return [(label, counts, self._sums[label]) for label, counts in self._counts.items()]

    def add(self, snapshot: Iterable[tuple[str, Sequence[int], float]]) -> None:
        """Add a snapshot of another process."""
        for label, counts, total in snapshot:
            old = self._counts.get(label, [0] * len(counts))
            self._counts[label] = [a + b for a, b in zip(old, counts, strict=True)]
            self._sums[label] = self._sums.get(label, 0.0) + total

    def family(self, snapshot: Iterable[tuple[str, Sequence[int], float]]) -> Metric:
        """Convert a snapshot for a scrape; needs no lock."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
        for label, counts, total in snapshot:
            buckets = list(zip(self._edges, accumulate(counts), strict=True))
            family.add_metric([label], buckets, total)
        return family


class Metrics(Collector):
    """The metrics of this process, in their own registry.

    Attributes:
        registry: Registry for scrapes.
        in_flight: Number of requests in flight.
    """

    def __init__(self, lines_dropped: Callable[[], int] = json_logging.dropped) -> None:
        """Create metrics that are all zero.

        Args:
            lines_dropped: Returns the number of log lines that this process has dropped.
        """
        self.in_flight = 0
        self._lock = threading.Lock()
        self._lines_dropped = lines_dropped
        self._lines_dropped_by_others = 0
        self._accept_errors = {"descriptors": 0, "other": 0}
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds = _Histogram(
            "inkling_request_seconds",
            "Time from a request's head to the end of its response",
            "route",
            _SECONDS,
        )
        self._phases = _Histogram(
            "inkling_phase_seconds", "Time spent in one phase of a request", "phase", _SECONDS
        )
        self._images = _Histogram("inkling_batch_images", "Images in one request", "model", _IMAGES)
        self._buffer: list[tuple[RequestContext, float]] = []
        self._ready: set[tuple[str, str]] = set()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def set_ready(self, models: Iterable[tuple[str, str]]) -> None:
        """Set the loaded models, by name and version. Thread-safe."""
        self._ready = set(models)

    def count(self, ended: Sequence[tuple[RequestContext, float]]) -> None:
        """Count requests that have ended, each with its duration in seconds."""
        with self._lock:
            self._buffer += ended
            if len(self._buffer) >= _MAX_BUFFERED:
                self._count_all()

    def _count_all(self) -> None:
        """Count the buffered requests; the caller holds the lock."""
        requests, seconds_by_route = self._requests, self._seconds.observed
        phases, images = self._phases.observed, self._images.observed
        for context, seconds in self._buffer:
            route = context.route
            key = (route, context.model, context.status)
            requests[key] = requests.get(key, 0) + 1
            seconds_by_route[route].append(seconds)
            for phase, ms in context.phases.items():
                phases[phase].append(ms / 1000)
            if context.images:
                images[context.model].append(context.images)
        self._buffer.clear()
        for histogram in (self._seconds, self._phases, self._images):
            histogram.count()

    def count_accept_error(self, reason: Literal["descriptors", "other"]) -> None:
        """Count a connection that could not be accepted.

        Args:
            reason: `descriptors` if the process or the system is out of file descriptors (EMFILE, ENFILE).
        """
        with self._lock:
            self._accept_errors[reason] += 1

    def request_count(self) -> int:
        """Return the number of requests that have ended."""
        with self._lock:
            self._count_all()
            return sum(self._requests.values())

    def accept_errors(self) -> int:
        """Return the number of connections that could not be accepted, for any reason."""
        return sum(self._accept_errors.values())

    def lines_dropped(self) -> int:
        """Return the number of log lines that were dropped."""
        return self._lines_dropped() + self._lines_dropped_by_others

    def ready(self) -> set[tuple[str, str]]:
        """Return the loaded models, by name and version."""
        return self._ready

    def snapshot(self) -> dict[str, list[Any]]:
        """Return all counts as a JSON object, for `add`."""
        with self._lock:
            self._count_all()
            return {
                "requests": [(*key, count) for key, count in self._requests.items()],
                "seconds": self._seconds.snapshot(),
                "phases": self._phases.snapshot(),
                "images": self._images.snapshot(),
                "accept_errors": list(self._accept_errors.items()),
                "lines_dropped": [self.lines_dropped()],
            }

    def add(self, snapshot: Mapping[str, list[Any]]) -> None:
        """Add a snapshot of another process."""
        with self._lock:
            for *key, count in snapshot["requests"]:
                route, model, status = key
                self._requests[route, model, status] = self._requests.get((route, model, status), 0) + count
            self._seconds.add(snapshot["seconds"])
            self._phases.add(snapshot["phases"])
            self._images.add(snapshot["images"])
            for reason, count in snapshot["accept_errors"]:
                self._accept_errors[reason] += count
            self._lines_dropped_by_others += sum(snapshot["lines_dropped"])

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, for a scrape. Thread-safe."""
        snapshot = self.snapshot()
        requests = CounterMetricFamily("inkling_requests", "Requests", labels=["route", "model", "code"])
        for route, model, status, count in snapshot["requests"]:
            requests.add_metric([route, model, str(status)], count)
        yield requests
        yield self._seconds.family(snapshot["seconds"])
        yield self._phases.family(snapshot["phases"])
        yield self._images.family(snapshot["images"])
        refused = CounterMetricFamily(
            "inkling_accept_errors", "Connections that could not be accepted", labels=["reason"]
        )
        for reason, count in snapshot["accept_errors"]:
            refused.add_metric([reason], count)
        yield refused
        yield CounterMetricFamily(
            "inkling_log_lines_dropped",
            "Log lines dropped because the log's reader is too slow",
            value=snapshot["lines_dropped"][0],
        )
        yield GaugeMetricFamily("inkling_requests_in_flight", "Requests in progress", value=self.in_flight)
        ready = GaugeMetricFamily(
            "inkling_model_ready", "1 for every loaded model version", labels=["model", "version"]
        )
        for version in sorted(self._ready):
            ready.add_metric(version, 1)
        yield ready
