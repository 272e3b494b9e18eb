"""`service/http/api/health.py`: liveness, readiness, metrics."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.testclient import TestClient

from service import app as app_module
from service.core.network import weight_images
from service.http.api.health import MetricsRenderer
from service.http.messages.response_cache import ResponseCache
from service.inference.thread_pool import ThreadPool
from service.memory.budget import Budget
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT, QUADRANTS, images, problem
from tests.service.http.running import PATIENCE_S, Background, service


def test_livez_returns_200(client: TestClient) -> None:
    response = client.get("/livez")

    assert response.status_code == 200
    assert response.json() == {"status": "live"}


def test_readyz_lists_served_versions(client: TestClient) -> None:
    """From oldest to newest."""
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"status": "ready", "models": {"quadrants": ["1", "2"]}}


def test_a_service_without_models_is_alive_but_not_ready(toy_settings: Settings, tmp_path: Path) -> None:
    with service(toy_settings, models=tmp_path) as client:
        alive = client.get("/livez")
        ready = client.get("/readyz")
        listed = client.get("/v1/models")

    assert alive.status_code == 200
    assert "nothing is published" in problem(ready, 503, "model-not-ready")
    assert 5 <= int(ready.headers["retry-after"]) <= 11
    assert listed.json() == {"default": None, "models": []}


def test_a_model_without_a_valid_version_makes_the_service_not_ready(
    toy_settings: Settings, tmp_path: Path
) -> None:
    """Other models are served."""
    toys.publish(tmp_path)
    toys.publish(tmp_path, "broken")
    (tmp_path / "broken" / "1" / "manifest.json").write_text("{}")
    with service(toy_settings, models=tmp_path) as client:
        ready = client.get("/readyz")
        served = client.get("/v1/models/quadrants")

    assert "'broken'" in problem(ready, 503, "model-not-ready")
    assert served.status_code == 200


def test_a_refused_version_leaves_the_older_one_serving(toy_settings: Settings, tmp_path: Path) -> None:
    """The service is ready."""
    toys.publish(tmp_path)
    toys.publish(tmp_path)
    model = tmp_path / "quadrants" / "2" / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with service(toy_settings, models=tmp_path) as client:
        ready = client.get("/readyz")
        newest = client.get("/v1/models/quadrants")
        refused = client.get("/v1/models/quadrants/versions/2")

    assert ready.json()["models"] == {"quadrants": ["1"]}
    assert newest.json()["version"] == "1"
    assert "version 2 was refused" in problem(refused, 503, "model-not-ready")


def test_metrics_can_be_parsed_by_prometheus(client: TestClient) -> None:
    """With types and help texts."""
    response = client.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    types = {
        "inkling_requests": "counter",
        "inkling_request_seconds": "histogram",
        "inkling_phase_seconds": "histogram",
        "inkling_batch_images": "histogram",
        "inkling_requests_in_flight": "gauge",
        "inkling_model_ready": "gauge",
        "process_resident_memory_bytes": "gauge",
    }
    for name, kind in types.items():
        assert families[name].type == kind
        assert families[name].documentation


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_a_query_is_refused(client: TestClient, path: str) -> None:
    problem(client.get(f"{path}?verbose=1"), 400, "malformed-request")


class Counter(Collector):
    """Counts how often it is scraped, and waits before each scrape until it may go on."""

    def __init__(self) -> None:
        self.scraped = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def collect(self) -> Iterator[Metric]:
        self.scraped += 1
        self.begun.set()
        assert self.go.wait(PATIENCE_S)
        yield GaugeMetricFamily("scraped", "How often", value=self.scraped)


def scrapes(interval_s: float) -> tuple[MetricsRenderer, Counter, Budget]:
    registry, counter, budget = CollectorRegistry(), Counter(), Budget(2**23)
    registry.register(counter)
    counter.scraped = 0  # registering scrapes, too
    counter.begun.clear()
    return (
        MetricsRenderer(registry, ResponseCache(ThreadPool(1, 4, 10), budget, 1000), interval_s),
        counter,
        budget,
    )


def test_requests_during_a_rendering_share_the_next() -> None:
    """The memory is counted until the last response is sent."""
    own, counter, budget = scrapes(0)
    counter.go.clear()

    async def ask() -> None:
        first = asyncio.create_task(own.get())
        assert await asyncio.to_thread(counter.begun.wait, PATIENCE_S)
        others = [asyncio.create_task(own.get()) for _ in range(100)]
        await asyncio.sleep(0)
        counter.go.set()
        bodies = [await task for task in others]
        assert {id(body.body) for body in bodies} == {id(bodies[0].body)}
        assert b"scraped 1.0" in (await first).body
        assert b"scraped 2.0" in bodies[0].body
        assert budget.used == len(bodies[0].body) + len(first.result().body)
        for body in [*bodies, first.result()]:
            body.release()

    asyncio.run(ask())

    assert (counter.scraped, budget.used) == (2, 0)


def test_metrics_are_never_older_than_the_request() -> None:
    own, counter, budget = scrapes(0.05)

    async def ask() -> None:
        first = await own.get()
        began = time.monotonic()
        second = await own.get()
        assert time.monotonic() - began > 0.02
        assert [b"scraped 1.0" in first.body, b"scraped 2.0" in second.body] == [True, True]
        first.release()
        second.release()

    asyncio.run(ask())

    assert (counter.scraped, budget.used) == (2, 0)


def test_rendering_does_not_delay_predictions(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the rendering queue is full, only requests that need rendering get a 503."""
    begun, go = threading.Event(), threading.Event()
    real = weight_images.weight_image

    def draw(weights: NDArray[np.float32], palette: weight_images.Palette = "lesson") -> NDArray[np.uint8]:
        begun.set()
        assert go.wait(PATIENCE_S)
        return real(weights, palette)

    monkeypatch.setattr(weight_images, "weight_image", draw)
    monkeypatch.setattr(app_module, "_MAX_WAITING_TO_RENDER", 0)
    with service(toy_settings, worker_threads=1, max_waiting=0) as client:
        picture = Background(lambda: client.get(f"{QUADRANTS}/weights/output/0.png"))
        assert begun.wait(PATIENCE_S)
        predicted = client.post(f"{PREDICT}?prepare=mnist", json={"image": images(1)[0].tolist()})
        refused = [client.get(path) for path in ("/metrics", "/openapi.json", f"{QUADRANTS}/weights")]
        alive = client.get("/livez")
        go.set()
        shown = picture.result()

    assert [response.status_code for response in (predicted, alive, shown)] == [200] * 3
    for response in refused:
        problem(response, 503, "overloaded")
        assert response.headers["retry-after"] in ("1", "2", "3")
