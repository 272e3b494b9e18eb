"""Who may enter and how much: today the size of bodies and the time they may take to arrive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from service.core.errors import BodyTimeout, PayloadTooLarge, TooManyBytes
from service.http.exchange import ARRIVED, Exchange, exchange_of
from service.http.packing import IDENTITY, Unpacker


class Gate:
    """Lets bodies in, one by one and all together within bounds."""

    def __init__(self, max_body_bytes: int, max_pending_bytes: int, body_timeout_s: float) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_pending_bytes = max_pending_bytes
        self._body_timeout_s = body_timeout_s
        self._pending_bytes = 0
        self._messages = asyncio.Semaphore(max(1, max_pending_bytes // max_body_bytes))

    def body(self, request: Request) -> "_Passage":
        """Read a body, counting its bytes while they arrive; they count until the context is left.

        A body that declares itself too large is refused before a byte of it is read, one that turns
        out to be too large as soon as it is. A compressed one is unpacked while it arrives; what it holds is
        what counts.

        Args:
            request: A request whose body nobody has read.

        Returns:
            A context that gives the whole body, and raises where it is entered:

        Raises:
            PayloadTooLarge: It is larger than the limit.
            TooManyBytes: All bodies together are.
            BodyTimeout: It took too long to arrive.
            MalformedRequest: It is not compressed as it says, or not whole.
            UnsupportedMediaType: It is compressed in a way that nobody here can unpack.
            ClientDisconnect: The caller left.
        """
        return _Passage(self, request)

    @asynccontextmanager
    async def message(
        self, read: Callable[[], Awaitable[bytes | None]], exchange: Exchange
    ) -> AsyncIterator[bytes]:
        """Read a message whose bytes nobody can count before all are there; they count from then on.

        As many are read at once as may be pending together if each is as large as one may be; others wait.
        How large one may be is the server's to check.

        Args:
            read: Reads it; returns None if the server has refused it as too large, or there is none.
            exchange: Of its call.

        Yields:
            The message.

        Raises:
            TooManyBytes: All messages and bodies together are more than may be pending, or too many others
                were being read for as long as one may take.
            BodyTimeout: It took too long to arrive.
            PayloadTooLarge: There is none to be had.
        """
        try:
            async with asyncio.timeout(self._body_timeout_s):
                await self._messages.acquire()
        except TimeoutError as error:
            raise TooManyBytes(self._max_pending_bytes) from error
        try:
            async with asyncio.timeout(self._body_timeout_s):
                content = await read()
        except TimeoutError as error:
            raise BodyTimeout(self._body_timeout_s, 0) from error
        finally:
            self._messages.release()
        if content is None:
            raise PayloadTooLarge("Message", self._max_body_bytes, "bytes", "more, or none at all")
        exchange.received = len(content)
        exchange.body_read = True
        self._pending_bytes += len(content)
        try:
            if self._pending_bytes > self._max_pending_bytes:
                raise TooManyBytes(self._max_pending_bytes)
            yield content
        finally:
            self._pending_bytes -= len(content)

    async def read(self, request: Request, body: bytearray) -> None:
        """Read a body to its end; `leave` must be called with it afterwards, whatever is raised."""
        unpacker = Unpacker(request.headers.get("content-encoding", IDENTITY))
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_body_bytes:
            raise self._too_large(f"{int(declared[:20]):,}")
        if ARRIVED in request.scope:
            await self._collect(request, unpacker, body)
        else:
            try:
                async with asyncio.timeout(self._body_timeout_s):
                    await self._collect(request, unpacker, body)
            except TimeoutError as error:
                raise BodyTimeout(self._body_timeout_s, len(body)) from error
        exchange_of(request).body_read = True
        unpacker.end()

    async def _collect(self, request: Request, unpacker: Unpacker, body: bytearray) -> None:
        exchange = exchange_of(request)
        receive = request.receive
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            chunk = message.get("body", b"")
            exchange.received += len(chunk)
            for count, piece in enumerate(unpacker.unpack(chunk)):
                if count:
                    await asyncio.sleep(0)  # a few bytes may hold very many
                self._take(piece, body)
            if exchange.received > self._max_body_bytes:
                raise self._too_large("more")

    def leave(self, body: bytearray) -> None:
        """Count a body no longer."""
        self._pending_bytes -= len(body)

    def _take(self, piece: bytes, body: bytearray) -> None:
        self._pending_bytes += len(piece)
        body += piece
        if len(body) > self._max_body_bytes:
            raise self._too_large("more")
        if self._pending_bytes > self._max_pending_bytes:
            raise TooManyBytes(self._max_pending_bytes)

    def _too_large(self, got: str) -> PayloadTooLarge:
        return PayloadTooLarge("Body", self._max_body_bytes, "bytes", got)


class _Passage:
    """One body, from where it is read to where it is answered."""

    __slots__ = ("_body", "_gate", "_request")

    def __init__(self, gate: Gate, request: Request) -> None:
        self._gate = gate
        self._request = request
        self._body = bytearray()

    async def __aenter__(self) -> bytes:
        try:
            await self._gate.read(self._request, self._body)
        except BaseException:
            self._gate.leave(self._body)
            raise
        return bytes(self._body)

    async def __aexit__(self, *error: object) -> None:
        self._gate.leave(self._body)
