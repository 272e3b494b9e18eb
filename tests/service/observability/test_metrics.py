"""Prometheus metrics."""

import threading

import orjson
from prometheus_client import generate_latest

from service.inference.request_context import RequestContext
from service.observability.metrics import Metrics


def ready(metrics: Metrics) -> list[str]:
    """Return the lines of the gauge of ready models."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith("inkling_model_ready{")]


def test_dropped_models_lose_their_series() -> None:
    """Others keep theirs, and new ones are added."""
    metrics = Metrics()
    metrics.set_ready([("ink", "1"), ("ink", "2")])

    metrics.set_ready([("ink", "2"), ("softmax", "1")])

    assert ready(metrics) == [
        'inkling_model_ready{model="ink",version="2"} 1.0',
        'inkling_model_ready{model="softmax",version="1"} 1.0',
    ]


def test_without_models_there_is_no_series() -> None:
    metrics = Metrics()
    before = ready(metrics)
    metrics.set_ready([("ink", "1")])

    metrics.set_ready([])

    assert before == ready(metrics) == []


def counted(*exchanges: tuple[str, int, int, float]) -> Metrics:
    """Return metrics with requests: their model, status, images and seconds."""
    metrics = Metrics()
    for model, status, images, seconds in exchanges:
        context = RequestContext("id")
        context.route, context.model, context.status, context.images = "/predict", model, status, images
        context.phases["infer"] = 1000 * seconds / 2
        metrics.count([(context, seconds)])
    return metrics


def ours(metrics: Metrics) -> list[str]:
    """Return the lines of the service's metrics, in alphabetical order."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    return sorted(line for line in lines if line.startswith("inkling_"))


def test_an_added_snapshot_equals_counting_the_same_requests() -> None:
    """Through JSON; also labels that are new to one of them. Sums of halves and quarters are exact."""
    first = [("ink", 200, 1, 0.25), ("ink", 200, 8, 0.5), ("ink", 503, 0, 0.75)]
    second = [("ink", 200, 1, 2.0), ("softmax", 200, 4096, 0.125)]
    together = counted(*first)

    together.add(orjson.loads(orjson.dumps(counted(*second).snapshot())))

    assert together.request_count() == 5
    assert ours(together) == ours(counted(*first, *second))


def test_a_snapshot_is_independent_of_later_counts() -> None:
    source = counted(("ink", 200, 1, 0.25))
    snapshot = source.snapshot()
    together = Metrics()

    together.add(snapshot)
    together.add(snapshot)

    assert ours(source) == ours(counted(("ink", 200, 1, 0.25)))
    assert ours(together) == ours(counted(("ink", 200, 1, 0.25), ("ink", 200, 1, 0.25)))


def test_dropped_log_lines_and_accept_errors_are_counted() -> None:
    """Both are 0 at the start, so that alerts can compare; those of other processes are added once."""
    before = ours(Metrics())
    first, second = Metrics(lines_dropped=lambda: 3), Metrics(lines_dropped=lambda: 4)
    first.count_accept_error("descriptors")
    first.count_accept_error("other")
    second.count_accept_error("descriptors")

    second.add(orjson.loads(orjson.dumps(first.snapshot())))

    assert {
        'inkling_accept_errors_total{reason="descriptors"} 0.0',
        'inkling_accept_errors_total{reason="other"} 0.0',
        "inkling_log_lines_dropped_total 0.0",
    } <= set(before)
    assert {
        'inkling_accept_errors_total{reason="descriptors"} 2.0',
        'inkling_accept_errors_total{reason="other"} 1.0',
        "inkling_log_lines_dropped_total 7.0",
    } <= set(ours(second))


def test_concurrent_scrapes_are_consistent() -> None:
    """While requests are counted, threads scrape; counters never decrease, and none is lost."""
    metrics = Metrics()
    done = threading.Event()
    scrapes: list[list[float]] = [[], []]

    def scrape(found: list[float]) -> None:
        while not done.is_set():
            generate_latest(metrics.registry)
            snapshot = metrics.snapshot()
            requests = sum(count for *_, count in snapshot["requests"])
            assert requests == sum(sum(counts) for _, counts, _ in snapshot["seconds"])
            found.append(requests)

    threads = [threading.Thread(target=scrape, args=(found,)) for found in scrapes]
    for thread in threads:
        thread.start()
    for number in range(20_000):
        context = RequestContext("id")
        context.route, context.model, context.status = f"/{number % 50}", "ink", 200 + number % 7
        context.phases[f"phase{number % 13}"] = 500
        metrics.count([(context, 0.25)])
    done.set()
    for thread in threads:
        thread.join()

    assert metrics.request_count() == 20_000
    assert sum(counts[-1] for counts in scrapes if counts) <= 40_000
    for found in scrapes:
        assert found == sorted(found)
    snapshot = metrics.snapshot()
    for name in ("seconds", "phases"):
        assert sum(sum(counts) for _, counts, _ in snapshot[name]) == 20_000
