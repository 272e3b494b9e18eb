"""Request id, one log line per request, counters and timings: measured once, shown three times.

The same numbers go into the log line, the metrics and the answer's `Server-Timing` header.
"""

import logging
import os
import re
import time
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

CLIENT_CLOSED = 499
"""Status in log and metrics for a caller who left before the answer, as nginx writes it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(slots=True)
class Exchange:
    """What is known of one request while it is being answered.

    Attributes:
        request_id: The caller's own, or a new one.
        route: The path's template; a fixed word where no route matched, so that callers cannot make
            metrics grow.
        model: Name of the model that answers, or `-`.
        version: Its version, or `-`.
        images: How many images it answered.
        received: Bytes of the body.
        status: Of the answer; 0 before it is known.
        body_read: Whether the body was read to its end.
        phases: Seconds spent in each phase, in order.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    route: str = "(none)"
    model: str = "-"
    version: str = "-"
    images: int = 0
    received: int = 0
    status: int = 0
    body_read: bool = False
    phases: dict[str, float] = field(default_factory=dict)
    _marked: float = field(default_factory=time.perf_counter)

    def mark(self, phase: str) -> None:
        """Give the time since the last mark to a phase; a worker may do so after its deadline too."""
        now = time.perf_counter()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self._marked
        self._marked = now


def exchange_of(request: Request) -> Exchange:
    """Return what is known of a request; it must have come through `Observer`."""
    exchange = request.scope["exchange"]
    assert isinstance(exchange, Exchange)
    return exchange


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

    def count(self, exchange: Exchange, seconds: float) -> None:
        """Count one answered request."""
        self.requests.labels(exchange.route, exchange.model, exchange.status).inc()
        self.seconds.labels(exchange.route).observe(seconds)
        for phase, spent in tuple(exchange.phases.items()):
            self.phases.labels(phase).observe(spent)
        if exchange.images:
            self.images.labels(exchange.model).observe(exchange.images)


class Observer:
    """The outermost layer: every request passes, none escapes without an answer, a count and a line."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = Exchange(_request_id(headers.get(b"x-request-id", b"")))
        head_only = scope["method"] == "HEAD"

        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                self._add_headers(message, exchange)
                if b"expect" in headers and not exchange.body_read:
                    # The caller may or may not send the body it announced: only a new connection is sure.
                    MutableHeaders(scope=message)["Connection"] = "close"
            elif head_only:
                message = {**message, "body": b""}
            await send(message)

        # HEAD is GET without the body, on every route; the server's own scope keeps the real method.
        inner = {**scope, "exchange": exchange, "method": "GET" if head_only else scope["method"]}
        self._metrics.in_flight.inc()
        try:
            await self._app(inner, receive, send_observed)
        except Exception:  # whatever it was has been answered with a 500; here it is written down
            log.exception("unforeseen", extra={"fields": {"request_id": exchange.request_id}})
        finally:
            self._metrics.in_flight.dec()
            self._record(scope, exchange)

    def _add_headers(self, message: Message, exchange: Exchange) -> None:
        timing = ", ".join(f"{phase};dur={1000 * s:.3f}" for phase, s in tuple(exchange.phases.items()))
        message["headers"] = [
            *message["headers"],
            (b"x-request-id", exchange.request_id.encode()),
            *([(b"server-timing", timing.encode())] if timing else []),
        ]

    def _record(self, scope: Scope, exchange: Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        exchange.status = exchange.status or CLIENT_CLOSED
        self._metrics.count(exchange, seconds)
        if self._access_log:
            client = scope.get("client")
            fields = {
                "request_id": exchange.request_id,
                "client": client[0] if client else "-",
                "method": scope["method"],
                "path": scope["path"][:200],
                "route": exchange.route,
                "status": exchange.status,
                "model": exchange.model,
                "version": exchange.version,
                "images": exchange.images,
                "received_bytes": exchange.received,
                "ms": round(1000 * seconds, 3),
                "phases_ms": {name: round(1000 * s, 3) for name, s in tuple(exchange.phases.items())},
            }
            log.info("request", extra={"fields": fields})


def new_request_id() -> str:
    """Return 16 hexadecimal digits that nobody can guess."""
    return os.urandom(8).hex()


def _request_id(given: bytes) -> str:
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else new_request_id()
