"""Connections without sockets: transports, scripted calls, and a parser of responses."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from service.core.errors import ServiceError
from service.http.calls.asgi_call import AsgiCall
from service.http.server.connection.protocol import Connection
from service.http.server.connection_table import ConnectionTable
from service.http.server.request import Refused, Request
from service.http.server.server_context import Call, ConnectionLimits, Responder, ServerContext, StopFlag
from service.inference.request_context import RequestContext
from service.memory.budget import Budget
from tests.service.http.running import PATIENCE_S

Result = TypeVar("Result")

LIMITS = ConnectionLimits(
    max_head_bytes=4096,
    header_timeout_s=10,
    body_timeout_s=30,
    write_timeout_s=10,
    keep_alive_s=60,
    drain_timeout_s=20,
    min_send_rate=1024,
)

PEER = ("192.0.2.7", 5000)


class Transport(asyncio.Transport):
    """The other end of a connection: keeps what is written, and takes it as fast as a test says.

    Attributes:
        protocol: What is told; set before anything is written.
        taken: Bytes that the client has taken.
        unsent: Bytes that it has not.
        takes: Whether it takes what is written at once.
        reads: Whether the protocol wants to read.
        has_ended_output: Whether `write_eof` was called.
        is_lost: Whether `connection_lost` was called.
    """

    def __init__(self, *, is_tls: bool = False) -> None:
        super().__init__()
        self.protocol = cast("asyncio.Protocol", None)
        self.taken = b""
        self.unsent = b""
        self.takes = True
        self.reads = True
        self.has_ended_output = False
        self.is_lost = False
        self._is_closing = False
        self._is_tls = is_tls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_ended_output, "nothing is written after the end of the output"
        if self._is_closing or not data:
            return
        if self.takes and not self.unsent:
            self.taken += bytes(data)
            return
        was_empty = not self.unsent
        self.unsent += bytes(data)
        if was_empty:
            self.protocol.pause_writing()

    def take(self, size: int | None = None) -> None:
        """Let the client take bytes that wait for it; all if `size` is None."""
        size = len(self.unsent) if size is None else size
        had = bool(self.unsent)
        self.taken += self.unsent[:size]
        self.unsent = self.unsent[size:]
        if had and not self.unsent:
            if not self.is_lost:
                self.protocol.resume_writing()
            if self._is_closing:
                self._lose()

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self.unsent:
                self._lose()

    def abort(self) -> None:
        self._is_closing = True
        self.unsent = b""
        self._lose()

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio has it
        if name == "sslcontext":
            return object() if self._is_tls else default
        return {"peername": PEER, "sockname": ("192.0.2.1", 80)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (1 if self._is_tls else 0, 0)

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def pause_reading(self) -> None:
        assert self.reads, "reading was paused already"
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads, "reading was not paused"
        self.reads = True

    def can_write_eof(self) -> bool:
        return not self._is_tls

    def write_eof(self) -> None:
        assert not self._is_tls
        self.has_ended_output = True


@dataclass(eq=False)
class ReadingClient(asyncio.Transport):
    """The other end of a connection whose client reads everything at once; tells the protocol nothing.

    Attributes:
        written: Everything that was written.
        has_ended: Whether the service closed the connection, or its own half of it.
        reads: Whether the protocol wants to read.
    """

    written: bytes = b""
    has_ended: bool = False
    reads: bool = True
    _is_closing: bool = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_ended, "nothing should be written after the end"
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.has_ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.has_ended = self._is_closing = True

    abort = close

    def is_closing(self) -> bool:
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio has it
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


@dataclass
class RequestLog:
    """Keeps what was recorded."""

    begun: int = 0
    ended: list[tuple[RequestContext, str, str, str]] = field(default_factory=list)

    def begin(self) -> None:
        self.begun += 1

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        self.ended.append((context, method, path, client))


class Scripted:
    """A call that notes what it is told, and answers when a test says so.

    Attributes:
        body: What has arrived of the body.
        events: Names of the methods that were called, `on_body` without repetition.
        error: What `on_body_error` was given.
    """

    def __init__(self, connection: Responder, request: Request, **headers: str) -> None:
        self.connection = connection
        self.request = request
        self.body = b""
        self.events: list[str] = []
        self.error: ServiceError | Refused | None = None
        self._headers = headers

    def on_body(self, piece: bytes) -> None:
        self.body += piece
        if self.events[-1:] != ["on_body"]:
            self.events.append("on_body")

    def on_body_end(self) -> None:
        self.events.append("on_body_end")

    def on_body_error(self, error: ServiceError | Refused) -> None:
        self.events.append("on_body_error")
        self.error = error
        self.connection.close_after_response()
        self.answer(400)

    def on_disconnect(self) -> None:
        self.events.append("on_disconnect")

    def cancel(self) -> None:
        self.events.append("cancel")
        self.answer(503)

    def answer(self, status: int = 200, body: bytes = b"ok") -> None:
        """Write a response that repeats the request's path in a header."""
        head = f"content-length: {len(body)}\r\nx-path: {self.request.path}\r\n"
        self.connection.write_response(status, head.encode(), body)


