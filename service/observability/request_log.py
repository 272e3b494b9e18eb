"""What is written down of each request when it ends: a log line, the counters, the model's statistics."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from service.inference.request_context import CLIENT_CLOSED, Exchange
from service.observability import json_logging
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics

log = logging.getLogger(__name__)

_MAX_PATH = 200


class Recorder(Protocol):
    """Records requests when they begin and end."""

    def begin(self) -> None:
        """Count a request as being answered."""

    def end(self, exchange: Exchange, method: str, path: str, client: str) -> None:
        """Record a request that was answered, or whose client left before."""


class ThreadRecorder:
    """Hands what happens in another thread to the journal of an event loop."""

    def __init__(self, journal: Recorder, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = journal
        self._loop = loop

    def begin(self) -> None:
        """Count a request as being answered."""
        self._call(self._journal.begin)

    def end(self, exchange: Exchange, method: str, path: str, client: str) -> None:
        """Record a request, measured until now."""
        if not exchange.status:
            exchange.status = CLIENT_CLOSED
        exchange.ended = time.perf_counter()
        self._call(self._journal.end, exchange, method, path, client)

    def _call(self, what: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended: the process stops
            self._loop.call_soon_threadsafe(what, *arguments)


class Journal:
    """Measured once, shown three times; requests over gRPC are written down as those over HTTP are.

    What ends in one turn of the event loop is written down together after it: nobody's answer waits for
    it, and code and data stay in the processor's caches.
    """

    def __init__(self, metrics: Metrics, statistics: Statistics, access_log: bool) -> None:
        self._metrics = metrics
        self._statistics = statistics
        self._access_log = access_log
        self._ended: list[tuple[Exchange, float]] = []

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
        if not exchange.status:
            exchange.status = CLIENT_CLOSED
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._write)
        exchange.method, exchange.path, exchange.client = method, path[:_MAX_PATH], client
        self._ended.append((exchange, (exchange.ended or time.perf_counter()) - exchange.started))

    def _write(self) -> None:
        ended, self._ended = self._ended, []
        self._metrics.count(ended)
        for exchange, seconds in ended:
            if exchange.is_prediction:
                self._count(exchange, seconds)
        if self._access_log and log.isEnabledFor(logging.INFO):
            lines = [_fields(exchange, seconds) for exchange, seconds in ended]
            log.handle(json_logging.Lines(log.name, "request", lines))

    def _count(self, exchange: Exchange, seconds: float) -> None:
        if exchange.status != 200:
            self._statistics.count_failure(exchange.model, exchange.version, seconds)
            return
        self._statistics.count(
            exchange.model, exchange.version, exchange.images, exchange.batch, seconds, exchange.phases
        )


def _fields(exchange: Exchange, seconds: float) -> dict[str, object]:
    fields: dict[str, object] = {"request_id": exchange.request_id, "client": exchange.client}
    if exchange.grant is not None:
        fields["key"] = exchange.grant.client
    fields |= {
        "method": exchange.method,
        "path": exchange.path,
        "route": exchange.route,
        "status": exchange.status,
        "model": exchange.model,
        "version": exchange.version,
        "images": exchange.images,
        "received_bytes": exchange.received,
        "ms": int(1e6 * seconds + 0.5) / 1000,
        "phases_ms": exchange.phases,
    }
    return fields
