"""Request bodies: size limits, decompression, and their share of the memory budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from service.core.errors import BodyTimeout, PayloadTooLarge
from service.http.exchange import exchange_of, header
from service.http.packing import IDENTITY, Unpacker
from service.inference import costs
from service.inference.budget import Budget

JSON_LENGTH = b"inference-header-content-length"
"""Header that says how many bytes of a body are JSON, where binary tensors follow."""

_SMALL = 16_384
"""Bytes below which a piece is appended to the one before: a list of very many pieces would take many times
their size."""


def read_as(path: str, content_type: str) -> str:
    """Return the content type that the endpoint of a path reads a body as, for its cost.

    Everything under `/v2`, and `:predict`, is JSON whatever the header Content-Type says.
    """
    return costs.JSON if path.startswith("/v2/") or path.endswith(":predict") else content_type


@dataclass(frozen=True)
class BodyLimits:
    """How large a body may be, and how long it may take to arrive.

    Attributes:
        budget: Where its cost is counted.
        max_bytes: Size of one body, decompressed.
        timeout_s: Longest time from its head to its last byte, in seconds.
    """

    budget: Budget
    max_bytes: int
    timeout_s: float

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body of a request that came through ASGI; it counts in the budget until the context ends.

        Yields:
            The body, decompressed.

        Raises:
            PayloadTooLarge: It is larger than the limit.
            TooManyBytes: The budget has no room for it.
            BodyTimeout: It took too long to arrive.
            MalformedRequest: It is not compressed as it says, or not whole.
            UnsupportedMediaType: Its Content-Encoding is not known.
            ClientDisconnect: The client left.
        """
        exchange = exchange_of(request)
        declared = header(request, b"content-length") or ""
        reader = BodyReader(
            self,
            header(request, b"content-encoding"),
            read_as(request.scope["path"], header(request, b"content-type") or ""),
            int(declared[:20]) if declared.isascii() and declared.isdecimal() else None,
            json_length(header(request, JSON_LENGTH)),
        )
        try:
            try:
                async with asyncio.timeout(self.timeout_s):
                    more = True
                    while more:
                        message = await request.receive()
                        if message["type"] == "http.disconnect":
                            raise ClientDisconnect
                        piece = message.get("body", b"")
                        more = message.get("more_body", False)
                        exchange.received += len(piece)
                        reader.push(piece)
                        while reader.has_more:
                            await asyncio.sleep(0)  # others run between two slices
                            reader.step()
            except TimeoutError as error:
                raise BodyTimeout(self.timeout_s, exchange.received) from error
            exchange.body_read = True
            yield reader.end()
        finally:
            reader.release()


class BodyReader:
    """Collects one body from its pieces.

    A body that declares itself too large is refused before a byte of it is read, one that turns out to be too
    large as soon as it is. A compressed one is decompressed slice by slice; its decompressed size counts.
    """

    __slots__ = (
        "_acquired",
        "_coding",
        "_content_type",
        "_json_bytes",
        "_limits",
        "_pieces",
        "_received",
        "_size",
        "_unpacker",
    )

    def __init__(
        self,
        limits: BodyLimits,
        coding: str | None,
        content_type: str,
        declared: int | None,
        json_bytes: int | None = None,
    ) -> None:
        """Begin to read.

        Args:
            limits: Its limits.
            coding: The header Content-Encoding; None if it did not come.
            content_type: What it is read as (`read_as`), which decides what a byte costs.
            declared: Its declared length in bytes; None if it is not known.
            json_bytes: How many of its bytes are JSON, if binary contents follow; None if all are.

        Raises:
            PayloadTooLarge: It declares more than the limit.
            UnsupportedMediaType: Its coding is not known.
        """
        self._limits = limits
        self._content_type = content_type
        self._coding = coding or ""
        self._json_bytes = json_bytes
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        self._received = 0
        self._acquired = 0
        self._unpacker = None if coding is None or coding == IDENTITY else Unpacker(coding)
        if declared is not None and declared > limits.max_bytes:
            raise self._too_large(f"{declared:,}")

    @property
    def is_packed(self) -> bool:
        """Whether the body is compressed."""
        return self._unpacker is not None

    @property
    def has_more(self) -> bool:
        """Whether compressed bytes are left for `step`."""
        return self._unpacker is not None and self._unpacker.has_more

    def push(self, piece: bytes) -> None:
        """Take the next bytes as they arrived; of compressed ones, decompress a first slice.

        Raises:
            PayloadTooLarge, TooManyBytes, MalformedRequest: As `BodyLimits.read`.
        """
        if self._unpacker is None:
            self._take(piece)
            return
        self._received += len(piece)
        if self._received > self._limits.max_bytes:
            raise self._too_large("more")
        self._unpacker.push(piece)
        self.step()

    def step(self) -> None:
        """Decompress one more slice; raises as `push`."""
        assert self._unpacker is not None
        self._take(self._unpacker.step())

    def end(self) -> bytes:
        """Return the whole body.

        Raises:
            MalformedRequest: It is compressed, and not whole.
        """
        if self._unpacker is not None:
            self._unpacker.end()
        pieces = self._pieces
        first = pieces[0] if pieces else b""
        body = first if len(pieces) <= 1 and isinstance(first, bytes) else b"".join(pieces)
        self._pieces = []
        return body

    def release(self) -> None:
        """Count the body no longer."""
        self._limits.budget.release(self._acquired)
        self._acquired = 0

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limits.max_bytes:
            raise self._too_large("more")
        budget = self._limits.budget
        cost = costs.body_cost(self._content_type, self._coding, self._size, self._json_bytes)
        if cost > budget.max_bytes:
            raise self._too_large("more")
        budget.acquire(cost - self._acquired)
        self._acquired = cost
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytearray) and len(last) < _SMALL:
            last += piece
        elif last is not None and len(piece) < _SMALL:
            self._pieces.append(bytearray(piece))
        else:
            self._pieces.append(piece)

    def _too_large(self, got: str) -> PayloadTooLarge:
        limits = self._limits
        most = costs.most_body_bytes(self._content_type, limits.max_bytes, limits.budget.max_bytes)
        return PayloadTooLarge("Body", most, "bytes", got)


def json_length(text: str | None) -> int | None:
    """Return the number that the header `JSON_LENGTH` holds; None if it holds none."""
    return int(text[:20]) if text is not None and text.isascii() and text.isdecimal() else None
