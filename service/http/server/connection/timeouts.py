"""Time limits of one connection, by stage.

IDLE           keep_alive_s since the last response; header_timeout_s before the first request
HEAD           header_timeout_s since the first byte of the head
BODY           body_timeout_s since the first byte of the head; then the call answers 408
BODY           header_timeout_s since the response, if it was sent before the body was complete
ANSWERING      none: each call has a time limit of its own
DRAINING       a few seconds since the last response
every stage    min_send_rate over write_timeout_s while the client has output to receive

`ConnectionLimits` describes the named limits. Clients must be faster while memory is short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.core.errors import BodyTimeout
from service.http.server.connection.stage import Stage

if TYPE_CHECKING:
    from service.http.server.connection.closing import Closing
    from service.http.server.connection.request_pipeline import RequestPipeline
    from service.http.server.connection.writer import Writer
    from service.http.server.server_context import ConnectionLimits
    from service.memory.budget import Budget

_SHORT_SHARE = 0.75
_SHORT_S = 2.0
_SHORT_RATE = 64
"""Share of the memory budget above which memory is short. Then a body must arrive in 2 s, and responses must
be received at 64 times the minimum rate: slow clients would hold memory that others need."""


class Timeouts:
    """Closes one connection that exceeds the time limit of its stage."""

    def __init__(
        self,
        pipeline: RequestPipeline,
        writer: Writer,
        closing: Closing,
        limits: ConnectionLimits,
        budget: Budget,
        accepted: float,
    ) -> None:
        self._pipeline = pipeline
        self._writer = writer
        self._closing = closing
        self._limits = limits
        self._budget = budget
        self._accepted = accepted

    def check(self, now: float) -> None:
        """Close the connection if its time is over.

        Args:
            now: By `time.perf_counter`.
        """
        if self._writer.is_paused:
            self._check_send_rate(now)
            return
        limits, pipeline, closing = self._limits, self._pipeline, self._closing
        stage, inactive_s = pipeline.stage, now - pipeline.last_active
        if stage is Stage.IDLE:
            is_new = pipeline.last_active == self._accepted
            if inactive_s > (limits.header_timeout_s if is_new else limits.keep_alive_s):
                closing.close()
        elif stage is Stage.HEAD:
            if min(inactive_s, now - pipeline.input.parser.head_began) > limits.header_timeout_s:
                closing.close()
        elif stage is Stage.BODY:
            self._check_body(now, inactive_s)
        elif closing.drains_until is not None and now > closing.drains_until:
            closing.abort()

    def _check_send_rate(self, now: float) -> None:
        interval_s, rate = self._limits.write_timeout_s, self._limits.min_send_rate
        if self._is_memory_short():
            interval_s, rate = min(interval_s, _SHORT_S), rate * _SHORT_RATE
        if self._writer.is_too_slow(now, interval_s, rate):
            self._closing.abort()

    def _check_body(self, now: float, inactive_s: float) -> None:
        limits, pipeline = self._limits, self._pipeline
        request, timeout_s = pipeline.request, limits.body_timeout_s
        if self._is_memory_short():
            timeout_s = min(timeout_s, _SHORT_S)
        if not pipeline.is_answering:
            if inactive_s > limits.header_timeout_s:
                self._closing.close()
        elif request is not None and min(inactive_s, now - request.started) > timeout_s:
            pipeline.time_out(BodyTimeout(timeout_s, request.received))

    def _is_memory_short(self) -> bool:
        return self._budget.used > _SHORT_SHARE * self._budget.max_bytes
