"""Reads request bodies: size and time limits, decompression, memory budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from service.codecs import content_types
from service.core.errors import BodyTimeout, PayloadTooLarge
from service.http.messages.content_coding import IDENTITY, Decompressor
from service.http.messages.request_scope import context_of
from service.memory import costs
from service.memory.budget import Budget, ClientShares

JSON_LENGTH = b"inference-header-content-length"
"""The header with the length of the JSON of a body in bytes, if binary tensors follow."""

_LARGE_COST = 65_536
"""Cost in bytes above which a body counts against its client's share; the limit of connections per client
bounds smaller bodies."""

_SMALL = 16_384
"""Size in bytes below which a piece is appended to the previous one: a list of many small pieces would take
many times their size."""


@dataclass(frozen=True, slots=True)
class BodyForm:
    """The form of a body, from the headers of the request.

    Attributes:
        coding: The header Content-Encoding; None if it is absent or `identity`.
        declared: Declared length in bytes; None if it is unknown.
        cost: Returns the memory for a body of a decompressed size, in bytes.
        content_type: Content type that it is decoded as.
    """

    coding: str | None
    declared: int | None
    cost: costs.BodyCost
    content_type: str

    @classmethod
    def of(cls, path: str, headers: Mapping[bytes, bytes], declared: int | None) -> BodyForm:
        """Return the form of a body.

        Args:
            path: Path of the request, or its template. Under `/v2`, and for `:predict`, every body is JSON,
                whatever its Content-Type.
            headers: The first value of each header, by its name in lower case.
            declared: Declared length in bytes; None if it is unknown.
        """
        content_type = content_types.media_type(headers.get(b"content-type", b""))
        if path.startswith("/v2/") or path.endswith(":predict"):
            content_type = costs.JSON
        coding = headers.get(b"content-encoding", IDENTITY.encode()).decode("latin-1")
        cost = costs.BodyCost.of(content_type, coding, json_length(headers.get(JSON_LENGTH)))
        return cls(None if coding == IDENTITY else coding, declared, cost, content_type)


@dataclass(frozen=True)
class BodyLimits:
    """Limits of request bodies: size, time, and memory of all bodies and of those of one client.

    Attributes:
        budget: Memory budget.
        max_bytes: Size of the largest body, decompressed.
        timeout_s: Time from the request head to the last byte of the body, in seconds.
        shares: Memory of the large bodies of each client.
    """

    budget: Budget
    max_bytes: int
    timeout_s: float
    shares: ClientShares = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", ClientShares(self.budget))

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body of an ASGI request; it counts in the budget until the context ends.

        Yields:
            The body, decompressed.

        Raises:
            PayloadTooLarge: The body is larger than the limit.
            TooManyBytes: The budget has no room for it.
            BodyTimeout: It arrived too slowly.
            MalformedRequest: The compressed data is invalid or incomplete.
            UnsupportedMediaType: The Content-Encoding is not supported.
            ClientDisconnect: The client disconnected.
        """
        context = context_of(request)
        headers = dict(reversed(request.scope["headers"]))
        declared = headers.get(b"content-length", b"")
        length = int(declared[:20]) if declared.isdigit() else None
        client = request.client.host if request.client else "-"
        reader = reader_of(self, BodyForm.of(request.scope["path"], headers, length), client)
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
                        context.received += len(piece)
                        reader.push(piece)
                        while reader.has_more:
                            await asyncio.sleep(0)  # let other tasks run between two slices
                            reader.step()
            except TimeoutError as error:
                raise BodyTimeout(self.timeout_s, context.received) from error
            context.body_read = True
            yield reader.end()
        finally:
            reader.release()


