"""Input of one connection: received bytes, parsed in slices or held for later, and queued requests."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from service.core.errors import TooManyBytes
from service.http.messages import problems
from service.http.server.parser import Events, RequestParser
from service.http.server.request import Refused, Request

if TYPE_CHECKING:
    from service.http.server.connection.closing import Closing
    from service.http.server.server_context import ServerContext

SLICE_BYTES = 4096
"""Bytes parsed at once while the head of another request may be among them. Limits how many pipelined
requests are parsed before the first of them is answered."""

_CHUNKED_SLICES = 4
_MAX_CHUNKS = 256
"""Slices of a chunked body that are parsed before other connections run, and chunks after which no further
slice is: a slice of one-byte chunks takes as long to parse as megabytes of a plain body."""

_QUEUED_COST = 2048
"""Bytes of memory that a queued request counts as."""


class Consumer(Events, Protocol):
    """Receives the parsed requests, and decides when more is parsed.

    Attributes:
        request: The request being answered, or whose body is skipped; None between requests.
    """

    request: Request | None

    def may_parse(self) -> bool:
        """Return whether more input may be parsed."""

    def refuse(self, refusal: Refused) -> None:
        """Handle invalid input; nothing is parsed after it."""

    def advance(self) -> None:
        """Continue after a pause."""


class Input:
    """Parses or holds the received bytes of one connection, and queues its pipelined requests.

    Held bytes and queued requests count in the memory budget. Reading is paused while bytes are held.

    Attributes:
        parser: Parses the bytes.
        queue: Parsed requests that wait for their turn, in order. A refusal is the last.
        held: Received bytes that may not be parsed yet, in order.
        is_broken: Whether nothing more is parsed, because of invalid input or because the connection closes.
        is_at_eof: Whether the client has closed its side of the connection.
        is_reading: Whether the transport reads.
        is_yielding: Whether parsing is suspended until other connections have run.
    """

    def __init__(
        self,
        consumer: Consumer,
        server_context: ServerContext,
        transport: asyncio.Transport,
        closing: Closing,
    ) -> None:
        self.parser = RequestParser(consumer, server_context.limits.max_head_bytes, server_context.heads)
        self.queue: deque[Request | Refused] = deque()
        self.held: list[bytes] = []
        self.is_broken = False
        self.is_at_eof = False
        self.is_reading = True
        self.is_yielding = False
        self._consumer = consumer
        self._budget = server_context.budget
        self._transport = transport
        self._closing = closing
        self._held_bytes = 0

    def parse(self, data: bytes) -> None:
        """Parse bytes in slices; hold the rest once no more may be parsed."""
        consumer, parser = self._consumer, self.parser
        position, size, slices = 0, len(data), 0
        parser.body_pieces = 0
        while position < size:
            if not consumer.may_parse():
                self.hold(data[position:])
                return
            step = SLICE_BYTES
            request = consumer.request
            if request is not None and not request.is_complete:
                if request.head.content_length is not None:
                    step = max(step, request.head.content_length - request.received)
                elif slices == _CHUNKED_SLICES or parser.body_pieces > _MAX_CHUNKS:
                    self.hold(data[position:])
                    self._yield()
                    return
                slices += 1
            piece = data if not position and step >= size else data[position : position + step]
            position += len(piece)
            try:
                rest = parser.feed(piece)
            except Refused as refusal:
                consumer.refuse(refusal)
                return
            position -= len(rest)

    def hold(self, data: bytes) -> None:
        """Hold bytes, and pause reading; refuse them if they exceed the memory budget."""
        if self.is_broken or self._closing.is_over:
            return
        if not self._budget.try_acquire(len(data)):
            error = TooManyBytes(self._budget.max_bytes)
            self._consumer.refuse(Refused(problems.lookup(error), str(error)))
            return
        self.held.append(data)
        self._held_bytes += len(data)
        self.pause_reading()

    def parse_held(self) -> None:
        """Parse the held bytes."""
        self.parse(self._take_held())

    def enqueue(self, request: Request) -> None:
        """Queue a request."""
        self._budget.add(_QUEUED_COST)
        self.queue.append(request)

    def dequeue(self) -> Request | Refused:
        """Return the first of the queue, and remove it."""
        first = self.queue.popleft()
        if isinstance(first, Request):
            self._budget.release(_QUEUED_COST)
        return first

    def end_with(self, refusal: Refused) -> None:
        """Parse nothing more; queue a refusal, in place of the request in the queue whose body it is."""
        if refusal.request is not None:
            self.queue.remove(refusal.request)
            self._budget.release(_QUEUED_COST)
        self.is_broken = True
        self.queue.append(refusal)

    def drop(self) -> None:
        """Discard held bytes and queued requests."""
        self._take_held()
        while self.queue:
            self.dequeue()

    def pause_reading(self) -> None:
        """Stop reading from the transport."""
        if self.is_reading and not self._transport.is_closing():
            self.is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the transport again."""
        if not self.is_reading and not self._transport.is_closing():
            self.is_reading = True
            self._transport.resume_reading()

    def _yield(self) -> None:
        """Suspend parsing until other connections have run."""

        def resume() -> None:
            self.is_yielding = False
            self._consumer.advance()

        self.is_yielding = True
        asyncio.get_running_loop().call_soon(resume)

    def _take_held(self) -> bytes:
        data = b"".join(self.held)
        self._budget.release(self._held_bytes)
        self.held, self._held_bytes = [], 0
        return data
