import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from service.inference.request_context import RequestContext
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics
from service.observability.request_log import RequestLog, ThreadRecorder

LOGGER = "service.observability.request_log"


def prediction(status: int = 200) -> RequestContext:
    """Return the context of a prediction of two images that took 0.25 s."""
    context = RequestContext("id", started=100.0, ended=100.25, status=status)
    context.route, context.model, context.version = "/predict", "ink", "1"
    context.is_prediction, context.images, context.batch = True, 2, 2
    context.mark("infer", 100.2)
    return context


def record(
    caplog: pytest.LogCaptureFixture, act: Callable[[RequestLog], Any], access_log: bool = True
) -> tuple[Metrics, Statistics, list[dict[str, Any]]]:
    """Run `act` in an event loop; return metrics, statistics and the fields of the log lines."""
    metrics, statistics = Metrics(), Statistics()

    async def run() -> None:
        act(RequestLog(metrics, statistics, access_log))
        await asyncio.sleep(0)

    caplog.clear()
    with caplog.at_level(logging.INFO, logger=LOGGER):
        asyncio.run(run())
    return metrics, statistics, [line for entry in caplog.records for line in vars(entry)["lines"]]


def test_a_prediction_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    def act(log: RequestLog) -> None:
        log.begin()
        log.end(prediction(), "POST", "/predict?" + "x" * 1000, "192.0.2.1")

    metrics, statistics, (line,) = record(caplog, act)

    assert (line["status"], line["ms"], line["images"]) == (200, 250.0, 2)
    assert (line["method"], line["client"], len(line["path"])) == ("POST", "192.0.2.1", 200)
    assert line["phases_ms"] == {"infer": 200.0}
    assert (metrics.in_flight, metrics.request_count()) == (0, 1)
    assert (statistics.of("ink", "1").images, statistics.of("ink", "1").success.count) == (2, 1)


def test_a_failed_prediction_is_counted_as_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    _, statistics, _ = record(caplog, lambda log: log.end(prediction(status=400), "POST", "/", "-"))

    counted = statistics.of("ink", "1")
    assert (counted.fail.count, counted.success.count) == (1, 0)


def test_a_request_without_a_response_has_status_499(caplog: pytest.LogCaptureFixture) -> None:
    _, _, (line,) = record(caplog, lambda log: log.end(RequestContext("id"), "GET", "/", "-"))

    assert line["status"] == 499


def test_the_access_log_can_be_turned_off(caplog: pytest.LogCaptureFixture) -> None:
    metrics, _, lines = record(caplog, lambda log: log.end(prediction(), "POST", "/", "-"), access_log=False)

    assert lines == []
    assert metrics.request_count() == 1


def test_requests_of_another_thread_are_recorded_in_the_event_loop() -> None:
    metrics = Metrics()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        recorder = ThreadRecorder(RequestLog(metrics, Statistics(), access_log=False), loop)
        await asyncio.to_thread(recorder.begin)
        await asyncio.to_thread(recorder.end, prediction(), "GET", "/", "-")
        await asyncio.sleep(0.01)

    asyncio.run(run())

    assert (metrics.in_flight, metrics.request_count()) == (0, 1)
