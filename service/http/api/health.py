"""For operators: is it alive, is it ready, what does it count."""

import asyncio
import math
import time
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.http.api import schemas
from service.http.messages.conditional import SharedResponse
from service.http.messages.response_cache import Key, Rendered, ResponseCache
from service.http.messages.responses import json_response
from service.http.routing.operations import Operation, Options
from service.inference.models.registry import Registry

_COST = 2 * 2**20
"""Upper limit of the memory that rendering the metrics takes, in bytes."""


@dataclass(frozen=True)
class Endpoints:
    """Live, ready, metrics.

    Attributes:
        registry: What is served.
        metrics: Renders the metrics; or, where the event loop answers nobody but operators,
            the registry that is rendered on it.
    """

    registry: Registry
    metrics: "Scrapes | CollectorRegistry"

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
                answers={content_types.JSON: schemas.Status},
            ),
            Operation(
                name="ready",
                method="GET",
                path="/readyz",
                summary="Tell whether every model that should be served can answer",
                handle=self.ready,
                right=None,
                answers={content_types.JSON: schemas.Status},
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
        return json_response({"status": "live"})

    async def ready(self, request: Request, options: Options) -> Response:
        """Answer `GET /readyz`; raises ModelNotReady if a published model cannot answer."""
        del request, options
        self.registry.check_ready()
        served: dict[str, list[str]] = {}
        for model in self.registry.models():
            served.setdefault(model.name, []).append(model.version)
        return json_response({"status": "ready", "models": served})

    async def measure(self, request: Request, options: Options) -> Response:
        """Answer `GET /metrics`."""
        del request, options
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        if isinstance(self.metrics, CollectorRegistry):
            return Response(generate_latest(self.metrics), headers=headers)
        return SharedResponse(await self.metrics.get(), headers)


class Scrapes:
    """Renders the metrics off the event loop, at most once per `interval_s` however many ask.

    A response never holds numbers older than its request: scrapes that arrive meanwhile wait for the next
    rendering, which they share.
    """

    def __init__(self, registry: CollectorRegistry, cache: ResponseCache, interval_s: float = 0.1) -> None:
        """Create.

        Args:
            registry: What is rendered; collected in a rendering thread.
            cache: Where it is rendered and shared; it is not retained.
            interval_s: From the beginning of one rendering to that of the next, at least.
        """
        self._registry = registry
        self._cache = cache
        self._interval_s = interval_s
        self._number = 0  # of the next rendering
        self._began = -math.inf

    async def get(self) -> Rendered:
        """Return the text, to be released; raises as `ResponseCache.get`."""
        number = self._number
        if (wait_s := self._began + self._interval_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        return await self._cache.get(
            Key("metrics", details=(number,)), lambda: self._render(number), _COST, retain=False, priority=1
        )

    def _render(self, number: int) -> bytes:
        self._began = time.monotonic()
        self._number = max(self._number, number + 1)
        return generate_latest(self._registry)
