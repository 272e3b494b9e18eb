"""Prediction request, answered without a task and without ASGI messages."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.core.errors import ServiceError, Stopping
from service.http.messages import problems
from service.http.messages.body_reader import BodyReader, reader_of
from service.http.messages.responses import Headers, RawResponse, header_lines
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.http.server.request import Refused, Request
from service.inference.pipeline import PredictionJob, PredictionRequest
from service.inference.request_context import RequestContext, new_request_id, request_id_from

if TYPE_CHECKING:
    from service.http.calls.prediction_route import PredictionRoute
    from service.http.security.access_control import AccessControl
    from service.http.server.server_context import Responder
    from service.inference.admission.access import Grant
    from service.observability.request_log import RequestLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictionContext:
    """Components that all prediction requests share.

    Attributes:
        http: The prediction pipeline, and limits of request bodies.
        request_log: Records requests.
        control: Checks hosts, keys and rates.
    """

    http: HttpPipeline
    request_log: RequestLog
    control: AccessControl


class PredictionCall(PredictionJob[RawResponse]):
    """One prediction request: reads the body, runs the prediction pipeline, writes the response.

    Attributes:
        task: Task that the response waits for: verification of an API key, or a long prediction; None if
            none.
    """

    __slots__ = (
        "_early",
        "_has_body",
        "_is_cancelled",
        "_is_done",
        "_is_waiting",
        "_options",
        "_raw",
        "_reader",
        "_request",
        "_responder",
        "_route",
        "_shared",
    )

    def __init__(
        self, shared: PredictionContext, responder: Responder, request: Request, route: PredictionRoute
    ) -> None:
        """Check the head: host, API key, rate, model, options. A request that is refused is answered at once.

        Args:
            shared: Components that all prediction requests share.
            responder: The connection.
            request: The request, whose head has arrived.
            route: The parts that depend on its head only.
        """
        self._shared = shared
        self._responder = responder
        self._request = request
        self._route = route
        self._has_body = self._is_done = self._is_cancelled = self._is_waiting = False
        self._reader: BodyReader | None = None
        self.task = None
        given = route.request_id
        request_id = new_request_id() if given is None else request_id_from(given)
        self._context = RequestContext(request_id, request.started, route.endpoint.path, is_prediction=True)
        shared.request_log.begin()
        control = shared.control
        try:
            if control.is_open:
                self._admit(None)
                return
            head = request.head
            control.check_host(head.first_headers.get(b"host"))
            key = control.key(head.headers)
            if control.access.needs_verify(key):
                self._run_before_body(self._verify(key))
            else:
                self._admit(key)
        except Exception as error:  # any error gets a response
            self.fail(error)

    def _admit(self, key: bytes | None) -> None:
        """Finish the checks of the head, and accept the body.

        Raises:
            ServiceError: A check fails.
        """
        request, route, shared = self._request, self._route, self._shared
        http, control = shared.http, shared.control
        if not control.is_open:
            right = route.endpoint.operation.right
            client = self._responder.client(request)
            self._context.grant = control.authorize(key, client, right, route.model)
        self._model = http.pipeline.find_model(self._context, route.model, route.version)
        self._options = route.options or route.endpoint.options(request.head.query)
        self._reader = reader_of(http.bodies, route.body, self._responder.client(request))
        if request.head.expects_continue:
            self._responder.send_continue()

    async def _verify(self, key: bytes | None) -> None:
        """Verify an API key, then continue with the request."""
        try:
            await self._shared.control.access.verify(key, self._responder.client(self._request))
            if not self._is_done:
                self._admit(key)
        except Exception as error:  # any error gets a response
            self.fail(error)
        else:
            self._resume()

    # Call

    def on_body(self, piece: bytes) -> None:
        """Pass the next bytes of the body to its reader."""
        if self._is_done:
            return
        if self._reader is None:  # the API key is not verified yet
            self._early.append(piece)
            return
        try:
            self._reader.push(piece)
        except Exception as error:  # any error gets a response
            self.fail(error)
        else:
            if self._reader.has_more and not self._is_waiting:
                self._responder.pause_body()
                self._is_waiting = True
                self._responder.loop.call_soon(self._decompress)

    def on_body_end(self) -> None:
        """Submit the request to the prediction pipeline, once the body is decompressed."""
        self._has_body = True
        if self._is_done or self._is_waiting:
            return
        context, reader = self._context, self._reader
        assert reader is not None
        try:
            body = reader.end()
            context.received = self._request.received
            context.body_read = True
            context.mark("read")
            raw = self._raw = RawRequest(body, self._request.head.first_headers, context)
            unparsed = self._route.predict.count_unparsed(raw)
            self.submit(self._shared.http.pipeline, context, self._model, len(body), unparsed)
        except Exception as error:  # any error gets a response
            self.fail(error)

    def on_body_error(self, error: ServiceError | Refused) -> None:
        """Answer a body that is invalid, too slow or too large."""
        if not self._is_done:
            self._responder.close_after_response()
            self.fail(error)

    def on_disconnect(self) -> None:
        """Log that the client disconnected before the response, and cancel the task."""
        self._is_cancelled = True
        if not self._is_done:
            self._end()
        if self.task is not None:
            self.task.cancel()

    def cancel(self) -> None:
        """Answer 503: the server stops."""
        if not self._is_done:
            self.fail(Stopping())
        if self.task is not None:
            self.task.cancel()

    # Waiting before and within the body

    def _run_before_body(self, work: Coroutine[None, None, None]) -> None:
        """Pause the body, and run a coroutine that has to be done before."""
        self._is_waiting = True
        self._early: list[bytes] = []  # pieces of the body that were parsed together with the head
        self._responder.pause_body()
        self.task = self._responder.loop.create_task(work)

    def _resume(self) -> None:
        """Continue with the pieces that have arrived, then with the rest of the body."""
        self._is_waiting = False
        if self._is_done:
            return
        early, self._early = self._early, []
        for piece in early:
            self.on_body(piece)
        if self._is_waiting or self._is_done:
            return
        if self._has_body:
            self.on_body_end()
        else:
            self._responder.resume_body()

    def _decompress(self) -> None:
        """Decompress one slice, and schedule the next: other connections run in between."""
        if self._is_done or self._reader is None:
            return
        try:
            self._reader.step()
        except Exception as error:  # any error gets a response
            self.fail(error)
            return
        if self._reader.has_more:
            self._responder.loop.call_soon(self._decompress)
            return
        self._is_waiting = False
        if self._has_body:
            self.on_body_end()
        else:
            self._responder.resume_body()

    # PredictionJob

    def parse(self) -> PredictionRequest[RawResponse]:
        """Parse the body and the options; raises `RequestError` if they are invalid."""
        return self._route.predict.parse(self._raw, self._model, self._options)

    def is_cancelled(self) -> bool:
        """Return whether the client has disconnected, or has a response already."""
        return self._is_cancelled or self._is_done

    def respond(self, response: RawResponse) -> None:
        """Write the response of a successful prediction."""
        if not self._is_done:
            self._send(200, response.headers, response.content)

    def fail(self, error: Exception) -> None:
        """Write an error response. An unexpected error is logged, and answered with a generic problem."""
        if self._is_done:
            return
        context, path = self._context, self._request.path
        if isinstance(error, Refused):
            response = problems.problem_response(error.problem, error.detail, path, context.request_id)
        elif isinstance(error, ServiceError):
            response = problems.error_response(error, path, context.request_id)
        else:
            log.error(
                "unexpected error", exc_info=error, extra={"fields": {"request_id": context.request_id}}
            )
            response = problems.internal_error_response(path, context.request_id)
        skipped = (b"content-length", b"connection")
        headers = tuple(header for header in response.raw_headers if header[0] not in skipped)
        error.__traceback__ = None  # its frames would hold the body
        self._send(response.status_code, headers, bytes(response.body))

    def _send(self, status: int, headers: Headers, content: bytes) -> None:
        context = self._context
        context.status = status
        lines = header_lines(headers)
        if context.grant is not None:
            lines += self._rate_lines(context.grant, headers)
        timing = context.server_timing()
        if timing:
            lines += b"server-timing: %b\r\n" % timing
        request_id = context.request_id.encode()
        head = b"%bcontent-length: %d\r\nx-request-id: %b\r\n" % (lines, len(content), request_id)
        self._end()
        self._responder.write_response(status, head, content)

    def _rate_lines(self, grant: Grant, headers: Headers) -> bytes:
        """Return the rate limit header lines of a grant that are not among the headers already."""
        present = {name for name, _ in headers}
        fields = [(name.encode(), value.encode()) for name, value in grant.fields()]
        return header_lines(tuple(field for field in fields if field[0] not in present))

    def _end(self) -> None:
        """Release the body, and record the request."""
        self._is_done = True
        if self._reader is not None:
            self._reader.release()
            self._reader = None
        context, request = self._context, self._request
        context.received = request.received
        self._shared.request_log.end(
            context, request.head.method, request.path, self._responder.client(request)
        )
