"""Request log: a log line, metrics and model statistics for each request when it ends."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from service.inference.request_context import CLIENT_CLOSED, RequestContext
from service.observability.json_lines import BatchRecord
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics

log = logging.getLogger(__name__)

_MAX_PATH = 200


class Recorder(Protocol):
    """Records requests when they begin and end."""

    def begin(self) -> None:
        """Count a request as in flight."""

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        """Record a request whose response was sent, or whose client disconnected before."""


class ThreadRecorder:
    """Forwards requests of another thread to a request log in an event loop."""

    def __init__(self, request_log: Recorder, loop: asyncio.AbstractEventLoop) -> None:
        self._request_log = request_log
        self._loop = loop

    def begin(self) -> None:
        """Count a request as in flight."""
        self._call(self._request_log.begin)

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        """Record a request that ends now."""
        if not context.status:
            context.status = CLIENT_CLOSED
        context.ended = time.perf_counter()
        self._call(self._request_log.end, context, method, path, client)

    def _call(self, method: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process stops
            self._loop.call_soon_threadsafe(method, *arguments)


class RequestLog:
    """Feeds the access log, the metrics and the model statistics from one measurement, for HTTP and gRPC.

    Requests that end in one turn of the event loop are recorded together after it, so that no response is
    delayed.
    """

    def __init__(self, metrics: Metrics, statistics: Statistics, access_log: bool) -> None:
        """Create it.

        Args:
            metrics: Counts every request.
            statistics: Counts predictions.
            access_log: Whether to write a log line for every request.
        """
        self._metrics = metrics
        self._statistics = statistics
        self._access_log = access_log
        self._ended: list[tuple[RequestContext, float]] = []

    def begin(self) -> None:
        """Count a request as in flight."""
        self._metrics.in_flight += 1

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        """Record a request whose response was sent, or whose client disconnected before.

        Args:
            context: The request context.
            method: HTTP method.
            path: Path of the request; logged up to 200 characters.
            client: Client address, or `-`.
        """
        self._metrics.in_flight -= 1
        if not context.status:
            context.status = CLIENT_CLOSED
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._record)
        context.method, context.path, context.client = method, path[:_MAX_PATH], client
        self._ended.append((context, (context.ended or time.perf_counter()) - context.started))

    def _record(self) -> None:
        ended, self._ended = self._ended, []
        self._metrics.count(ended)
        for context, seconds in ended:
            if context.is_prediction:
                self._count(context, seconds)
        if self._access_log and log.isEnabledFor(logging.INFO):
            lines = [_fields(context, seconds) for context, seconds in ended]
            log.handle(BatchRecord(log.name, "request", lines))

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