@dataclass
class Rig:
    """One connection, without a socket.

    Attributes:
        connection: The connection.
        transport: Its other end.
        calls: The calls that were dispatched.
        budget: Where bytes are counted.
        connections: The table.
        request_log: What was recorded.
        server_context: What it shares.
        errors: What the event loop's exception handler was given.
    """

    connection: Connection
    transport: Transport
    calls: list[Any]
    budget: Budget
    connections: ConnectionTable
    request_log: RequestLog
    server_context: ServerContext
    errors: list[dict[str, Any]]

    def send(self, *parts: bytes) -> None:
        """Let bytes arrive, though reading may be paused: what the kernel has is not to be lost."""
        for part in parts:
            self.connection.data_received(part)

    def finish(self) -> None:
        """Let the client end its output, as a transport tells it."""
        if not self.connection.eof_received():
            self.transport.close()

    def responses(self, *methods: str) -> list["Response"]:
        """Parse what the client has taken; see `responses`."""
        return list(responses(self.transport.taken, *methods))


def rig(
    dispatch: Callable[[Responder, Request], Call] | None = None,
    *,
    limits: ConnectionLimits = LIMITS,
    budget: int = 2**20,
    is_tls: bool = False,
    is_reserved: bool = False,
) -> Rig:
    """Make a connection that is connected; calls are `Scripted` unless `dispatch` makes others."""
    calls: list[Any] = []
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, told: errors.append(told))

    def dispatched(connection: Responder, request: Request) -> Call:
        if made.transport.is_closing() or made.transport.has_ended_output:
            errors.append({"message": f"{request.path} was dispatched after the last response"})
        call = (dispatch or Scripted)(connection, request)
        calls.append(call)
        return call

    connections, request_log = ConnectionTable(8, 8, 10), RequestLog()
    server_context = ServerContext(
        limits=limits,
        connections=connections,
        budget=Budget(budget),
        request_log=request_log,
        dispatch=dispatched,
        stopping=StopFlag(),
        is_probe=lambda path: path == "/livez",
    )
    slot = connections.acquire(PEER[0])
    slot.is_reserved = is_reserved
    connections._reserved += is_reserved
    connection, transport = Connection(server_context, ServerState(), slot), Transport(is_tls=is_tls)
    transport.protocol = connection
    made = Rig(
        connection, transport, calls, server_context.budget, connections, request_log, server_context, errors
    )
    connection.connection_made(transport)
    return made


def asgi(app: ASGIApp) -> Callable[[Responder, Request], Call]:
    """Return what answers every request with an ASGI application."""
    return lambda connection, request: AsgiCall(app, connection, request)


async def turns(count: int = 10) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(happened: Callable[[], object]) -> None:
    """Let the event loop turn until something has happened."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, Result]) -> Result:
    """Run a test in an event loop of its own."""
    return asyncio.run(asyncio.wait_for(test, PATIENCE_S))


async def end(made: Rig) -> None:
    """Lose the connection, and check that nothing is left of it."""
    await turns()
    made.transport.abort()
    await turns()
    assert made.budget.used == 0
    assert len(made.connections) == 0
    assert not made.connection.server_state.connections
    assert not made.errors
    assert made.request_log.begun == len(made.request_log.ended)


@dataclass
class Response:
    """One response as a client parses it.

    Attributes:
        status: Its status.
        headers: By name in lower case; each may come once.
        body: Without the framing of chunks.
        is_whole: Whether it has arrived to its end; always False where only the connection's end tells.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool


def responses(data: bytes, *methods: str) -> Iterator[Response]:
    """Parse what a server wrote, strictly.

    Args:
        data: The bytes.
        methods: Of the requests; GET for those beyond.
    """
    asked = iter(methods)
    while data:
        head, ended, data = data.partition(b"\r\n\r\n")
        assert ended, f"half a head: {head!r}"
        line, *fields = head.split(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        pairs = [field.split(b": ", 1) for field in fields]
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in pairs}
        assert len(headers) == len(pairs), "every header should be there once"
        found = Response(int(status), headers, b"", is_whole=True)
        if found.status == 100:
            yield found
            continue
        if next(asked, "GET") == "HEAD" or found.status in (204, 304):
            if headers.get("connection") == "close":  # the method of what is refused may not be known
                found.body, data = data, b""
        elif "transfer-encoding" in headers:
            assert "content-length" not in headers
            found.is_whole = False
            while data and not found.is_whole:
                size, _, rest = data.partition(b"\r\n")
                length = int(size, 16)
                if len(rest) < length + 2:
                    data = b""
                    break
                assert rest[length : length + 2] == b"\r\n"
                found.body, data = found.body + rest[:length], rest[length + 2 :]
                found.is_whole = length == 0
        elif "content-length" in headers:
            length = int(headers["content-length"])
            found.body, data = data[:length], data[length:]
            found.is_whole = len(found.body) == length
        else:
            found.body, data, found.is_whole = data, b"", False
        yield found


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application that reads the body and sends it back with the path in a header."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    headers = [(b"content-length", b"%d" % len(body)), (b"x-path", scope["path"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
