"""A request for a prediction, answered without a task and without ASGI messages."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from service.core.errors import MalformedRequest, ServiceError, Stopping
from service.http.messages import problems
from service.http.messages.body_reader import BodyForm, BodyReader, reader_of
from service.http.messages.responses import Headers, RawResponse, header_lines
from service.http.routing.predict_endpoint import HttpPipeline, PredictEndpoint, RawRequest
from service.http.server.request import Refused, Request
from service.inference.pipeline import PredictionJob, PredictionRequest
from service.inference.request_context import RequestContext, new_request_id, request_id_from

if TYPE_CHECKING:
    from service.http.routing.operations import Endpoint
    from service.http.routing.options import Options
    from service.http.security.access_control import AccessControl
    from service.http.server.request import Head
    from service.http.server.server_context import Responder
    from service.inference.admission.access import Grant
    from service.observability.request_log import RequestLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Dependencies shared by all prediction requests.

    Attributes:
        http: The prediction pipeline, and limits of request bodies.
        request_log: Records requests.
        control: Decides who may send a request.
    """

    http: HttpPipeline
    request_log: RequestLog
    control: AccessControl


@dataclass(frozen=True, slots=True)
class PredictionRoute:
    """What a request head determines of a prediction, independent of the state of the service.

    Attributes:
        endpoint: The matched endpoint.
        path: Path of the request without the root path.
        predict: The endpoint's handler.
        model: Name of the model.
        version: Version of the model; None for the newest.
        options: The parsed query; None if it is invalid, and to be parsed again for its error.
        request_id: The header `X-Request-Id`; None if it is absent.
        body: What the head declares of the body.
    """

    endpoint: Endpoint
    path: str
    predict: PredictEndpoint
    model: str
    version: str | None
    options: Options | None
    request_id: str | None
    body: BodyForm

    @classmethod
    def of(cls, head: Head, path: str, endpoint: Endpoint, parameters: Mapping[str, str]) -> PredictionRoute:
        """Return the route of a request.

        Args:
            head: The request head.
            path: Path of the request without the root path.
            endpoint: The matched endpoint; its operation is handled by a `PredictEndpoint`.
            parameters: Path parameters: `model`, optionally `version`.
        """
        options = None
        with suppress(MalformedRequest):
            options = endpoint.options(head.query)
        headers = head.first_headers
        given = headers.get(b"x-request-id")
        return cls(
            endpoint,
            path,
            cast("PredictEndpoint", endpoint.operation.handle),
            parameters["model"],
            parameters.get("version"),
            options,
            None if given is None else given.decode("latin-1"),
            BodyForm.of(endpoint.path, headers, head.content_length),
        )


