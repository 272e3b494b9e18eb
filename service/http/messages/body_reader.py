"""Request bodies: size limits, decompression, and their share of the memory budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from service.core.errors import BodyTimeout, PayloadTooLarge
from service.http.messages.content_coding import IDENTITY, Decompressor
from service.http.messages.request_scope import context_of
from service.memory import costs
from service.memory.budget import Budget, ClientShares

JSON_LENGTH = b"inference-header-content-length"
"""Header that says how many bytes of a body are JSON, where binary tensors follow."""

_LARGE_COST = 65_536
"""Cost in bytes above which a body counts for its client: smaller ones are bounded by the number of
connections that a client may have."""

_SMALL = 16_384
"""Bytes below which a piece is appended to the one before: a list of very many pieces would take many times
their size."""


@dataclass(frozen=True, slots=True)
class BodyForm:
    """What a request's head says of its body.

    Attributes:
        coding: The header Content-Encoding; None if it did not come, or says `identity`.
        declared: Its declared length in bytes; None if it is not known.
        cost: Returns how many bytes of memory it takes, of its size in bytes, decompressed.
        content_type: What it is read as.
    """

    coding: str | None
    declared: int | None
    cost: costs.BodyCost
    content_type: str

    @classmethod
    def of(cls, path: str, headers: Mapping[bytes, bytes], declared: int | None) -> BodyForm:
        """Return the form of a body.

        Args:
            path: Of the endpoint, or of the request. Under `/v2`, and at `:predict`, a body is JSON whatever
                the header Content-Type says.
            headers: The first of each name in lower case.
            declared: As the attribute.
        """
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        if path.startswith("/v2/") or path.endswith(":predict"):
            content_type = costs.JSON
        coding = headers.get(b"content-encoding", IDENTITY.encode()).decode("latin-1")
        cost = costs.BodyCost.of(content_type, coding, json_length(headers.get(JSON_LENGTH)))
        return cls(None if coding == IDENTITY else coding, declared, cost, content_type)


@dataclass(frozen=True)
class BodyLimits:
    """How large a body may be, and how long it may take to arrive.

    Attributes:
        budget: Where its cost is counted.
        max_bytes: Size of one body, decompressed.
        timeout_s: Longest time from its head to its last byte, in seconds.
        shares: How much of the budget each client's large bodies hold.
    """

    budget: Budget
    max_bytes: int
    timeout_s: float
    shares: ClientShares = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", ClientShares(self.budget))

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
                            await asyncio.sleep(0)  # others run between two slices
                            reader.step()
            except TimeoutError as error:
                raise BodyTimeout(self.timeout_s, context.received) from error
            context.body_read = True
            yield reader.end()
        finally:
            reader.release()


class BodyReader:
    """Collects one body from its pieces.

    A body that declares itself too large is refused before a byte of it is read, one that turns out to be too
    large as soon as it is.

    Attributes:
        has_more: Whether compressed bytes are left for `step`.
    """

    __slots__ = ("_acquired", "_client", "_form", "_limits", "_pieces", "_shared", "_size", "has_more")

    def __init__(self, limits: BodyLimits, form: BodyForm, client: str) -> None:
        """Begin to read; `reader_of` chooses the class.

        Args:
            limits: Its limits.
            form: What the head says of it.
            client: The client's address.

        Raises:
            PayloadTooLarge: It declares more than the limit.
        """
        self._limits = limits
        self._form = form
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        self._acquired = 0
        self._client = client
        self._shared = 0  # of what is acquired, what counts for the client
        self.has_more = False
        if form.declared is not None and form.declared > limits.max_bytes:
            raise self._too_large(f"{form.declared:,}")

    def push(self, piece: bytes) -> None:
        """Take the next bytes as they arrived.

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
            MalformedRequest: It is compressed, and not whole.
        """
        pieces = self._pieces
        first = pieces[0] if pieces else b""
        body = first if len(pieces) <= 1 and isinstance(first, bytes) else b"".join(pieces)
        self._pieces = []
        return body

    def release(self) -> None:
        """Count the body no longer."""
        if self._shared:
            self._limits.shares.release(self._client, self._shared)
            self._shared = 0
        self._limits.budget.release(self._acquired)
        self._acquired = 0

    def _too_large(self, got: str) -> PayloadTooLarge:
        limits = self._limits
        most = costs.most_body_bytes(self._form.content_type, limits.max_bytes, limits.budget.max_bytes)
        return PayloadTooLarge("Body", most, "bytes", got)


class CompressedBodyReader(BodyReader):
    """Decompresses a body slice by slice; its decompressed size counts."""

    __slots__ = ("_received", "_unpacker")

    def __init__(self, limits: BodyLimits, form: BodyForm, client: str, coding: str) -> None:
        """Begin to read.

        Args:
            limits: Its limits.
            form: What the head says of it.
            client: The client's address.
            coding: Its Content-Encoding.

        Raises:
            PayloadTooLarge: It declares more than the limit.
            UnsupportedMediaType: The coding is not known.
        """
        super().__init__(limits, form, client)
        self._received = 0
        self._unpacker = Decompressor(coding)

    def push(self, piece: bytes) -> None:
        """Take the next bytes as they arrived, and decompress a first slice; raises as `BodyReader.push`."""
        self._received += len(piece)
        if self._received > self._limits.max_bytes:
            raise self._too_large("more")
        self._unpacker.push(piece)
        self.step()

    def step(self) -> None:
        """Decompress one more slice; raises as `push`."""
        super().push(self._unpacker.step())
        self.has_more = self._unpacker.has_more

    def end(self) -> bytes:
        """Return the whole body; raises MalformedRequest if the compressed one is not whole."""
        self._unpacker.end()
        return super().end()


def reader_of(limits: BodyLimits, form: BodyForm, client: str) -> BodyReader:
    """Return a reader of one body; takes and raises what the constructors of the readers do."""
    if form.coding is None:
        return BodyReader(limits, form, client)
    return CompressedBodyReader(limits, form, client, form.coding)


def json_length(text: bytes | None) -> int | None:
    """Return the number that the header `JSON_LENGTH` holds; None if it holds none."""
    return int(text[:20]) if text is not None and text.isdigit() else None
