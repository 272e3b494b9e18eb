"""Who may enter and how much: today the size of bodies and the time they may take to arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from service.core.errors import BodyTimeout, PayloadTooLarge, TooManyBytes
from service.http.exchange import exchange_of
from service.http.packing import IDENTITY, Unpacker


class Gate:
    """Lets bodies in, one by one and all together within bounds."""

    def __init__(self, max_body_bytes: int, max_pending_bytes: int, body_timeout_s: float) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_pending_bytes = max_pending_bytes
        self._body_timeout_s = body_timeout_s
        self._pending_bytes = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Read a body, counting its bytes while they arrive; they count until the context is left.

        A body that declares itself too large is refused before a byte of it is read, one that turns
        out to be too large as soon as it is. A compressed one is unpacked while it arrives; what it holds is
        what counts.

        Args:
            request: A request whose body nobody has read.

        Yields:
            The whole body.

        Raises:
            PayloadTooLarge: It is larger than the limit.
            TooManyBytes: All bodies together are.
            BodyTimeout: It took too long to arrive.
            MalformedRequest: It is not compressed as it says, or not whole.
            UnsupportedMediaType: It is compressed in a way that nobody here can unpack.
            ClientDisconnect: The caller left.
        """
        unpacker = Unpacker(request.headers.get("content-encoding", IDENTITY))
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_body_bytes:
            raise self._too_large(f"{int(declared[:20]):,}")
        body = bytearray()
        try:
            await self._read(request, unpacker, body)
            yield bytes(body)
        finally:
            self._pending_bytes -= len(body)

    async def _read(self, request: Request, unpacker: Unpacker, body: bytearray) -> None:
        exchange = exchange_of(request)
        try:
            async with asyncio.timeout(self._body_timeout_s):
                async for chunk in request.stream():
                    exchange.received += len(chunk)
                    for count, piece in enumerate(unpacker.unpack(chunk)):
                        if count:
                            await asyncio.sleep(0)  # a few bytes may hold very many
                        self._take(piece, body)
                    if exchange.received > self._max_body_bytes:
                        raise self._too_large("more")
        except TimeoutError as error:
            raise BodyTimeout(self._body_timeout_s, len(body)) from error
        exchange.body_read = True
        unpacker.end()

    def _take(self, piece: bytes, body: bytearray) -> None:
        self._pending_bytes += len(piece)
        body += piece
        if len(body) > self._max_body_bytes:
            raise self._too_large("more")
        if self._pending_bytes > self._max_pending_bytes:
            raise TooManyBytes(self._max_pending_bytes)

    def _too_large(self, got: str) -> PayloadTooLarge:
        return PayloadTooLarge("Body", self._max_body_bytes, "bytes", got)
