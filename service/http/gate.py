"""Who may enter and how much: today the size of bodies and the time they may take to arrive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from service.core.errors import BodyTimeout, PayloadTooLarge, TooManyBytes
from service.http.exchange import ARRIVED, Exchange, exchange_of, header
from service.http.packing import Unpacker
from service.inference import costs
from service.inference.budget import Budget

_SMALL = 16_384
"""Bytes of a piece that is not kept as it came: a body of very many would take many times its size."""


class Gate:
    """Lets bodies in, one by one and all together within bounds.

    Attributes:
        body_timeout_s: Longest time that a body may take to arrive.
    """

    def __init__(
        self,
        max_body_bytes: int,
        max_pending_bytes: int,
        body_timeout_s: float,
        budget: Budget | None = None,
    ) -> None:
        self._budget = budget
        self._max_body_bytes = max_body_bytes
        self._max_pending_bytes = max_pending_bytes
        self.body_timeout_s = body_timeout_s
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
            async with asyncio.timeout(self.body_timeout_s):
                await self._messages.acquire()
        except TimeoutError as error:
            raise TooManyBytes(self._max_pending_bytes) from error
        try:
            async with asyncio.timeout(self.body_timeout_s):
                content = await read()
        except TimeoutError as error:
            raise BodyTimeout(self.body_timeout_s, 0) from error
        finally:
            self._messages.release()
        if content is None:
            raise PayloadTooLarge("Message", self._max_body_bytes, "bytes", "more, or none at all")
        exchange.received = len(content)
        exchange.body_read = True
        cost = self._cost(costs.GRPC, "", len(content))
        self._acquire(cost)
        try:
            yield content
        finally:
            self.release(cost)

    def may_hold(self, size: int) -> bool:
        """Tell whether a body may have so many bytes."""
        return size <= self._max_body_bytes

    def admit(self, size: int) -> bool:
        """Count bytes that are here, if there is room for them; they count until they leave."""
        cost = self._cost(costs.JSON, "", size)
        if size > self._max_body_bytes:
            return False
        try:
            self._acquire(cost)
        except TooManyBytes:
            return False
        return True

    def declared(self, length: str) -> None:
        """Look at the length that a body declares.

        Raises:
            PayloadTooLarge: It is larger than the limit.
        """
        if length.isdecimal() and int(length[:20]) > self._max_body_bytes:
            raise self._too_large(f"{int(length[:20]):,}")

    def check(self, whole: int) -> None:
        """Raise PayloadTooLarge if so many bytes of a body are more than the limit."""
        if whole > self._max_body_bytes:
            raise self._too_large("more")

    def leave(self, size: int) -> None:
        """Count a body of so many bytes, which `admit` counted, no longer."""
        self.release(self._cost(costs.JSON, "", size))

    def _cost(self, kind: str, coding: str, size: int) -> int:
        return size if self._budget is None else costs.body_cost(kind, coding, size)

    def _acquire(self, cost: int) -> None:
        if self._budget is not None:
            self._budget.acquire(cost)
            return
        if self._pending_bytes + cost > self._max_pending_bytes:
            raise TooManyBytes(self._max_pending_bytes)
        self._pending_bytes += cost

    def release(self, cost: int) -> None:
        """Release what was acquired."""
        if self._budget is not None:
            self._budget.release(cost)
        else:
            self._pending_bytes -= cost

    def _too_large(self, got: str) -> PayloadTooLarge:
        return PayloadTooLarge("Body", self._max_body_bytes, "bytes", got)


class _Passage:
    """One body, from where it is read to where it is answered."""

    __slots__ = ("_coding", "_cost", "_gate", "_kind", "_pieces", "_request", "_size")

    def __init__(self, gate: Gate, request: Request) -> None:
        self._gate = gate
        self._request = request
        self._pieces: list[bytes | bytearray] = []
        self._size = 0
        self._cost = 0
        path = str(request.scope.get("path", ""))
        reads_json = path.startswith("/v2/") or path.endswith(":predict")
        self._kind = costs.JSON if reads_json else header(request, b"content-type") or ""
        self._coding = header(request, b"content-encoding") or ""

    async def __aenter__(self) -> bytes:
        try:
            await self._read()
        except BaseException:
            self._gate.release(self._cost)
            raise
        first = self._pieces[0]
        body = first if len(self._pieces) == 1 and isinstance(first, bytes) else b"".join(self._pieces)
        self._pieces.clear()
        return body

    async def __aexit__(self, *error: object) -> None:
        self._gate.release(self._cost)

    async def _read(self) -> None:
        request = self._request
        exchange = exchange_of(request)
        coding = header(request, b"content-encoding")
        unpacker = None if coding is None else Unpacker(coding)
        self._gate.declared(header(request, b"content-length") or "")
        if ARRIVED in request.scope:
            await self._collect(unpacker, exchange)
        else:
            limit_s = self._gate.body_timeout_s
            try:
                async with asyncio.timeout(limit_s):
                    await self._collect(unpacker, exchange)
            except TimeoutError as error:
                raise BodyTimeout(limit_s, self._size) from error
        exchange.body_read = True
        if unpacker is not None:
            unpacker.end()

    async def _collect(self, unpacker: Unpacker | None, exchange: Exchange) -> None:
        receive = self._request.receive
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            chunk = message.get("body", b"")
            exchange.received += len(chunk)
            if unpacker is None:
                self._take(chunk)
                continue
            for count, piece in enumerate(unpacker.unpack(chunk)):
                if count:
                    await asyncio.sleep(0)  # a few bytes may hold very many
                self._take(piece)
            self._gate.check(exchange.received)

    def _take(self, piece: bytes) -> None:
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytearray) and len(last) < _SMALL:
            last += piece
        else:
            is_small = last is not None and len(piece) < _SMALL
            self._pieces.append(bytearray(piece) if is_small else piece)
        self._size += len(piece)
        self._gate.check(self._size)
        more = self._gate._cost(self._kind, self._coding, self._size) - self._cost
        self._gate._acquire(more)
        self._cost += more
