"""Request id, one log line per request, counters and timings: measured once, shown three times.

The same numbers go into the log line, the metrics and the answer's `Server-Timing` header.
"""

import logging
import re
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.exchange import CLIENT_CLOSED, Exchange, new_request_id
from service.http.metrics import Metrics

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


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


def _request_id(given: bytes) -> str:
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else new_request_id()
