"""Statistics of model versions."""

import orjson

from service.observability.model_statistics import StatisticDuration, Statistics


def counted(tally: StatisticDuration) -> tuple[int, int]:
    return tally.count, tally.ns


PHASES = {"queue": 1.0, "prepare": 2.0, "infer": 3.0, "encode": 4.0}


def test_a_version_without_requests_has_zeros() -> None:
    """Reading it creates no record."""
    statistics = Statistics()

    record = statistics.of("ink", "1")
    record.images = 5

    assert (record.executions, record.last_ms, record.batches) == (0, 0, {})
    assert statistics.of("ink", "1").images == 0


def test_images_batches_and_nanoseconds_are_counted() -> None:
    """Two batches of 8 images and one of 1: three executions, 17 images."""
    statistics = Statistics(clock=lambda: 12.3456)

    for images in (8, 1, 8):
        statistics.count("ink", "1", images, images, 0.010, PHASES)

    record = statistics.of("ink", "1")
    assert (record.images, record.executions, record.last_ms) == (17, 3, 12346)
    assert counted(record.success) == (3, 30_000_000)
    assert counted(record.queue) == (3, 3_000_000)
    assert counted(record.input) == (3, 6_000_000)
    assert counted(record.infer) == (3, 9_000_000)
    assert counted(record.output) == (3, 12_000_000)
    assert set(record.batches) == {1, 8}
    assert counted(record.batches[8].infer) == (2, 6_000_000)
    assert counted(record.batches[1].output) == (1, 4_000_000)


def test_failures_are_counted_separately() -> None:
    """Without phases."""
    statistics = Statistics()

    statistics.count_failure("ink", "1", 0.5)

    record = statistics.of("ink", "1")
    assert counted(record.fail) == (1, 500_000_000)
    assert counted(record.success) == (0, 0)
    assert (record.executions, record.batches) == (0, {})


def test_versions_are_counted_separately() -> None:
    statistics = Statistics()

    statistics.count("ink", "1", 1, 1, 0.010, PHASES)

    assert statistics.of("ink", "2").executions == 0
    assert statistics.of("softmax", "1").executions == 0


def test_an_added_snapshot_equals_counting_the_same_requests() -> None:
    """Through JSON: also new versions and batch sizes, and the later of two times."""
    early, late = (Statistics(clock=lambda now=now: now) for now in (1.0, 2.0))  # type: ignore[misc]
    whole = Statistics(clock=lambda: 2.0)
    for statistics in (early, whole):
        statistics.count("ink", "1", 8, 8, 0.010, PHASES)
    for statistics in (late, whole):
        statistics.count("ink", "1", 8, 8, 0.010, PHASES)
        statistics.count("ink", "1", 1, 1, 0.010, PHASES)
        statistics.count("softmax", "2", 1, 0, 0.010, PHASES)
        statistics.count_failure("ink", "1", 0.5)

    late.add(orjson.loads(orjson.dumps(early.snapshot())))

    assert late.of("ink", "1") == whole.of("ink", "1")
    assert late.of("softmax", "2") == whole.of("softmax", "2")
    assert early.of("ink", "1").images == 8
