"""Endpoints for operators: liveness, readiness, Prometheus metrics."""

import asyncio
import math
import time
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.http.api import schemas
from service.http.messages.cache_keys import Key
from service.http.messages.conditional import SharedResponse
from service.http.messages.response_cache import RenderedBody, ResponseCache
from service.http.messages.responses import json_response
from service.http.routing.operations import Operation
from service.http.routing.options import Options
from service.inference.models.registry import Registry

_COST = 2 * 2**20
"""Upper limit of the memory for rendering the metrics, in bytes."""


@dataclass(frozen=True)
class Endpoints:
    """HTTP endpoints for liveness, readiness and metrics.

    Attributes:
        registry: The models that are served.
        metrics: Renders the metrics in a thread; or the metrics, if the event loop serves only operators and
            may render them itself.
    """

    registry: Registry
    metrics: "MetricsRenderer | CollectorRegistry"

    def operations(self) -> list[Operation]:
        """Return the operations."""
        text = {"text/plain": "Prometheus text format"}
        return [
            Operation(
                name="live",
                method="GET",
                path="/livez",
                summary="Check that the process is alive",
                description="Returns 200 while the process handles requests.",
                handle=self.live,
                right=None,
                responses={content_types.JSON: schemas.Status},
            ),
            Operation(
                name="ready",
                method="GET",
                path="/readyz",
                summary="Check that the service is ready",
                description="Returns 200 and the versions if every published model is loaded, else 503.",
                handle=self.ready,
                right=None,
                responses={content_types.JSON: schemas.Status},
                errors=(503,),
            ),
            Operation(
                name="metrics",
                method="GET",
                path="/metrics",
                summary="Return the metrics",
                description="Returns counters, gauges and histograms for Prometheus.",
                handle=self.measure,
                right=None,
                responses=text,
            ),
        ]

    async def live(self, request: Request, options: Options) -> Response:
        """Handle `GET /livez`."""
        del request, options
        return json_response({"status": "live"})

    async def ready(self, request: Request, options: Options) -> Response:
        """Handle `GET /readyz`; raises ModelNotReady if a published model is not loaded."""
        del request, options
        self.registry.check_ready()
        served: dict[str, list[str]] = {}
        for model in self.registry.models():
            served.setdefault(model.name, []).append(model.version)
        return json_response({"status": "ready", "models": served})

    async def measure(self, request: Request, options: Options) -> Response:
        """Handle `GET /metrics`."""
        del request, options
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        if isinstance(self.metrics, CollectorRegistry):
            return Response(generate_latest(self.metrics), headers=headers)
        return SharedResponse(await self.metrics.get(), headers)


class MetricsRenderer:
    """Renders the metrics in a thread, at most once per `interval_s` for any number of requests.

    A response is never older than its request: requests that arrive during a rendering share the next one.
    """

    def __init__(self, registry: CollectorRegistry, cache: ResponseCache, interval_s: float = 0.1) -> None:
        """Create.

        Args:
            registry: The metrics; collected in a rendering thread.
            cache: Renders the text and shares it between requests; the text is not retained.
            interval_s: Shortest time between the starts of two renderings, in seconds.
        """
        self._registry = registry
        self._cache = cache
        self._interval_s = interval_s
        self._number = 0  # number of the next rendering
        self._started = -math.inf

    async def get(self) -> RenderedBody:
        """Return the text, which the caller must release; raises as `ResponseCache.get`."""
        number = self._number
        if (wait_s := self._started + self._interval_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        return await self._cache.get(
            Key("metrics", details=(number,)), lambda: self._render(number), _COST, retain=False, priority=1
        )

    def _render(self, number: int) -> bytes:
        self._started = time.monotonic()
        self._number = max(self._number, number + 1)
        return generate_latest(self._registry)