class PredictionCall(PredictionJob[RawResponse]):
    """One request for a prediction: reads the body, asks the pipeline, writes the response.

    Attributes:
        task: What its answer waits for: the check of a passphrase, or long work; None if nothing.
    """

    __slots__ = (
        "_connection",
        "_early",
        "_has_body",
        "_is_cancelled",
        "_is_done",
        "_is_waiting",
        "_options",
        "_predictions",
        "_raw",
        "_reader",
        "_request",
        "_route",
    )

    def __init__(
        self, predictions: Predictions, connection: Responder, request: Request, route: PredictionRoute
    ) -> None:
        """Begin to answer; what the head alone decides is answered at once.

        Args:
            predictions: Dependencies shared by all prediction requests.
            connection: Where the request came from.
            request: Its head has arrived.
            route: What follows from its head.
        """
        self._predictions = predictions
        self._connection = connection
        self._request = request
        self._route = route
        self._has_body = self._is_done = self._is_cancelled = self._is_waiting = False
        self._reader: BodyReader | None = None
        self.task = None
        given = route.request_id
        request_id = new_request_id() if given is None else request_id_from(given)
        self._context = RequestContext(request_id, request.started, route.endpoint.path, is_prediction=True)
        predictions.request_log.begin()
        control = predictions.control
        try:
            if control.is_open:
                self._admit(None)
                return
            head = request.head
            control.check_host(head.first_headers.get(b"host"))
            key = control.key(head.headers)
            if control.access.needs_verify(key):
                self._wait_for(self._verify(key))
            else:
                self._admit(key)
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)

    def _admit(self, key: bytes | None) -> None:
        """Decide by the head whether the body is read.

        Raises:
            ServiceError: Whatever the checks of the head find.
        """
        request, route, predictions = self._request, self._route, self._predictions
        http, control = predictions.http, predictions.control
        if not control.is_open:
            right = route.endpoint.operation.right
            client = self._connection.client(request)
            self._context.grant = control.authorize(key, client, right, route.model)
        self._model = http.pipeline.find_model(self._context, route.model, route.version)
        self._options = route.options or route.endpoint.options(request.head.query)
        self._reader = reader_of(http.bodies, route.body, self._connection.client(request))
        if request.head.expects_continue:
            self._connection.send_continue()

    async def _verify(self, key: bytes | None) -> None:
        """Check a passphrase, and go on."""
        try:
            await self._predictions.control.access.verify(key, self._connection.client(self._request))
            if not self._is_done:
                self._admit(key)
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)
        else:
            self._go_on()

    # Call

    def on_body(self, piece: bytes) -> None:
        """Take the next bytes of the body."""
        if self._is_done:
            return
        if self._reader is None:  # not admitted yet
            self._early.append(piece)
            return
        try:
            self._reader.push(piece)
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)
        else:
            if self._reader.has_more and not self._is_waiting:
                self._connection.pause_body()
                self._is_waiting = True
                self._connection.loop.call_soon(self._decompress)

    def on_body_end(self) -> None:
        """Ask the pipeline, once the body is decompressed."""
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
            self.submit(self._predictions.http.pipeline, context, self._model, len(body), unparsed)
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)

    def on_body_error(self, error: ServiceError | Refused) -> None:
        """Answer that the body is broken, too slow or too large."""
        if not self._is_done:
            self._connection.close_after_response()
            self.fail(error)

    def on_disconnect(self) -> None:
        """Record that the client left before the response."""
        self._is_cancelled = True
        if not self._is_done:
            self._end()
        if self.task is not None:
            self.task.cancel()

    def cancel(self) -> None:
        """Answer that the server stops."""
        if not self._is_done:
            self.fail(Stopping())
        if self.task is not None:
            self.task.cancel()

    # What the body waits for

    def _wait_for(self, work: Coroutine[None, None, None]) -> None:
        """Run what has to be done before the body is read."""
        self._is_waiting = True
        self._early: list[bytes] = []  # at most what was parsed together with the head
        self._connection.pause_body()
        self.task = self._connection.loop.create_task(work)

    def _go_on(self) -> None:
        """Read the body, or ask the pipeline if all of it is here."""
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
            self._connection.resume_body()

    def _decompress(self) -> None:
        """Decompress one more slice; other connections run between two slices."""
        if self._is_done or self._reader is None:
            return
        try:
            self._reader.step()
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)
            return
        if self._reader.has_more:
            self._connection.loop.call_soon(self._decompress)
            return
        self._is_waiting = False
        if self._has_body:
            self.on_body_end()
        else:
            self._connection.resume_body()

    # The pipeline

    def parse(self) -> PredictionRequest[RawResponse]:
        """Make a question of the body; raises what it finds."""
        return self._route.predict.parse(self._raw, self._model, self._options)

    def is_cancelled(self) -> bool:
        """Return whether the answer is no longer wanted."""
        return self._is_cancelled or self._is_done

    def respond(self, response: RawResponse) -> None:
        """Write the response."""
        if not self._is_done:
            self._send(200, response.headers, response.content)

    def fail(self, error: Exception) -> None:
        """Write an error response; an unforeseen error is logged, and the client told no more than that."""
        if self._is_done:
            return
        context, path = self._context, self._request.path
        if isinstance(error, Refused):
            response = problems.problem_response(error.problem, error.detail, path, context.request_id)
        elif isinstance(error, ServiceError):
            response = problems.error_response(error, path, context.request_id)
        else:
            log.error("unexpected error", exc_info=error, extra={"fields": {"request_id": context.request_id}})
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
        self._connection.write_response(status, head, content)

    def _rate_lines(self, grant: Grant, headers: Headers) -> bytes:
        """Return the header lines of a grant that are not among the headers."""
        present = {name for name, _ in headers}
        fields = [(name.encode(), value.encode()) for name, value in grant.fields()]
        return header_lines(tuple(field for field in fields if field[0] not in present))

    def _end(self) -> None:
        self._is_done = True
        if self._reader is not None:
            self._reader.release()
            self._reader = None
        context, request = self._context, self._request
        context.received = request.received
        self._predictions.request_log.end(
            context, request.head.method, request.path, self._connection.client(request)
        )
