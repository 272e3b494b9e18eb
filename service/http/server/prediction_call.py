"""A request for a prediction, answered without a task and without ASGI messages."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from service.core.errors import ServiceError, Stopping
from service.http import problems
from service.http.answering import Answering, Posted, Reply
from service.http.body_reader import JSON_LENGTH, BodyReader, json_length, read_as
from service.http.exchange import Exchange, new_request_id, request_id_from
from service.http.server.request import Refused, Request

if TYPE_CHECKING:
    import asyncio

    from service.http.access import AccessControl
    from service.http.answering import Asking
    from service.http.journal import Journal
    from service.http.operations import Endpoint
    from service.http.server.context import Responder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What every `PredictionCall` needs.

    Attributes:
        answering: The prediction pipeline.
        journal: Records requests.
        control: Decides who may send a request.
    """

    answering: Answering
    journal: Journal
    control: AccessControl


class PredictionCall:
    """One request for a prediction: reads the body, asks the pipeline, writes the response."""

    __slots__ = (
        "_connection",
        "_early",
        "_endpoint",
        "_exchange",
        "_has_body",
        "_is_done",
        "_is_gone",
        "_is_waiting",
        "_model",
        "_options",
        "_parameters",
        "_predictions",
        "_reader",
        "_request",
        "_task",
    )

    def __init__(
        self,
        predictions: Predictions,
        connection: Responder,
        request: Request,
        endpoint: Endpoint,
        parameters: Mapping[str, str],
    ) -> None:
        """Begin to answer; what the head alone decides is answered at once.

        Args:
            predictions: What every call needs.
            connection: Where the request came from.
            request: Its head has arrived.
            endpoint: What is requested.
            parameters: Values in its path: `model`, perhaps `version`.
        """
        self._predictions = predictions
        self._connection = connection
        self._request = request
        self._endpoint = endpoint
        self._parameters = parameters
        self._has_body = self._is_done = self._is_gone = self._is_waiting = False
        self._reader: BodyReader | None = None
        self._task: asyncio.Task[None] | None = None
        headers = request.first_headers
        given = headers.get(b"x-request-id")
        request_id = new_request_id() if given is None else request_id_from(given.decode("latin-1"))
        self._exchange = Exchange(request_id, request.started, endpoint.path)
        self._exchange.is_prediction = True
        predictions.journal.begin()
        control = predictions.control
        try:
            if control.is_open:
                self._admit(None)
                return
            control.check_host(headers.get(b"host"))
            key = control.key(request.headers)
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
        request, endpoint, parameters = self._request, self._endpoint, self._parameters
        headers, name = request.first_headers, parameters["model"]
        predictions = self._predictions
        answering, control = predictions.answering, predictions.control
        if not control.is_open:
            self._exchange.grant = control.authorize(
                key, self._connection.client(request), endpoint.operation.right, name
            )
        self._model = answering.find_by_name(self._exchange, name, parameters.get("version"))
        self._options = endpoint.options(request.query)
        coding, json_bytes = headers.get(b"content-encoding"), headers.get(JSON_LENGTH)
        self._reader = BodyReader(
            answering.bodies,
            None if coding is None else coding.decode("latin-1"),
            read_as(endpoint.path, headers.get(b"content-type", b"").decode("latin-1")),
            request.content_length,
            None if json_bytes is None else json_length(json_bytes.decode("latin-1")),
        )
        if request.expects_continue:
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
            if self._reader.is_packed and self._reader.has_more and not self._is_waiting:
                self._connection.pause_body()
                self._is_waiting = True
                self._connection.loop.call_soon(self._decompress)

    def on_body_end(self) -> None:
        """Ask the pipeline, once the body is decompressed."""
        self._has_body = True
        if not self._is_done and not self._is_waiting:
            self._begin()

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
        if self._task is not None:
            self._task.cancel()

    def cancel(self) -> None:
        """Answer that the server stops."""
        if not self._is_done:
            self.fail(Stopping())
        if self._task is not None:
            self._task.cancel()

    # What the body waits for

    def _wait_for(self, work: Coroutine[None, None, None]) -> None:
        """Run what has to be done before the body is read."""
        self._is_waiting = True
        self._early: list[bytes] = []  # at most what was parsed together with the head
        self._connection.pause_body()
        self._task = self._connection.loop.create_task(work)

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
            self._begin()
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
            self._begin()
        else:
            self._connection.resume_body()

    # The pipeline

    def _begin(self) -> None:
        exchange, reader = self._exchange, self._reader
        assert reader is not None
        try:
            body = reader.end()
            exchange.received = self._request.received
            exchange.body_read = True
            exchange.mark("read")
            posted = Posted(body, self._request.first_headers, exchange)
            model, options = self._model, self._options
            asking = cast("Asking", self._endpoint.operation.handle)  # as `Dispatcher` has seen
            self._task = self._predictions.answering.submit(
                exchange,
                model,
                lambda: asking.ask(posted, model, options),
                len(body),
                asking.count_unread(posted),
                self,
            )
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)

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
        skipped = ("content-length", "connection")
        headers = {name: value for name, value in response.headers.items() if name not in skipped}
        error.__traceback__ = None  # its frames would hold the body
        self._respond(response.status_code, headers, bytes(response.body))

    def _respond(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        exchange = self._exchange
        exchange.status = status
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if exchange.grant is not None:
            fields = exchange.grant.fields()
            lines += [f"{name}: {value}\r\n" for name, value in fields if name not in headers]
        lines.append(f"content-length: {len(content)}\r\nx-request-id: {exchange.request_id}\r\n")
        timing = exchange.server_timing()
        head = "".join(lines).encode("latin-1")
        if timing:
            head = b"%bserver-timing: %b\r\n" % (head, timing)
        self._end()
        self._connection.write_response(status, head, content)

    def _end(self) -> None:
        self._is_done = True
        if self._reader is not None:
            self._reader.release()
            self._reader = None
        exchange, request = self._exchange, self._request
        exchange.received = request.received
        self._predictions.journal.end(
            exchange, request.method, request.path, self._connection.client(request)
        )
