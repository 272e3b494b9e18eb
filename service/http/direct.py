"""Predictions whose request came in one piece, answered straight from the connection.

A task, messages between server and app, and parsing a head that came before cost several times what a small
network takes. Only what succeeds is answered here. Whatever is out of the ordinary or goes wrong is left to
the usual way, as if it had not been looked at, so that there is one place where each error is told.
"""

from __future__ import annotations  # of functions that run for every request

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from service.core.errors import MalformedRequest
from service.http import observe
from service.http.answering import INLINE_BYTES, Answering, Ask, Asking, Posted, Question, Reply, time_left
from service.http.exchange import Exchange, is_request_id, new_request_id
from service.http.journal import Journal
from service.http.router import Routes
from service.serving.predictor import Prediction

_LONGEST_HEAD = 1024
"""Bytes of a head that is looked at here; no setting refuses one so small."""

_REMEMBERED = 1024
"""Heads that are remembered: a caller's differ in nothing but the body's length."""

_KEEP = {None, b"keep-alive"}

_OTHER_WAYS = (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade")
"""Headers by which a body comes in another way than as it is and at once."""


class Connection(Protocol):
    """Where a request came from."""

    def address(self) -> str:
        """Return the caller's, or `-`."""

    def answer(self, head: bytes, content: bytes) -> None:
        """Write an answer; the head lacks what every answer has."""

    def go_the_usual_way(self, request: bytes) -> None:
        """Answer a request that could not be answered here."""


@dataclass(frozen=True)
class _Head:
    """What a request's head says.

    Attributes:
        ask: Makes the question.
        options: Of the query.
        route, path: The operation's template, and the path itself.
        model, version: As the path names them.
        headers: As `Posted` has them.
        request_id: The caller's own; empty for none.
        size: Of the body, in bytes.
    """

    ask: Ask
    options: Any
    route: str
    path: str
    model: str
    version: str | None
    headers: Mapping[bytes, bytes]
    request_id: str
    size: int


class Direct:
    """Takes whole requests for predictions, if they are plain and short."""

    def __init__(self, routes: Routes, answering: Answering, journal: Journal) -> None:
        self._routes = routes
        self.answering = answering
        self.journal = journal
        self._understood = lru_cache(_REMEMBERED)(self._understand)

    def take(self, request: bytes, connection: Connection) -> Pending | None:
        """Begin to answer a request, unless it should go the usual way.

        Args:
            request: What came at once, at a request's beginning.
            connection: Told the answer in a later call from the event loop.

        Returns:
            What waits for the answer; None if this is no request to be answered here, and nothing was done.
        """
        end = request.find(b"\r\n\r\n", 0, _LONGEST_HEAD) + 4
        head = self._understood(request[:end]) if end > 3 else None
        if head is None or len(request) != end + head.size:
            return None
        exchange = Exchange(head.request_id or new_request_id(), route=head.route)
        answering = self.answering
        try:
            model = answering.find_by_name(exchange, head.model, head.version)
            exchange.mark("read")
            question = head.ask(Posted(request[end:], head.headers, exchange), model, head.options)
            exchange.mark("decode")
            if not question.is_short():
                return None
            time_left(question, exchange)
            images = answering.prepare(exchange, model, question)
        except Exception:  # whatever it is, the usual way meets it too, and tells it
            return None
        if not answering.gate.admit(head.size):
            return None
        exchange.is_prediction = exchange.body_read = True
        exchange.received = head.size
        self.journal.begin()
        pending = Pending(self, connection, request, head, exchange, question)
        answering.batching.submit(model, images, pending)
        return pending

    def _understand(self, head: bytes) -> _Head | None:
        parsed = _Parsed()
        parser = httptools.HttpRequestParser(parsed)
        try:
            parser.feed_data(head)
            url = httptools.parse_url(parsed.url)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        headers = parsed.headers
        size = headers.get(b"content-length", b"0")
        if (
            parser.get_http_version() != "1.1"
            or headers.get(b"connection") not in _KEEP
            or any(name in headers for name in _OTHER_WAYS)
            or not (size.isdigit() and 0 < int(size[:20]) <= INLINE_BYTES)
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
        return _Head(
            ask=handle.ask,
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

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.setdefault(name.lower(), value)


@dataclass(slots=True)
class Pending:
    """One request that waits for its prediction, as `batching` asks of those who do."""

    _direct: Direct
    _connection: Connection
    _request: bytes
    _head: _Head
    _exchange: Exchange
    _question: Question[Reply]
    _is_gone: bool = False

    def is_gone(self) -> bool:
        """Tell whether nobody waits any more."""
        return self._is_gone

    def leave(self) -> None:
        """Note that the caller left."""
        self._is_gone = True
        self._end()

    def take(self, prediction: Prediction) -> None:
        """Answer."""
        exchange = self._exchange
        try:
            reply = self._direct.answering.encode(exchange, self._question, prediction)
        except Exception as error:  # as in `Direct.take`
            self.fail(error)
            return
        exchange.status = 200
        self._connection.answer(_written(reply, exchange), reply.content)
        self._end()

    def fail(self, error: Exception) -> None:
        """Leave the request to the usual way, where the error comes again and is told."""
        del error
        self._direct.journal.forget()
        self._direct.answering.gate.leave(self._head.size)
        self._connection.go_the_usual_way(self._request)

    def _end(self) -> None:
        self._direct.answering.gate.leave(self._head.size)
        self._direct.journal.end(self._exchange, "POST", self._head.path, self._connection.address())


def _written(reply: Reply, exchange: Exchange) -> bytes:
    lines = [f"{name}: {value}" for name, value in reply.headers.items()]
    lines += [f"content-length: {len(reply.content)}", f"x-request-id: {exchange.request_id}"]
    return b"%b\r\nserver-timing: %b\r\n\r\n" % ("\r\n".join(lines).encode(), observe.timing(exchange))
