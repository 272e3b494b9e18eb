"""What all processes counted that serve on one address, whichever of them is asked.

Each worker writes its counts to its slot of the shared memory, periodically and before it reads; a
replacement counts on from there. So nothing is counted twice, and no counter ever goes back.
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
from service.observability.model_statistics import Record, Statistics

log = logging.getLogger(__name__)

_PAUSE_S = 0.1
_SHARE = 0.01
"""Of a process's time, at most, that goes into leaving what it counted."""


@dataclass(frozen=True)
class _Left:
    """What a process left: counts, and how it stands if it still runs."""

    metrics: dict[str, list[Any]]
    statistics: list[Any]
    pid: int
    in_flight: int
    ready: list[list[str]]


class MetricsAggregation(Collector):
    """Reads as `Metrics` and `Statistics` do, for all processes.

    `collect` may be called from any thread, everything else from the event loop alone.

    Attributes:
        registry: What a scrape reads.
    """

    def __init__(self, metrics: Metrics, statistics: Statistics, worker: WorkerProcess) -> None:
        self._metrics = metrics
        self._statistics = statistics
        self._worker = worker
        self._leaving = threading.Lock()
        self._left: object = None  # what was true when this process last left what it counted
        self._texts: list[bytes] = []  # of which `_whole` is the sum
        self._whole = Statistics()
        before = _read(worker.memory.read(worker.slot))  # by the one that this one replaces
        if before is not None:
            metrics.add(before.metrics)
            statistics.add(before.statistics)
        self.registry = CollectorRegistry()
        self.registry.register(self)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Leave what is counted for the others while this is entered, and all of it at the end."""
        leaving = asyncio.create_task(self._leave_now_and_then())
        try:
            yield
        finally:
            leaving.cancel()
            self._leave()

    def of(self, name: str, version: str) -> Record:
        """Return the record of a version; an empty one if nobody asked it yet."""
        self._leave()
        texts = [text for _, text in self._worker.texts()]
        if texts != self._texts:  # else another version was asked for just now
            self._whole = Statistics()
            for text in texts:
                if left := _read(text):
                    self._whole.add(left.statistics)
            self._texts = texts
        return self._whole.of(name, version)

    def collect(self) -> Iterator[Metric]:
        """Yield everything that was counted, for a scrape."""
        whole = Metrics(lines_dropped=lambda: 0)  # this process's are among what all have left
        serving = []
        for pid, left in self._everybodys():
            whole.add(left.metrics)
            if pid == left.pid:  # else its in-flight requests went with it
                serving.append(left)
        whole.in_flight = sum(left.in_flight for left in serving)
        # Every process loads the same; only files that were changed since can make them differ.
        ready = [{(name, version) for name, version in left.ready} for left in serving]
        whole.show_ready(set.intersection(*ready) if ready else ())
        yield from whole.collect()
        yield GaugeMetricFamily("inkling_processes", "Processes that serve", value=len(serving))
        pids = [pid for pid, _ in self._worker.texts() if pid]
        yield from _processes([self._worker.parent, *pids], self._worker.parent)

    async def _leave_now_and_then(self) -> None:
        while True:
            began = time.perf_counter()
            self._leave()
            await asyncio.sleep(max(_PAUSE_S, (time.perf_counter() - began) / _SHARE))

    def _leave(self) -> None:
        with self._leaving:
            true = (
                self._metrics.answered(),
                self._metrics.in_flight,
                self._metrics.ready(),
                self._metrics.accept_errors(),
                self._metrics.lines_dropped(),
            )
            if true == self._left:
                return
            text = orjson.dumps(
                _Left(
                    self._metrics.snapshot(),
                    self._statistics.snapshot(),
                    os.getpid(),
                    self._metrics.in_flight,
                    [list(version) for version in self._metrics.ready()],
                )
            )
            if not self._worker.memory.write(self._worker.slot, text):
                log.error("too much was counted", extra={"fields": {"bytes": len(text)}})
            self._left = true

    def _everybodys(self) -> Iterator[tuple[int, _Left]]:
        self._leave()
        for pid, text in self._worker.texts():
            left = _read(text)
            if left is not None:
                yield pid, left


def _read(text: bytes) -> _Left | None:
    return _Left(**orjson.loads(text)) if text else None


def _processes(pids: Iterable[int], parent: int) -> list[Metric]:
    """Say of several processes together what Prometheus' library says of one.

    Processor time, memory and descriptors are sums, and pages that are shared count for each; the start is
    the parent's, which began first. The time of processes that were replaced is in the parent's.
    """
    while True:
        ended_s = _ended_s(parent)
        families: dict[str, Metric] = {}
        for pid in pids:
            for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                if family.name in families and not family.name.endswith("start_time_seconds"):
                    _add(families[family.name], sum(sample.value for sample in family.samples))
                families.setdefault(family.name, family)
        if ended_s == _ended_s(parent):  # else one was counted twice, or not at all
            break
    if cpu := families.get("process_cpu_seconds"):
        _add(cpu, ended_s)
    return list(families.values())


def _add(family: Metric, value: float) -> None:
    family.samples = [sample._replace(value=sample.value + value) for sample in family.samples]


def _ended_s(parent: int) -> float:
    """Return the processor time of a process's children that have ended, in seconds; 0 where nobody says."""
    try:
        stat = Path(f"/proc/{parent}/stat").read_bytes()
    except OSError:
        return 0.0
    fields = stat.rpartition(b")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
