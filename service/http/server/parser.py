"""Parses requests with httptools (llhttp), and limits the size of heads and chunk framing."""

from __future__ import annotations

from time import perf_counter
from typing import Protocol

import httptools

from service.http.messages import problems
from service.http.server.request import HeadCache, Headers, Refused, Request, head_bytes


class Events(Protocol):
    """Receives the parsed requests of a connection, in order."""

    def on_request(self, request: Request) -> None:
        """Receive a request whose head is complete."""

    def on_body(self, request: Request, piece: bytes) -> None:
        """Receive the next bytes of its body."""

    def on_complete(self, request: Request) -> None:
        """Receive the end of its body."""


class RequestParser:
    """Parses the requests of one connection.

    Attributes:
        request: The last request whose head is complete; None before the first, and within a head.
        body_pieces: Pieces of bodies that were parsed since it was set to 0.
        head_began: When the first byte of an incomplete head was parsed, by `time.perf_counter`; 0 for none.
    """

    def __init__(self, events: Events, max_head_bytes: int, heads: HeadCache) -> None:
        """Create a parser.

        Args:
            events: Receives the requests.
            max_head_bytes: Limit of request line and headers. Chunk headers and trailers may have this many
                bytes more than the body.
            heads: Validates and caches heads.
        """
        self.request: Request | None = None
        self.head_began = 0.0
        self.body_pieces = 0
        self._events = events
        self._max_head_bytes = max_head_bytes
        self._heads = heads
        self._is_priming = False  # it parses a head of ours, not input of the client
        self._target: list[bytes] = []
        self._headers: Headers = []  # and trailers, which are ignored
        self._refused: Refused | None = None
        self._framing = 0  # bytes since the last message or head was complete, without the body
        self.on_url = self._target.append  # called by httptools with parts of the request target
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> bytes:
        """Parse bytes.

        Returns:
            The bytes that are left to parse: those behind a head that offers another protocol.

        Raises:
            Refused: They are not a valid request. Nothing can be parsed after them.
        """
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._ignore_upgrade()
            return data[offer.args[0] :]
        except httptools.HttpParserCallbackError as error:
            if self._refused is None:
                raise  # a bug, not invalid input
            raise self._refused from error
        except httptools.HttpParserError as error:
            raise _refused(error) from error
        if self._framing > self._max_head_bytes:
            self._check_framing()
        return b""

    def _check_framing(self) -> None:
        limit, request = self._max_head_bytes, self.request
        if request is None or request.is_complete:
            raise _head_too_large(limit)
        if self._framing > limit + request.received:
            expected = f"Chunk headers and trailers should be at most {limit:,} bytes more than the body"
            got = f"{self._framing:,} bytes for {request.received:,}"
            raise Refused(problems.TOO_MANY_PIECES, f"{expected}; got {got}.")

    def _ignore_upgrade(self) -> None:
        """Ignore the offer of another protocol, as RFC 9110, section 7.8, allows.

        llhttp stops parsing HTTP behind a head with `Upgrade`. The body is parsed by a new parser, which
        first parses a head with the same framing and no offer.
        """
        request = self.request
        assert request is not None
        self._framing = 0
        self._parser = httptools.HttpRequestParser(self)
        framing = b""
        if request.head.content_length is None:
            framing = b"transfer-encoding: chunked\r\n"
        elif request.head.content_length:
            framing = b"content-length: %d\r\n" % request.head.content_length
        self._is_priming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: -\r\n" + framing + b"\r\n")
        self._is_priming = False

    # Called by httptools

    def on_message_begin(self) -> None:
        """Start a request head."""
        self._target.clear()
        self._headers.clear()
        if not self._is_priming:
            self.request = None
            self.head_began = perf_counter()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; trailers are ignored."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Validate the request head, and emit the request (httptools callback)."""
        if self._is_priming:
            return
        parser, limit, target = self._parser, self._max_head_bytes, b"".join(self._target)
        try:
            if self._framing > limit and head_bytes(target, self._headers) > limit:
                raise _head_too_large(limit)
            head = self._heads.get(
                parser.get_method(),
                target,
                parser.get_http_version(),
                parser.should_keep_alive(),
                self._headers,
            )
        except Refused as refused:
            self._refused = refused
            raise  # stops the parser
        request = self.request = Request(head, self.head_began)
        self._framing = 0
        self.head_began = 0.0
        self.body_pieces = 0
        self._events.on_request(request)

    def on_body(self, piece: bytes) -> None:
        """Pass on a piece of the body."""
        request = self.request
        assert request is not None
        self._framing -= len(piece)
        self.body_pieces += 1
        request.received += len(piece)
        self._events.on_body(request, piece)

    def on_message_complete(self) -> None:
        """Pass on the end of a request; called also behind a head with `Upgrade`, which is not the end."""
        request = self.request
        if request is not None and not self._parser.should_upgrade():
            self._framing = 0
            request.is_complete = True
            self._events.on_complete(request)


def _head_too_large(limit: int) -> Refused:
    detail = f"Request line and headers should be at most {limit:,} bytes; got more."
    return Refused(problems.HEAD_TOO_LARGE, detail)


def _refused(error: httptools.HttpParserError) -> Refused:
    """Return the refusal for an error of llhttp, which shows versions and codings only in its message."""
    message = str(error)
    if "HTTP version" in message:
        return Refused(problems.BAD_VERSION, "HTTP version should be 1.0 or 1.1; got another.")
    if "`Transfer-Encoding`" in message:
        return Refused(problems.UNKNOWN_CODING, "Transfer-Encoding should be chunked; got another.")
    return Refused(problems.BROKEN_HTTP, "Bytes should be an HTTP/1.1 request; got others.")
