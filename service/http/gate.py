"""Who may enter and how much: today the size of a body and the time it may take to arrive."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from service.core.errors import BodyTimeout, PayloadTooLarge, UnsupportedMediaType
from service.http.observe import exchange_of


@dataclass(frozen=True)
class Gate:
    """Lets bodies in.

    Attributes:
        max_body_bytes: Largest body.
        body_timeout_s: Longest time for it to arrive, in seconds.
    """

    max_body_bytes: int
    body_timeout_s: float

    async def read_body(self, request: Request) -> bytes:
        """Read a body, counting its bytes while they arrive.

        A body that declares itself too large is refused before a byte of it is read, one that turns
        out to be too large as soon as it is; at no time is more than the limit kept.

        Args:
            request: A request whose body nobody has read.

        Returns:
            The whole body.

        Raises:
            PayloadTooLarge: It is larger than the limit.
            BodyTimeout: It took too long to arrive.
            UnsupportedMediaType: It is compressed.
            ClientDisconnect: The caller left.
        """
        packed = request.headers.get("content-encoding", "identity").strip().lower()
        if packed != "identity":
            raise UnsupportedMediaType("Content-Encoding", ["identity"], repr(packed[:40]))
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self.max_body_bytes:
            raise self._too_large(f"{int(declared[:20]):,}")
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self.max_body_bytes:
                        raise self._too_large("more")
        except TimeoutError as error:
            raise BodyTimeout(self.body_timeout_s, len(body)) from error
        exchange = exchange_of(request)
        exchange.received = len(body)
        exchange.body_read = True
        return bytes(body)

    def _too_large(self, got: str) -> PayloadTooLarge:
        return PayloadTooLarge("Body", self.max_body_bytes, "bytes", got)