class BodyReader:
    """Collects a body from its pieces.

    A body whose declared length exceeds the limit is refused before it is read, any other as soon as it
    exceeds the limit.

    Attributes:
        has_more: Whether compressed bytes are left for `step`.
    """

    __slots__ = ("_acquired", "_client", "_form", "_limits", "_pieces", "_shared", "_size", "has_more")

    def __init__(self, limits: BodyLimits, form: BodyForm, client: str) -> None:
        """Create a reader; `reader_of` chooses the class.

        Args:
            limits: Limits of the body.
            form: Form of the body.
            client: IP address of the client.

        Raises:
            PayloadTooLarge: The declared length exceeds the limit.
        """
        self._limits = limits
        self._form = form
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        self._acquired = 0
        self._client = client
        self._shared = 0  # the part of it that counts against the client's share
        self.has_more = False
        if form.declared is not None and form.declared > limits.max_bytes:
            raise self._too_large(f"{form.declared:,}")

    def push(self, piece: bytes) -> None:
        """Add the next piece of the body.

        Raises:
            PayloadTooLarge, TooManyBytes, MalformedRequest: As `BodyLimits.read`.
        """
        size = self._size = self._size + len(piece)
        limits = self._limits
        budget, cost = limits.budget, self._form.cost(size)
        if size > limits.max_bytes or cost > budget.max_bytes:
            raise self._too_large("more")
        if cost > _LARGE_COST:
            limits.shares.acquire(self._client, self._shared, cost - self._shared)
            self._shared = cost
        budget.acquire(cost - self._acquired)
        self._acquired = cost
        pieces = self._pieces
        if not pieces:
            pieces.append(piece)
            return
        last = pieces[-1]
        if isinstance(last, bytearray) and len(last) < _SMALL:
            last += piece
        elif len(piece) < _SMALL:
            pieces.append(bytearray(piece))
        else:
            pieces.append(piece)

    def step(self) -> None:
        """Decompress one more slice; raises as `push`."""

    def end(self) -> bytes:
        """Return the whole body.

        Raises:
            MalformedRequest: The compressed data is incomplete.
        """
        pieces = self._pieces
        first = pieces[0] if pieces else b""
        body = first if len(pieces) <= 1 and isinstance(first, bytes) else b"".join(pieces)
        self._pieces = []
        return body

    def release(self) -> None:
        """Release the body's memory in the budget."""
        if self._shared:
            self._limits.shares.release(self._client, self._shared)
            self._shared = 0
        self._limits.budget.release(self._acquired)
        self._acquired = 0

    def _too_large(self, got: str) -> PayloadTooLarge:
        limits = self._limits
        most = costs.body_size_limit(self._form.content_type, limits.max_bytes, limits.budget.max_bytes)
        return PayloadTooLarge("Body", most, "bytes", got)


class CompressedBodyReader(BodyReader):
    """Collects and decompresses a body, slice by slice; its decompressed size counts."""

    __slots__ = ("_decompressor", "_received")

    def __init__(self, limits: BodyLimits, form: BodyForm, client: str, coding: str) -> None:
        """Create a reader.

        Args:
            limits: Limits of the body.
            form: Form of the body.
            client: IP address of the client.
            coding: The header Content-Encoding.

        Raises:
            PayloadTooLarge: The declared length exceeds the limit.
            UnsupportedMediaType: The coding is not supported.
        """
        super().__init__(limits, form, client)
        self._received = 0
        self._decompressor = Decompressor(coding)

    def push(self, piece: bytes) -> None:
        """Add the next piece and decompress a first slice; raises as `BodyReader.push`."""
        self._received += len(piece)
        if self._received > self._limits.max_bytes:
            raise self._too_large("more")
        self._decompressor.push(piece)
        self.step()

    def step(self) -> None:
        """Decompress one more slice; raises as `push`."""
        super().push(self._decompressor.step())
        self.has_more = self._decompressor.has_more

    def end(self) -> bytes:
        """Return the whole body; raises MalformedRequest if the compressed data is incomplete."""
        self._decompressor.end()
        return super().end()


def reader_of(limits: BodyLimits, form: BodyForm, client: str) -> BodyReader:
    """Return a reader for a body; arguments and errors are those of the constructors."""
    if form.coding is None:
        return BodyReader(limits, form, client)
    return CompressedBodyReader(limits, form, client, form.coding)


def json_length(text: bytes | None) -> int | None:
    """Return the value of the header `JSON_LENGTH`; None if it is absent or no number."""
    return int(text[:20]) if text is not None and text.isdigit() else None
