"""`service/http/ops.py`: alive, ready, counted."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.settings import Settings
from tests import toys
from tests.service.http.bodies import problem
from tests.service.http.running import service


def test_a_process_that_answers_is_alive(client: TestClient) -> None:
    """
    Whatever its models do.
    """
    answer = client.get("/livez")

    assert answer.status_code == 200
    assert answer.json() == {"status": "live"}


def test_a_service_whose_models_all_answer_is_ready(client: TestClient) -> None:
    """
    The versions that are served are listed, oldest first.
    """
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "models": {"quadrants": ["1", "2"]}}


def test_a_service_without_models_is_alive_but_not_ready(toy_settings: Settings, tmp_path: Path) -> None:
    """
    An empty folder is a mistake somebody should see.
    """
    with service(toy_settings, models=tmp_path) as client:
        alive = client.get("/livez")
        ready = client.get("/readyz")
        listed = client.get("/v1/models")

    assert alive.status_code == 200
    assert "nothing is published" in problem(ready, 503, "model-not-ready")
    assert 5 <= int(ready.headers["retry-after"]) <= 11
    assert listed.json() == {"default": None, "models": []}


def test_a_model_without_any_version_that_answers_makes_the_service_not_ready(
    toy_settings: Settings, tmp_path: Path
) -> None:
    """
    The others are served all the same.
    """
    toys.publish(tmp_path)
    toys.publish(tmp_path, "broken")
    (tmp_path / "broken" / "1" / "manifest.json").write_text("{}")
    with service(toy_settings, models=tmp_path) as client:
        ready = client.get("/readyz")
        served = client.get("/v1/models/quadrants")

    assert "'broken'" in problem(ready, 503, "model-not-ready")
    assert served.status_code == 200


def test_a_refused_version_leaves_the_older_one_serving(toy_settings: Settings, tmp_path: Path) -> None:
    """
    The service is ready, and only the refused version is not.
    """
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


def test_metrics_are_what_prometheus_reads(client: TestClient) -> None:
    """
    Parsed by Prometheus' own library: names, types and helps.
    """
    answer = client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
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
    """
    As everywhere where there are no options.
    """
    problem(client.get(f"{path}?verbose=1"), 400, "malformed-request")
