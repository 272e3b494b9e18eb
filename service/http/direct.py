"""Predictions answered straight from the connection, past the framework.

A task, messages between server and app, and parsing a head that came before cost several times what a small
network takes. Whatever is out of the ordinary is left to the usual way, as if it had not been looked at.
"""

from __future__ import annotations  # of functions that run for every request

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from service.core.errors import MalformedRequest, ServiceError
from service.http import problems
from service.http.answering import INLINE_BYTES, Answering, Asking, Posted, Question, Reply, time_left
from service.http.exchange import Exchange, is_request_id, new_request_id
from service.http.journal import Journal
from service.http.router import Routes
from service.serving.predictor import Prediction

log = logging.getLogger(__name__)

_LONGEST_HEAD = 1024
"""Bytes of a head that is looked at here; no setting refuses one so small."""

_REMEMBERED = 1024
"""Heads that are remembered: a caller's differ in nothing but the body's length."""

_MOST_DIGITS = 18
"""Of a length; what has more is no number that everybody reads alike."""

_OTHER_WAYS = (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade")
"""Headers by which a body comes in another way than as it is and at once."""


class Connection(Protocol):
    """Where a request came from."""

    def address(self) -> str:
        """Return the caller's, or `-`."""

    def answer(self, status: int, head: bytes, content: bytes) -> None:
        """Write an answer; the head lacks its first line and what every answer has."""

    def go_the_usual_way(self, request: bytes) -> None:
        """Answer a request that could not be answered here."""


@dataclass(frozen=True)
class Head:
    """What a request's head says.

    Attributes:
        raw: As it came.
        asking: Handles what is asked.
        options: Of the query.
        route, path: The operation's template, and the path itself.
        model, version: As the path names them.
        headers: As `Posted` has them.
        request_id: The caller's own; empty for none.
        size: Of the body, in bytes.
    """

    raw: bytes
    asking: Asking
    options: Any
    route: str
    path: str
    model: str
    version: str | None
    headers: Mapping[bytes, bytes]
    request_id: str
    size: int


class Direct:
    """Understands requests for predictions, if they are plain, and begins to answer them.

    Attributes:
        answering: The way of their predictions.
        journal: Where they are written down.
    """

    def __init__(self, routes: Routes, answering: Answering, journal: Journal) -> None:
        self._routes = routes
        self.answering = answering
        self.journal = journal
        self._understood = lru_cache(_REMEMBERED)(self._understand)

    def read_head(self, data: bytes) -> Head | None:
        """Return what the head says of a request to be answered here; None for others, and for half a head.

        Args:
            data: What came, from a request's beginning.
        """
        end = data.find(b"\r\n\r\n", 0, _LONGEST_HEAD) + 4
        return self._understood(data[:end]) if end > 3 else None

    def begin(self, head: Head, body: bytes, started: float, connection: Connection) -> Pending | None:
        """Begin to answer a request.

        Args:
            head: Its own.
            body: All of it.
            started: When its head came, by `time.perf_counter`.
            connection: Told the answer in a later call from the event loop.

        Returns:
            What waits for the answer; None if it has to go the usual way, and nothing was done.
        """
        answering = self.answering
        if not answering.gate.admit(head.size):
            return None
        self.journal.begin()
        exchange = Exchange(head.request_id or new_request_id(), started, head.route)
        exchange.received = head.size
        pending = Pending(self, connection, head, body, exchange)
        try:
            pending.begin()
        except Exception as error:  # whatever it is: a caller waits, and `fail` tells or logs it
            asyncio.get_running_loop().call_soon(pending.fail, error)
        return pending

    def note_left(self, head: Head, received: int, started: float, connection: Connection) -> None:
        """Write down a caller who left before the body was here; so many bytes of it were."""
        self.journal.begin()
        exchange = Exchange(head.request_id or new_request_id(), started, head.route, received=received)
        self.journal.end(exchange, "POST", head.path, connection.address())

    def _understand(self, head: bytes) -> Head | None:
        parsed = _Parsed()
        parser = httptools.HttpRequestParser(parsed)
        try:
            parser.feed_data(head)
            url = httptools.parse_url(parsed.url)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        headers = parsed.headers
        size = headers.get(b"content-length", b"")
        if (
            not parsed.is_plain
            or parser.get_http_version() != "1.1"
            or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive"
            or not parser.should_keep_alive()
            or any(name in headers for name in _OTHER_WAYS)
            or not (size.isdigit() and len(size) <= _MOST_DIGITS and int(size))
            or not url.path
        ):
            return None
        path = unquote(url.path.decode("ascii"))
        found = self._routes.find(parser.get_method().decode("ascii"), path)
        if found is None:
            return None
        endpoint, parameters = found
        handle = endpoint.operation.handle
        if not isinstance(handle, Asking):
            return None
        try:
            options = endpoint.options(url.query or b"")
        except MalformedRequest:
            return None
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        return Head(
            raw=head,
            asking=handle,
            options=options,
            route=endpoint.path,
            path=path,
            model=parameters["model"],
            version=parameters.get("version"),
            headers=headers,
            request_id=given if is_request_id(given) else "",
            size=int(size),
        )


class _Parsed:
    """What the parser finds in a head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.is_plain = True  # no header came twice

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.is_plain &= name not in self.headers
        self.headers[name] = value


@dataclass(slots=True)
class Pending:
    """One request that waits for its answer, as `batching` asks of those who wait."""

    _direct: Direct
    _connection: Connection
    _head: Head
    _body: bytes
    _exchange: Exchange
    _question: Question[Reply] | None = None
    _task: asyncio.Task[None] | None = None
    _is_gone: bool = False

    def begin(self) -> None:
        """Ask the model, now or as long work.

        Raises:
            ServiceError: It cannot be asked so.
        """
        answering, head, exchange = self._direct.answering, self._head, self._exchange
        model = answering.find_by_name(exchange, head.model, head.version)
        exchange.is_prediction = True
        exchange.mark("read")
        posted = Posted(self._body, head.headers, exchange)
        if head.size > INLINE_BYTES:
            unread = head.asking.count_unread(posted)
            self._await(
                lambda: answering.respond(
                    exchange, model, lambda: head.asking.ask(posted, model, head.options), head.size, unread
                )
            )
            return
        question = head.asking.ask(posted, model, head.options)
        exchange.mark("decode")
        if question.is_short():
            time_left(question, exchange)
            self._question = question
            answering.batching.submit(model, answering.prepare(exchange, model, question), self)
        else:
            self._await(lambda: answering.respond(exchange, model, lambda: question, head.size, 0))

    def is_gone(self) -> bool:
        """Tell whether nobody waits any more."""
        return self._is_gone

    def leave(self) -> None:
        """Note that the caller left."""
        self._is_gone = True
        if self._task is not None:
            self._task.cancel()
        self._end()

    def take(self, prediction: Prediction) -> None:
        """Answer."""
        assert self._question is not None
        try:
            reply = self._direct.answering.encode(self._exchange, self._question, prediction)
        except Exception as error:  # whatever it is: a caller waits, and `fail` tells or logs it
            self.fail(error)
        else:
            self._answer(200, reply.headers, reply.content)

    def fail(self, error: Exception) -> None:
        """Tell an error; one that nobody foresaw comes again on the usual way, and is told there."""
        if self._is_gone:
            return
        exchange = self._exchange
        if isinstance(error, ServiceError):
            response = problems.answer(error, self._head.path, exchange.request_id)
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            self._answer(response.status_code, headers, bytes(response.body))
            return
        log.warning("short way failed", exc_info=error, extra={"fields": {"request_id": exchange.request_id}})
        self._direct.journal.forget()
        self._direct.answering.gate.leave(self._head.size)
        self._connection.go_the_usual_way(self._head.raw + self._body)

    def _await(self, work: Callable[[], Awaitable[Reply]]) -> None:
        async def wait() -> None:
            try:
                reply = await work()
            except Exception as error:  # whatever it is: a caller waits, and `fail` tells or logs it
                self.fail(error)
            else:
                self._answer(200, reply.headers, reply.content)

        self._task = asyncio.get_running_loop().create_task(wait())

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        exchange = self._exchange
        exchange.status = status
        lines = [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(content)}", f"x-request-id: {exchange.request_id}"]
        timing = exchange.server_timing()
        head = b"%b\r\nserver-timing: %b\r\n\r\n" % ("\r\n".join(lines).encode("latin-1"), timing)
        self._end()
        self._connection.answer(status, head, content)

    def _end(self) -> None:
        self._direct.answering.gate.leave(self._head.size)
        self._direct.journal.end(self._exchange, "POST", self._head.path, self._connection.address())
