"""For operators: is it alive, is it ready, what does it count."""

from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from service.http import schemas, wire
from service.http.operations import Operation, Options
from service.serving.registry import Registry


@dataclass(frozen=True)
class Endpoints:
    """Live, ready, metrics.

    Attributes:
        registry: What is served.
        metrics: What a scrape reads.
    """

    registry: Registry
    metrics: CollectorRegistry

    def operations(self) -> list[Operation]:
        """Describe every endpoint."""
        text = {"text/plain": "Prometheus' text format"}
        return [
            Operation(
                name="live",
                method="GET",
                path="/livez",
                summary="Tell that the process answers",
                handle=self.live,
                right=None,
                answers={wire.JSON: schemas.Status},
            ),
            Operation(
                name="ready",
                method="GET",
                path="/readyz",
                summary="Tell whether every model that should be served can answer",
                handle=self.ready,
                right=None,
                answers={wire.JSON: schemas.Status},
                errors=(503,),
            ),
            Operation(
                name="metrics",
                method="GET",
                path="/metrics",
                summary="Give counters and histograms",
                handle=self.measure,
                right=None,
                answers=text,
            ),
        ]

    async def live(self, request: Request, options: Options) -> Response:
        """Answer `GET /livez`."""
        del request, options
        return wire.respond({"status": "live"})

    async def ready(self, request: Request, options: Options) -> Response:
        """Answer `GET /readyz`; raises ModelNotReady if a published model cannot answer."""
        del request, options
        self.registry.check_ready()
        served: dict[str, list[str]] = {}
        for model in self.registry.models():
            served.setdefault(model.name, []).append(model.version)
        return wire.respond({"status": "ready", "models": served})

    async def measure(self, request: Request, options: Options) -> Response:
        """Answer `GET /metrics`."""
        del request, options
        return Response(generate_latest(self.metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})
