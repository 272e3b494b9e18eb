"""Connections without sockets: tests pass received bytes in and read the responses from memory."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from uvicorn.server import ServerState

from service.core.errors import ServiceError
from service.http.server.connection.protocol import Connection
from service.http.server.connection.stage import Stage
from service.http.server.connection_table import ConnectionTable
from service.http.server.request import Refused, Request
from service.http.server.server_context import Call, ConnectionLimits, Responder, ServerContext, StopFlag
from service.memory.budget import Budget
from service.observability.request_log import RequestLog
from tests.service.http.server.transports import ReadingClient

PATIENCE_S = 60.0

Dispatch = Callable[[Responder, Request], Call]


@dataclass
class Echo:
    """Responds to each request with its method, its target and its body."""

    connection: Responder
    request: Request
    body: bytes = b""
    has_ended: bool = False

    def on_body(self, piece: bytes) -> None:
        if not self.has_ended:
            self.connection.send_continue()
            self.body += piece

    def on_body_end(self) -> None:
        if not self.has_ended:
            method, target = self.request.head.method, self.request.head.raw_path.decode()
            self._respond(200, json.dumps([method, target, self.body.hex()]).encode())

    def on_body_error(self, error: ServiceError | Refused) -> None:
        if not self.has_ended:
            assert isinstance(error, Refused)
            self.connection.close_after_response()
            self._respond(error.problem.status, json.dumps({"type": error.problem.kind}).encode())

    def on_disconnect(self) -> None:
        self.has_ended = True

    def cancel(self) -> None:
        self.has_ended = True

    def _respond(self, status: int, body: bytes) -> None:
        self.has_ended = True
        self.connection.write_response(status, b"content-length: %d\r\n" % len(body), body)


@dataclass
class Server:
    """Creates connections that share a budget and a request log."""

    dispatch: Dispatch
    request_log: RequestLog
    budget: Budget = field(default_factory=lambda: Budget(2**28))
    max_head_bytes: int = 32_768
    state: ServerState = field(default_factory=ServerState)

    def connect(self) -> tuple[Connection, ReadingClient]:
        server_context = ServerContext(
            limits=ConnectionLimits(
                max_head_bytes=self.max_head_bytes,
                header_timeout_s=PATIENCE_S,
                body_timeout_s=PATIENCE_S,
                write_timeout_s=PATIENCE_S,
                keep_alive_s=PATIENCE_S,
                drain_timeout_s=PATIENCE_S,
                min_send_rate=1,
            ),
            connections=ConnectionTable(100_000, 100_000, PATIENCE_S),
            budget=self.budget,
            request_log=self.request_log,
            dispatch=self.dispatch,
            stopping=StopFlag(),
        )
        connection, peer = Connection(server_context, self.state), ReadingClient()
        connection.connection_made(peer)
        return connection, peer


@dataclass(frozen=True)
class Outcome:
    """The result of a connection.

    Attributes:
        responses: Status and body of each, without those that are informational.
        has_ended: Whether the service closed the connection.
    """

    responses: tuple[tuple[int, bytes], ...]
    has_ended: bool

    @property
    def statuses(self) -> list[int]:
        return [status for status, _ in self.responses]


def parse(written: bytes, methods: Sequence[str] = ()) -> tuple[tuple[int, bytes], ...]:
    """Parse responses, without the parts of problem documents that vary.

    Args:
        written: By the service.
        methods: Methods of the requests; a response to HEAD has no body.
    """
    found: list[tuple[int, bytes]] = []
    while written:
        head, end, written = written.partition(b"\r\n\r\n")
        assert end, f"a head should end; got {head[:100]!r}"
        first, *lines = head.split(b"\r\n")
        version, code, _ = first.split(b" ", 2)
        assert version == b"HTTP/1.1", first
        status = int(code)
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        assert len(headers) == len(lines), "every header should be there once"
        if status < 200:
            continue
        is_head = len(found) < len(methods) and methods[len(found)] == "HEAD"
        size = 0 if is_head or status in (204, 304) else int(headers[b"content-length"])
        body, written = written[:size], written[size:]
        assert len(body) == size, "a response should be whole"
        if body and b"problem" in headers.get(b"content-type", b""):
            document = json.loads(body)
            del document["request_id"]
            body = json.dumps(document).encode()
        found.append((status, body))
    return tuple(found)


async def settle(server: Server, connections: Sequence[Connection], peers: Sequence[ReadingClient]) -> None:
    """Run the event loop until all received requests have a response."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for _ in range(3):
                await asyncio.sleep(0)
            is_busy = any(connection.stage is Stage.ANSWERING for connection in connections)
            is_held = any(not peer.reads and not peer.has_ended for peer in peers)
            if not is_busy and not is_held and not server.state.tasks:
                return


def exchange(
    make: Callable[[], Server],
    sends: Sequence[Sequence[bytes]],
    methods: Sequence[str] = (),
    *,
    settles: bool,
) -> list[Outcome]:
    """Send bytes over many connections, each split into its own parts; return the result of each.

    Args:
        make: Makes the server, within the event loop.
        sends: The parts for each connection.
        methods: Methods of the requests, the same on each connection.
        settles: Whether everything that can be answered is answered before the next part is sent; else parts
            follow at once, or as soon as the service reads on.
    """

    async def run() -> list[Outcome]:
        server = make()
        opened = [server.connect() for _ in sends]
        connections, peers = [one for one, _ in opened], [peer for _, peer in opened]
        for number in range(max(map(len, sends))):
            for (connection, peer), parts in zip(opened, sends, strict=True):
                if number < len(parts):
                    while not (peer.reads or peer.has_ended):
                        await asyncio.sleep(0)
                    connection.data_received(parts[number])
            if settles:
                await settle(server, connections, peers)
        await settle(server, connections, peers)
        found = [Outcome(parse(peer.written, methods), peer.has_ended) for peer in peers]
        for connection in connections:
            connection.connection_lost(None)
        await settle(server, [], [])
        return found

    return asyncio.run(run())
