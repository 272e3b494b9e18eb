"""The service's counters and histograms, for Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from service.http.exchange import Exchange

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The service's counters and histograms, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "inkling_requests",
            "Requests answered",
            ["route", "model", "code"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "inkling_request_seconds",
            "Time from a request's head to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.phases = Histogram(
            "inkling_phase_seconds",
            "Time spent in one phase of a request",
            ["phase"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.images = Histogram(
            "inkling_batch_images",
            "Images in one request",
            ["model"],
            buckets=_IMAGES,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "inkling_requests_in_flight", "Requests being answered", registry=self.registry
        )
        self.ready = Gauge(
            "inkling_model_ready",
            "1 for every model version that can answer",
            ["model", "version"],
            registry=self.registry,
        )

        self._ready: set[tuple[str, str]] = set()

    def show_ready(self, models: Iterable[tuple[str, str]]) -> None:
        """Show which models can answer, by name and version, and no others; one caller at a time."""
        ready = set(models)
        for gone in self._ready - ready:
            self.ready.remove(*gone)
        for name, version in ready:
            self.ready.labels(name, version).set(1)
        self._ready = ready

    def count(self, exchange: Exchange, seconds: float) -> None:
        """Count one answered request."""
        self.requests.labels(exchange.route, exchange.model, exchange.status).inc()
        self.seconds.labels(exchange.route).observe(seconds)
        for phase, spent in tuple(exchange.phases.items()):
            self.phases.labels(phase).observe(spent)
        if exchange.images:
            self.images.labels(exchange.model).observe(exchange.images)
