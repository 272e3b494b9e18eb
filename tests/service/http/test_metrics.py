"""`service/http/metrics.py`: what Prometheus is told of the models."""

from prometheus_client import generate_latest

from service.http.metrics import Metrics


def ready(metrics: Metrics) -> list[str]:
    """Return the lines of the gauge of ready models."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith("inkling_model_ready{")]


def test_models_that_no_longer_answer_lose_their_series() -> None:
    """
    What stays is never away in between, and what is new is added.
    """
    metrics = Metrics()
    metrics.show_ready([("ink", "1"), ("ink", "2")])

    metrics.show_ready([("ink", "2"), ("softmax", "1")])

    assert ready(metrics) == [
        'inkling_model_ready{model="ink",version="2"} 1.0',
        'inkling_model_ready{model="softmax",version="1"} 1.0',
    ]


def test_without_models_there_is_no_series() -> None:
    """
    Neither before the first nor after the last.
    """
    metrics = Metrics()
    before = ready(metrics)
    metrics.show_ready([("ink", "1")])

    metrics.show_ready([])

    assert before == ready(metrics) == []
