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
from service.http.messages.headers import Headers, header_lines
from service.http.server.request import Refused, Request
from service.inference.pipeline import Answering, Posted, PredictionJob, Question, Reply
from service.inference.request_context import Exchange, new_request_id, request_id_from

if TYPE_CHECKING:
    from service.http.routing.operations import Endpoint, Options
    from service.http.security.access_control import AccessControl
    from service.http.server.context import Responder
    from service.http.server.request import Head
    from service.inference.admission.access import Grant
    from service.inference.pipeline import Asking
    from service.observability.request_log import Journal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Dependencies shared by all prediction requests.

    Attributes:
        answering: The prediction pipeline.
        journal: Records requests.
        control: Decides who may send a request.
    """

    answering: Answering
    journal: Journal
    control: AccessControl


@dataclass(frozen=True, slots=True)
class PredictionRoute:
    """What follows from the head of a request for a prediction, whatever the state of the service.

    Attributes:
        endpoint: What is requested.
        path: The request's path without the root path.
        asking: Makes a question of the body.
        model: Name of the model.
        version: Its version; None for the newest.
        options: What the query says; None if it is to be read again, as it is wrong.
        request_id: The header `X-Request-Id`; None if it did not come.
        body: What the head says of the body.
    """

    endpoint: Endpoint
    path: str
    asking: Asking
    model: str
    version: str | None
    options: Options | None
    request_id: str | None
    body: BodyForm

    @classmethod
    def of(cls, head: Head, path: str, endpoint: Endpoint, parameters: Mapping[str, str]) -> PredictionRoute:
        """Return the route of a request.

        Args:
            head: Its head.
            path: Its path without the root path.
            endpoint: What is requested; its operation is handled by an `Asking`.
            parameters: Values in the path: `model`, perhaps `version`.
        """
        options = None
        with suppress(MalformedRequest):
            options = endpoint.options(head.query)
        headers = head.first_headers
        given = headers.get(b"x-request-id")
        return cls(
            endpoint,
            path,
            cast("Asking", endpoint.operation.handle),
            parameters["model"],
            parameters.get("version"),
            options,
            None if given is None else given.decode("latin-1"),
            BodyForm.of(endpoint.path, headers, head.content_length),
        )


class PredictionCall(PredictionJob[Reply]):
    """One request for a prediction: reads the body, asks the pipeline, writes the response.

    Attributes:
        task: What its answer waits for: the check of a passphrase, or long work; None if nothing.
    """

    __slots__ = (
        "_connection",
        "_early",
        "_has_body",
        "_is_done",
        "_is_gone",
        "_is_waiting",
        "_options",
        "_posted",
        "_predictions",
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
        self._has_body = self._is_done = self._is_gone = self._is_waiting = False
        self._reader: BodyReader | None = None
        self.task = None
        given = route.request_id
        request_id = new_request_id() if given is None else request_id_from(given)
        self._exchange = Exchange(request_id, request.started, route.endpoint.path, is_prediction=True)
        predictions.journal.begin()
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
        answering, control = predictions.answering, predictions.control
        if not control.is_open:
            right = route.endpoint.operation.right
            client = self._connection.client(request)
            self._exchange.grant = control.authorize(key, client, right, route.model)
        self._model = answering.find_by_name(self._exchange, route.model, route.version)
        self._options = route.options or route.endpoint.options(request.head.query)
        self._reader = reader_of(answering.bodies, route.body, self._connection.client(request))
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
        exchange, reader = self._exchange, self._reader
        assert reader is not None
        try:
            body = reader.end()
            exchange.received = self._request.received
            exchange.body_read = True
            exchange.mark("read")
            posted = self._posted = Posted(body, self._request.head.first_headers, exchange)
            unread = self._route.asking.count_unread(posted)
            self.submit(self._predictions.answering, exchange, self._model, len(body), unread)
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)

    def on_body_error(self, error: ServiceError | Refused) -> None:
        """Answer that the body is broken, too slow or too large."""
        if not self._is_done:
            self._connection.close_after_response()
            self.fail(error)

    def on_disconnect(self) -> None:
        """Record that the client left before the response."""
        self._is_gone = True
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

    def read(self) -> Question[Reply]:
        """Make a question of the body; raises what it finds."""
        return self._route.asking.ask(self._posted, self._model, self._options)

    def is_gone(self) -> bool:
        """Return whether the answer is no longer wanted."""
        return self._is_gone or self._is_done

    def answer(self, reply: Reply) -> None:
        """Write the response."""
        if not self._is_done:
            self._respond(200, reply.headers, reply.content)

    def fail(self, error: Exception) -> None:
        """Write an error response; an unforeseen error is logged, and the client told no more than that."""
        if self._is_done:
            return
        exchange, path = self._exchange, self._request.path
        if isinstance(error, Refused):
            response = problems.respond(error.problem, error.detail, path, exchange.request_id)
        elif isinstance(error, ServiceError):
            response = problems.answer(error, path, exchange.request_id)
        else:
            log.error("unforeseen", exc_info=error, extra={"fields": {"request_id": exchange.request_id}})
            response = problems.unforeseen(path, exchange.request_id)
        skipped = (b"content-length", b"connection")
        headers = tuple(header for header in response.raw_headers if header[0] not in skipped)
        error.__traceback__ = None  # its frames would hold the body
        self._respond(response.status_code, headers, bytes(response.body))

    def _respond(self, status: int, headers: Headers, content: bytes) -> None:
        exchange = self._exchange
        exchange.status = status
        lines = header_lines(headers)
        if exchange.grant is not None:
            lines += self._rate_lines(exchange.grant, headers)
        timing = exchange.server_timing()
        if timing:
            lines += b"server-timing: %b\r\n" % timing
        request_id = exchange.request_id.encode()
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
        exchange, request = self._exchange, self._request
        exchange.received = request.received
        self._predictions.journal.end(
            exchange, request.head.method, request.path, self._connection.client(request)
        )
