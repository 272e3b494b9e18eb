"""Who may enter and how much: today the size of bodies and the time they may take to arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from service.core.errors import BodyTimeout, PayloadTooLarge, TooManyBytes, UnsupportedMediaType
from service.http.exchange import exchange_of


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
        out to be too large as soon as it is.

        Args:
            request: A request whose body nobody has read.

        Yields:
            The whole body.

        Raises:
            PayloadTooLarge: It is larger than the limit.
            TooManyBytes: All bodies together are.
            BodyTimeout: It took too long to arrive.
            UnsupportedMediaType: It is compressed.
            ClientDisconnect: The caller left.
        """
        packed = request.headers.get("content-encoding", "identity").strip().lower()
        if packed != "identity":
            raise UnsupportedMediaType("Content-Encoding", ["identity"], repr(packed[:40]))
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_body_bytes:
            raise self._too_large(f"{int(declared[:20]):,}")
        body = bytearray()
        try:
            await self._read(request, body)
            yield bytes(body)
        finally:
            self._pending_bytes -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self._body_timeout_s):
                async for chunk in request.stream():
                    self._pending_bytes += len(chunk)
                    body += chunk
                    if len(body) > self._max_body_bytes:
                        raise self._too_large("more")
                    if self._pending_bytes > self._max_pending_bytes:
                        raise TooManyBytes(self._max_pending_bytes)
        except TimeoutError as error:
            raise BodyTimeout(self._body_timeout_s, len(body)) from error
        exchange = exchange_of(request)
        exchange.received = len(body)
        exchange.body_read = True

    def _too_large(self, got: str) -> PayloadTooLarge:
        return PayloadTooLarge("Body", self._max_body_bytes, "bytes", got)
