"""Clients that request large responses and do not read them cannot exhaust memory."""

import itertools
import time

import pytest

from tests.conftest import REPOSITORY
from tests.processes import Process, running
from tests.security.slow_readers import begun, get, not_reading
from tests.toys import dot

MODELS = REPOSITORY / "models"
LARGEST = "/v1/models/flowers17/versions/2/weights/hidden1"
"""18 MB of JSON."""

PREDICT = "/v1/models/mlp-128/predict"


def predict(process: Process) -> float:
    """Send a prediction; return its duration in seconds."""
    began = time.perf_counter()
    answer = process.get(PREDICT, {"image": dot(3).tolist()})
    assert len(answer["predictions"]) == 1
    return time.perf_counter() - began


@pytest.mark.parametrize("readers", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_clients_of_one_large_response_share_its_memory(readers: int) -> None:
    """
    Clients that do not read 18 MB each: the process grows by less than 100 MB, and predictions succeed.
    """
    with running(MODELS, "--no-access-log") as process:
        predict(process)
        before = process.resident_mb()
        with not_reading(process.port, [get(LARGEST)] * readers) as connections:
            statuses = {begun(connection)[:12] for connection in connections}
            predict(process)
            grown = process.resident_mb() - before

    assert statuses == {b"HTTP/1.1 200"}
    assert grown < 100


def _many_large() -> list[str]:
    """Return different paths of large responses: weight matrices of 4 MB and more, and pictures."""
    layers = [
        f"/v1/models/{model}/versions/{version}/weights/{layer}"
        for model, versions, names in (
            ("flowers17", (1, 2), ("hidden1",)),
            ("ink", (1, 2), ("hidden1", "hidden2", "hidden3")),
            ("mlp-512x4", (1, 2, 3), ("hidden1", "hidden2", "hidden3")),
        )
        for version, layer in itertools.product(versions, names)
    ]
    return [*layers, *(f"{layer}.png?palette=safe" for layer in layers)]


def test_large_responses_are_refused_before_memory_is_exhausted() -> None:
    """
    Rendered bodies beyond the budget get 503; predictions succeed.
    """
    with running(MODELS, "--no-access-log") as process:
        predict(process)
        before = process.resident_mb()
        with not_reading(process.port, [get(path) for path in _many_large()]) as connections:
            statuses = {begun(connection)[:12] for connection in connections}
            predict(process)
            grown = process.resident_mb() - before

    assert b"HTTP/1.1 200" in statuses
    assert statuses <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}
    assert grown < 200
