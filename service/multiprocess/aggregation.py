"""Aggregates the metrics and model statistics of all worker processes, in whichever worker is scraped.

Each worker writes its counts to its slot of the shared memory, periodically and before it reads. The
replacement of a dead worker starts with the counts in its slot, so no counter ever decreases.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.multiprocess.worker import WorkerProcess
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics, VersionStatistics

log = logging.getLogger(__name__)

_PUBLISH_S = 0.1
_MAX_SHARE = 0.01
"""Maximum share of a process's time that goes into publishing its counts."""


@dataclass(frozen=True)
class _Published:
    """Content of a slot: counts of a worker, and its state while it runs."""

    metrics: dict[str, list[Any]]
    statistics: list[Any]
    pid: int
    in_flight: int
    ready: list[list[str]]


class MetricsAggregation(Collector):
    """Sums of `Metrics` and `Statistics` over all workers, with the same interface.

    `collect` may be called from any thread, the other methods only from the event loop.

    Attributes:
        registry: Registry for scrapes.
    """

    def __init__(self, metrics: Metrics, statistics: Statistics, worker: WorkerProcess) -> None:
        """Create it, and add the counts of the worker that this one replaces.

        Args:
            metrics: Metrics of this process.
            statistics: Statistics of this process.
            worker: This process.
        """
        self._metrics = metrics
        self._statistics = statistics
        self._worker = worker
        self._publishing = threading.Lock()
        self._published_state: object = None  # counts when this process last published
        self._texts: list[bytes] = []  # `_sum` is their sum
        self._sum = Statistics()
        before = _read(worker.memory.read(worker.slot))
        if before is not None:
            metrics.add(before.metrics)
            statistics.add(before.statistics)
        self.registry = CollectorRegistry()
        self.registry.register(self)

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish this process's counts periodically while entered, and once at the end."""
        task = asyncio.create_task(self._publish_periodically())
        try:
            yield
        finally:
            task.cancel()
            self._publish()

    def of(self, name: str, version: str) -> VersionStatistics:
        """Return the statistics of a version; all zero without requests."""
        self._publish()
        texts = [text for _, text in self._worker.texts()]
        if texts != self._texts:
            self._sum = Statistics()
            for text in texts:
                if published := _read(text):
                    self._sum.add(published.statistics)
            self._texts = texts
        return self._sum.of(name, version)

    def collect(self) -> Iterator[Metric]:
        """Yield the sums of all metrics, for a scrape."""
        total = Metrics(lines_dropped=lambda: 0)  # the slots contain those of this process
        serving = []
        for pid, published in self._slots():
            total.add(published.metrics)
            if pid == published.pid:  # else the worker is dead, and its requests in flight are lost
                serving.append(published)
        total.in_flight = sum(published.in_flight for published in serving)
        # All workers load the same models, unless a file has changed between their starts.
        ready = [{(name, version) for name, version in published.ready} for published in serving]
        total.set_ready(set.intersection(*ready) if ready else ())
        yield from total.collect()
        yield GaugeMetricFamily("inkling_processes", "Worker processes that serve", value=len(serving))
        pids = [pid for pid, _ in self._worker.texts() if pid]
        yield from _process_metrics([self._worker.parent, *pids], self._worker.parent)

    async def _publish_periodically(self) -> None:
        while True:
            began = time.perf_counter()
            self._publish()
            await asyncio.sleep(max(_PUBLISH_S, (time.perf_counter() - began) / _MAX_SHARE))

    def _publish(self) -> None:
        with self._publishing:
            state = (
                self._metrics.request_count(),
                self._metrics.in_flight,
                self._metrics.ready(),
                self._metrics.accept_errors(),
                self._metrics.lines_dropped(),
            )
            if state == self._published_state:
                return
            text = orjson.dumps(
                _Published(
                    self._metrics.snapshot(),
                    self._statistics.snapshot(),
                    os.getpid(),
                    self._metrics.in_flight,
                    [list(version) for version in self._metrics.ready()],
                )
            )
            if not self._worker.memory.write(self._worker.slot, text):
                log.error("metrics exceed the shared memory", extra={"fields": {"bytes": len(text)}})
            self._published_state = state

    def _slots(self) -> Iterator[tuple[int, _Published]]:
        self._publish()
        for pid, text in self._worker.texts():
            published = _read(text)
            if published is not None:
                yield pid, published


def _read(text: bytes) -> _Published | None:
    return _Published(**orjson.loads(text)) if text else None


def _process_metrics(pids: Iterable[int], parent: int) -> list[Metric]:
    """Return the process metrics of Prometheus' library for several processes together.

    CPU time, memory and file descriptors are sums; shared pages count once per process. The start time is the
    parent's, and the CPU time includes that of dead workers.
    """
    while True:
        dead_s = _dead_children_cpu_s(parent)
        families: dict[str, Metric] = {}
        for pid in pids:
            for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                if family.name in families and not family.name.endswith("start_time_seconds"):
                    _add(families[family.name], sum(sample.value for sample in family.samples))
                families.setdefault(family.name, family)
        if dead_s == _dead_children_cpu_s(parent):  # else a process ended meanwhile
            break
    if cpu := families.get("process_cpu_seconds"):
        _add(cpu, dead_s)
    return list(families.values())


def _add(family: Metric, value: float) -> None:
    family.samples = [sample._replace(value=sample.value + value) for sample in family.samples]


def _dead_children_cpu_s(parent: int) -> float:
    """Return the CPU time of a process's dead children, in seconds; 0 without /proc."""
    try:
        stat = Path(f"/proc/{parent}/stat").read_bytes()
    except OSError:
        return 0.0
    fields = stat.rpartition(b")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
