"""What is written down of each request when it ends: a log line, the counters, the model's statistics."""

import logging
import time

from service.http.exchange import CLIENT_CLOSED, Exchange
from service.http.metrics import Metrics
from service.serving.statistics import Duration, Statistics

log = logging.getLogger(__name__)

_MAX_PATH = 200


class Journal:
    """Measured once, shown three times; requests over gRPC are written down as those over HTTP are."""

    def __init__(self, metrics: Metrics, statistics: Statistics, access_log: bool) -> None:
        self._metrics = metrics
        self._statistics = statistics
        self._access_log = access_log

    def begin(self) -> None:
        """Count a request as being answered."""
        self._metrics.in_flight += 1

    def end(self, exchange: Exchange, method: str, path: str, client: str) -> None:
        """Write down a request that was answered, or whose caller left before.

        Args:
            exchange: What is known of it.
            method: Its verb.
            path: As it came; only its beginning is written.
            client: The caller's address, or `-`.
        """
        self._metrics.in_flight -= 1
        seconds = time.perf_counter() - exchange.started
        exchange.status = exchange.status or CLIENT_CLOSED
        phases = dict(exchange.phases)
        self._metrics.count(exchange, seconds)
        if exchange.is_prediction:
            self._count(exchange, seconds, phases)
        if self._access_log:
            fields = {
                "request_id": exchange.request_id,
                "client": client,
                "method": method,
                "path": path[:_MAX_PATH],
                "route": exchange.route,
                "status": exchange.status,
                "model": exchange.model,
                "version": exchange.version,
                "images": exchange.images,
                "received_bytes": exchange.received,
                "ms": round(1000 * seconds, 3),
                "phases_ms": {name: round(1000 * s, 3) for name, s in phases.items()},
            }
            log.info("request", extra={"fields": fields})

    def _count(self, exchange: Exchange, seconds: float, phases: dict[str, float]) -> None:
        if exchange.status != 200:
            self._statistics.count_failure(exchange.model, exchange.version, seconds)
            return
        took = Duration(
            whole=seconds,
            queue=phases.get("queue", 0),
            input=phases.get("decode", 0) + phases.get("prepare", 0),
            infer=phases.get("infer", 0) + phases.get("explain", 0),
            output=phases.get("encode", 0),
        )
        self._statistics.count(exchange.model, exchange.version, exchange.images, exchange.batch, took)
