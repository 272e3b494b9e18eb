"""Aggregation of metrics and statistics over several workers."""

import asyncio
import os
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.inference.request_context import RequestContext
from service.multiprocess.aggregation import MetricsAggregation
from service.multiprocess.change import CommittedState
from service.multiprocess.channel import Channel
from service.multiprocess.shared_memory import SharedMemory
from service.multiprocess.worker import WorkerProcess
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics

PHASES = {"infer": 125.0}


@dataclass
class Counting:
    """Metrics and statistics of one worker; all workers are in this process."""

    together: MetricsAggregation
    metrics: Metrics
    statistics: Statistics

    def predict(self, images: int) -> None:
        context = RequestContext("id")
        context.route, context.model, context.status, context.images = "/predict", "ink", 200, images
        self.metrics.count([(context, 0.25)])
        self.statistics.count("ink", "1", images, images, 0.25, PHASES)

    def values(self) -> dict[str, float]:
        """Return what a scrape reads, by name; of several series the sum, but for histograms' buckets."""
        values: dict[str, float] = {}
        for family in text_string_to_metric_families(generate_latest(self.together.registry).decode()):
            for sample in family.samples:
                if not sample.name.endswith("_bucket"):
                    values[sample.name] = values.get(sample.name, 0.0) + sample.value
        return values


@pytest.fixture
def memory() -> SharedMemory:
    memory = SharedMemory(2, 100_000)
    for slot in range(2):
        memory.set_pid(slot, os.getpid())
    return memory


def process(memory: SharedMemory, slot: int) -> Counting:
    """Create the counts of a worker in a slot."""
    metrics, statistics = Metrics(), Statistics(clock=lambda: 1.0)
    unused, other = Channel.pair()
    unused.close()
    other.close()
    worker = WorkerProcess(memory, slot, os.getppid(), CommittedState(frozenset()), unused)
    return Counting(MetricsAggregation(metrics, statistics, worker), metrics, statistics)


def publish(*processes: Counting) -> None:
    """Let workers publish their counts."""

    async def follow() -> None:
        for one in processes:
            async with one.together.publishing():
                pass

    asyncio.run(follow())


def test_every_worker_returns_the_sums(memory: SharedMemory) -> None:
    """Its own counts are always current."""
    first, second = process(memory, 0), process(memory, 1)
    first.predict(8)
    publish(first)
    second.predict(1)
    second.predict(1)

    values = second.values()
    record = second.together.of("ink", "1")

    assert values["inkling_requests_total"] == 3
    assert values["inkling_batch_images_sum"] == 10
    assert values["inkling_request_seconds_sum"] == 0.75
    assert values["inkling_processes"] == 2
    assert (record.images, record.executions, record.success.count) == (10, 3, 3)
    assert first.values()["inkling_requests_total"] == 3


def test_counts_are_published_periodically(memory: SharedMemory) -> None:
    first, second = process(memory, 0), process(memory, 1)

    async def wait() -> None:
        async with first.together.publishing():
            first.predict(1)
            while second.values().get("inkling_requests_total") != 1:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(wait(), 10))


def test_a_replacement_continues_the_counts(memory: SharedMemory) -> None:
    """No counter decreases; only requests in flight are lost."""
    first, second = process(memory, 0), process(memory, 1)
    first.predict(8)
    first.metrics.in_flight = 5
    publish(first)
    second.metrics.in_flight = 1
    with_both = second.values()

    memory.set_pid(0, 0)
    without = second.values()
    memory.set_pid(0, 1)  # some process that has left nothing yet
    starting = second.values()
    memory.set_pid(0, os.getpid())
    third = process(memory, 0)
    third.predict(1)
    publish(third)

    assert with_both["inkling_requests_in_flight"] == 6
    assert without["inkling_requests_in_flight"] == starting["inkling_requests_in_flight"] == 1
    assert without["inkling_requests_total"] == starting["inkling_requests_total"] == 1
    assert (without["inkling_processes"], starting["inkling_processes"]) == (1, 1)
    for one in (second, third):
        assert one.values()["inkling_requests_total"] == 2
        assert one.together.of("ink", "1").images == 9


def test_a_model_is_ready_if_every_worker_has_loaded_it(memory: SharedMemory) -> None:
    first, second = process(memory, 0), process(memory, 1)
    first.metrics.set_ready([("ink", "1"), ("softmax", "1")])
    second.metrics.set_ready([("ink", "1"), ("softmax", "1")])
    publish(first, second)
    both = first.values()["inkling_model_ready"]

    second.metrics.set_ready([("ink", "1")])
    publish(second)

    assert both == 2
    assert first.values()["inkling_model_ready"] == second.values()["inkling_model_ready"] == 1


def test_counts_larger_than_the_slot_are_not_published(memory: SharedMemory) -> None:
    """The previous counts stay."""
    first, second = process(memory, 0), process(memory, 1)
    first.predict(1)
    publish(first)
    for images in range(2, 4097):
        first.predict(images)

    publish(first)

    assert second.values()["inkling_requests_total"] == 1


def test_process_metrics_are_summed(memory: SharedMemory) -> None:
    """This process has both slots and is the parent: three times its memory and descriptors."""
    here = process(memory, 0)
    alone = CollectorRegistry()
    ProcessCollector(registry=alone)
    own = {sample.name: sample.value for family in alone.collect() for sample in family.samples}

    values = here.values()

    assert own.keys() <= values.keys()
    assert values["process_resident_memory_bytes"] > 1.9 * own["process_resident_memory_bytes"]
    assert values["process_open_fds"] > 2 * own["process_open_fds"]
    assert values["process_cpu_seconds_total"] >= 2 * own["process_cpu_seconds_total"]
    assert values["process_start_time_seconds"] <= own["process_start_time_seconds"]


def test_dropped_log_lines_and_accept_errors_are_summed(
    memory: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without requests in between, and after a replacement."""
    dropped = {"first": 3, "second": 4}
    first, second = process(memory, 0), process(memory, 1)
    for name, one in (("first", first), ("second", second)):
        monkeypatch.setattr(one.metrics, "_lines_dropped", lambda name=name: dropped[name])
        one.metrics.count_accept_error("descriptors")
    publish(first, second)
    both = first.values()

    dropped["first"] = 5
    first.metrics.count_accept_error("other")
    publish(first)
    third = process(memory, 0)

    for values, lines, errors in ((both, 7, 2), (second.values(), 9, 3), (third.values(), 9, 3)):
        assert values["inkling_log_lines_dropped_total"] == lines
        assert values["inkling_accept_errors_total"] == errors
