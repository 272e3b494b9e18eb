"""What is written down of each request when it ends: a log line, the counters, the model's statistics."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from service.inference.request_context import CLIENT_CLOSED, RequestContext
from service.observability import json_logging
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics

log = logging.getLogger(__name__)

_MAX_PATH = 200


class Recorder(Protocol):
    """Records requests when they begin and end."""

    def begin(self) -> None:
        """Count a request as being answered."""

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        """Record a request that was answered, or whose client left before."""


class ThreadRecorder:
    """Hands what happens in another thread to the journal of an event loop."""

    def __init__(self, request_log: Recorder, loop: asyncio.AbstractEventLoop) -> None:
        self._request_log = request_log
        self._loop = loop

    def begin(self) -> None:
        """Count a request as being answered."""
        self._call(self._request_log.begin)

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        """Record a request, measured until now."""
        if not context.status:
            context.status = CLIENT_CLOSED
        context.ended = time.perf_counter()
        self._call(self._request_log.end, context, method, path, client)

    def _call(self, what: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended: the process stops
            self._loop.call_soon_threadsafe(what, *arguments)


class RequestLog:
    """Measured once, shown three times; requests over gRPC are written down as those over HTTP are.

    What ends in one turn of the event loop is written down together after it: nobody's answer waits for
    it, and code and data stay in the processor's caches.
    """

    def __init__(self, metrics: Metrics, statistics: Statistics, access_log: bool) -> None:
        self._metrics = metrics
        self._statistics = statistics
        self._access_log = access_log
        self._ended: list[tuple[RequestContext, float]] = []

    def begin(self) -> None:
        """Count a request as being answered."""
        self._metrics.in_flight += 1

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        """Write down a request that was answered, or whose caller left before.

        Args:
            context: What is known of it.
            method: Its verb.
            path: As it came; only its beginning is written.
            client: The caller's address, or `-`.
        """
        self._metrics.in_flight -= 1
        if not context.status:
            context.status = CLIENT_CLOSED
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._write)
        context.method, context.path, context.client = method, path[:_MAX_PATH], client
        self._ended.append((context, (context.ended or time.perf_counter()) - context.started))

    def _write(self) -> None:
        ended, self._ended = self._ended, []
        self._metrics.count(ended)
        for context, seconds in ended:
            if context.is_prediction:
                self._count(context, seconds)
        if self._access_log and log.isEnabledFor(logging.INFO):
            lines = [_fields(context, seconds) for context, seconds in ended]
            log.handle(json_logging.Lines(log.name, "request", lines))

    def _count(self, context: RequestContext, seconds: float) -> None:
        if context.status != 200:
            self._statistics.count_failure(context.model, context.version, seconds)
            return
        self._statistics.count(
            context.model, context.version, context.images, context.batch, seconds, context.phases
        )


def _fields(context: RequestContext, seconds: float) -> dict[str, object]:
    fields: dict[str, object] = {"request_id": context.request_id, "client": context.client}
    if context.grant is not None:
        fields["key"] = context.grant.client
    fields |= {
        "method": context.method,
        "path": context.path,
        "route": context.route,
        "status": context.status,
        "model": context.model,
        "version": context.version,
        "images": context.images,
        "received_bytes": context.received,
        "ms": int(1e6 * seconds + 0.5) / 1000,
        "phases_ms": context.phases,
    }
    return fields
