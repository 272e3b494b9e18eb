"""Connections without sockets: calls that a test completes, and a rig with one connection."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
from tests.service.http.server.response_parser import Response, responses
from tests.service.http.server.transports import PEER, Transport

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


@dataclass
class RequestLog:
    """Stores what is recorded."""

    begun: int = 0
    ended: list[tuple[RequestContext, str, str, str]] = field(default_factory=list)

    def begin(self) -> None:
        self.begun += 1

    def end(self, context: RequestContext, method: str, path: str, client: str) -> None:
        self.ended.append((context, method, path, client))


class ScriptedCall:
    """A call that records its events, and answers when a test says so.

    Attributes:
        body: The body as far as it has arrived.
        events: Names of the methods that were called, `on_body` without repetition.
        error: Argument of `on_body_error`.
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
        transport: Its transport.
        calls: The calls that were dispatched.
        budget: The memory budget.
        connections: The connection table.
        request_log: Recorded requests.
        server_context: State that connections share.
        errors: Errors that the event loop's exception handler received.
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
        """Receive bytes, even if reading is paused: asyncio may deliver bytes that it has read before."""
        for part in parts:
            self.connection.data_received(part)

    def half_close(self) -> None:
        """Receive the end of the input."""
        if not self.connection.eof_received():
            self.transport.close()

    def responses(self, *methods: str) -> list["Response"]:
        """Parse the output that the client has read; see `responses`."""
        return list(responses(self.transport.received, *methods))


def rig(
    dispatch: Callable[[Responder, Request], Call] | None = None,
    *,
    limits: ConnectionLimits = LIMITS,
    budget: int = 2**20,
    is_tls: bool = False,
    is_reserved: bool = False,
) -> Rig:
    """Create a connection that is connected; calls are `ScriptedCall` unless `dispatch` creates others."""
    calls: list[Any] = []
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))

    def dispatched(connection: Responder, request: Request) -> Call:
        if made.transport.is_closing() or made.transport.has_ended_output:
            errors.append({"message": f"{request.path} was dispatched after the last response"})
        call = (dispatch or ScriptedCall)(connection, request)
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
    """Return a dispatcher that answers all requests with an ASGI application."""
    return lambda connection, request: AsgiCall(app, connection, request)


async def turns(count: int = 10) -> None:
    """Run iterations of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(happened: Callable[[], object]) -> None:
    """Run the event loop until a condition is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, Result]) -> Result:
    """Run a test in an event loop of its own."""
    return asyncio.run(asyncio.wait_for(test, PATIENCE_S))


async def end(made: Rig) -> None:
    """Disconnect, and check that everything is released."""
    await turns()
    made.transport.abort()
    await turns()
    assert made.budget.used == 0
    assert len(made.connections) == 0
    assert not made.connection.server_state.connections
    assert not made.errors
    assert made.request_log.begun == len(made.request_log.ended)


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
