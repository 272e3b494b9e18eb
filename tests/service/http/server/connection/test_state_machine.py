"""`service/http/server/connection`: random actions; one response for each request, in order."""

import asyncio
from dataclasses import replace
from time import perf_counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from starlette.types import Receive, Scope, Send

from service.core.errors import ServiceError
from service.http.calls.asgi_call import AsgiCall
from service.http.server.request import Refused, Request
from service.http.server.server_context import Call, Responder
from tests.service.http.server.fakes import LIMITS, Rig, ScriptedCall, echo, rig, turns
from tests.service.http.server.response_parser import Response, responses

TURNS = 12
"""Iterations of the event loop after each step: enough for every application here."""

INVALID = [
    b"\0\0\0\0\r\n\r\n",
    b"GET /x HTTP/1.1\r\n\r\n",
    b"GET /x HTTP/3.0\r\nHost: a\r\n\r\n",
    b"POST /late HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    b"POST /asgi HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 5000 + b"\r\n\r\n",
]


class Loop(asyncio.SelectorEventLoop):
    """An event loop with a clock that the test sets."""

    now = 0.0

    def time(self) -> float:
        return self.now


class SynchronousCall(ScriptedCall):
    """Answers within the callbacks of the parser, as predictions do: after the head, or after the body."""

    def __init__(self, connection: Responder, request: Request) -> None:
        super().__init__(connection, request)
        self.has_answered = request.path.startswith("/head")
        if self.has_answered:
            self.answer(404)

    def on_body(self, piece: bytes) -> None:
        super().on_body(piece)
        if self.request.path.startswith("/piece") and not self.has_answered:
            self.has_answered = True
            self.answer(413)

    def on_body_end(self) -> None:
        if not self.has_answered:
            self.has_answered = True
            self.answer()

    def on_body_error(self, error: ServiceError | Refused) -> None:
        self.has_answered = True
        super().on_body_error(error)


class PausingCall(ScriptedCall):
    """Pauses the body at every piece, as decompression does, and resumes in a later iteration."""

    def __init__(self, connection: Responder, request: Request) -> None:
        super().__init__(connection, request)
        self._is_waiting = self._has_body = self._is_done = False

    def on_body(self, piece: bytes) -> None:
        super().on_body(piece)
        if not self._is_waiting and not self._is_done:
            self._is_waiting = True
            self.connection.pause_body()
            self.connection.loop.call_soon(self.connection.loop.call_soon, self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        if self._is_done:
            return
        if self._has_body:
            self.answer()
        else:
            self.connection.resume_body()

    def on_body_end(self) -> None:
        self._has_body = True
        if not self._is_waiting and not self._is_done:
            self.answer()

    def answer(self, status: int = 200, body: bytes = b"ok") -> None:
        if not self._is_done:
            self._is_done = True
            super().answer(status, body)

    def on_disconnect(self) -> None:
        self._is_done = True


class DelayedCall(ScriptedCall):
    """Answers when the test says so, once."""

    is_done = False

    def answer(self, status: int = 200, body: bytes = b"ok") -> None:
        if not self.is_done:
            self.is_done = True
            super().answer(status, body)

    def on_disconnect(self) -> None:
        self.is_done = True


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Send a body in three parts, without reading the request body."""
    headers = [(b"x-path", scope["path"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in (b"one", b"", b"two" * 30_000):
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"three"})
    await receive()


def dispatch(connection: Responder, request: Request) -> Call:
    kind = request.path.split("/")[1]
    if kind == "asgi":
        return AsgiCall(echo, connection, request)
    if kind == "stream":
        return AsgiCall(stream, connection, request)
    scripted: dict[str, type[ScriptedCall]] = {"late": DelayedCall, "pause": PausingCall}
    return scripted.get(kind, SynchronousCall)(connection, request)


class Machine(RuleBasedStateMachine):
    """One connection, and the actions of a client, the application and the server."""

    @initialize(budget=st.sampled_from([0, 6000, 2**20]), is_tls=st.booleans())
    def connect(self, budget: int, is_tls: bool) -> None:
        self.loop = Loop()
        self.sent = b""  # by the client, and not yet delivered
        self.paths: list[tuple[str, str]] = []  # of valid requests: method and path
        self.is_valid = True  # everything that was sent
        self.has_finished = self.was_overdue = self.has_stopped = False
        self.has_left = False
        self.is_rich = budget == 2**20

        async def start() -> Rig:
            return rig(dispatch, limits=replace(LIMITS, min_send_rate=1), budget=budget, is_tls=is_tls)

        self.rig = self.loop.run_until_complete(start())

    def step(self, do: Any) -> None:  # noqa: ANN401 - a function without arguments
        async def run() -> None:
            do()
            await turns(TURNS)

        self.loop.run_until_complete(run())

    @property
    def is_open(self) -> bool:
        return not self.rig.transport.is_closing()

    # The client

    @precondition(lambda self: self.is_valid and not self.has_finished)
    @rule(
        kind=st.sampled_from(["head", "piece", "end", "late", "pause", "asgi", "stream"]),
        method=st.sampled_from(["GET", "POST", "HEAD"]),
        size=st.sampled_from([0, 1, 50, 5000, 70_000]),
        is_chunked=st.booleans(),
        extra=st.sampled_from(
            [b"", b"", b"", b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"]
        ),
        version=st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]),
        count=st.sampled_from([1, 1, 2, 5]),
    )
    def request(
        self, kind: str, method: str, size: int, is_chunked: bool, extra: bytes, version: bytes, count: int
    ) -> None:
        for _ in range(count):
            self.sent += self.made(kind, method, size, is_chunked, extra, version)

    def made(
        self, kind: str, method: str, size: int, is_chunked: bool, extra: bytes, version: bytes
    ) -> bytes:
        path = f"/{kind}/{len(self.paths)}"
        self.paths.append((method, path))
        head = b"%b %b HTTP/%b\r\nHost: a\r\n%b" % (method.encode(), path.encode(), version, extra)
        body = b"x" * (size if method == "POST" else 0)
        if is_chunked and body and version == b"1.1":
            parts = [body[at : at + 1000] for at in range(0, size, 1000)]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    @precondition(lambda self: self.is_valid and not self.has_finished)
    @rule(data=st.sampled_from(INVALID))
    def invalid(self, data: bytes) -> None:
        self.is_valid = False
        self.sent += data
        if b"chunked" in data:  # its head is valid, and may be dispatched
            self.paths.append(("POST", data.split()[1].decode()))

    @precondition(lambda self: self.sent and self.rig.transport.reads and self.is_open)
    @rule(size=st.sampled_from([1, 20, 60, 100, 4096, 10**6, 10**6]))
    def deliver(self, size: int) -> None:
        piece, self.sent = self.sent[:size], self.sent[size:]
        self.step(lambda: self.rig.connection.data_received(piece))

    @precondition(lambda self: not self.has_finished and self.rig.transport.reads and self.is_open)
    @rule()
    def half_close(self) -> None:
        self.has_finished = True
        self.step(self.rig.half_close)

    @rule(accepts=st.booleans(), size=st.sampled_from([1, 300, None]))
    def read(self, accepts: bool, size: int | None) -> None:
        self.rig.transport.accepts = accepts
        self.step(lambda: self.rig.transport.read(size))

    @precondition(lambda self: self.is_open)
    @rule()
    def leave(self) -> None:
        self.has_left = True
        self.step(self.rig.transport.abort)

    # The server

    @rule()
    def complete(self) -> None:
        waiting = [call for call in self.rig.calls if isinstance(call, DelayedCall) and not call.is_done]
        for call in waiting[:1]:
            self.step(call.answer)

    @rule(seconds=st.sampled_from([0.0, 0.0, 11.0, 31.0]))
    def check(self, seconds: float) -> None:
        self.was_overdue = self.was_overdue or seconds > 0
        self.step(lambda: self.rig.connection.check(perf_counter() + seconds))

    @rule(seconds=st.sampled_from([0.05, 0.2, 21.0]))
    def stop(self, seconds: float) -> None:
        self.rig.server_context.stopping.is_set = True
        if not self.has_stopped:
            self.has_stopped = True
            self.step(self.rig.connection.shutdown)
        self.loop.now += seconds
        self.step(lambda: None)

    # Invariants

    @invariant()
    def nothing_is_owed(self) -> None:
        assert self.rig.budget.used >= 0
        assert not self.rig.errors, self.rig.errors

    @invariant()
    def responses_are_in_order(self) -> None:
        """One response for each request, none after one that closes, and none mixed with another."""
        transport = self.rig.transport
        written = transport.received + transport.unsent
        if transport.is_closing() and b"\r\n\r\n" not in written[-5000:]:
            return  # cut off within a large response
        final = self.final(written)
        told = [response.headers["x-path"] for response in final if "x-path" in response.headers]
        assert told == [path for _, path in self.paths][: len(told)]
        assert all("x-path" in response.headers for response in final[:-1])
        assert all(response.headers.get("connection") != "close" for response in final[:-1])
        assert all(response.is_whole for response in final[:-1])

    def final(self, written: bytes) -> list[Response]:
        methods = [method for method, _ in self.paths]
        return [response for response in responses(written, *methods) if response.status != 100]

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            try:
                self.end()
            finally:
                self.loop.close()

    def end(self) -> None:
        """Complete everything in progress; then everything is released, and all requests are answered."""
        transport = self.rig.transport
        for _ in range(1000):
            if transport.is_closing():
                break
            transport.accepts = True
            self.step(transport.read)
            self.complete()
            if self.sent and transport.reads:
                self.deliver(10**6)
            elif not transport.unsent and not self._waits():
                break
        self.responses_are_in_order()
        was_disturbed = self.has_left or self.has_finished or self.was_overdue or self.has_stopped
        if self.is_valid and self.is_rich and not was_disturbed:
            final = self.final(transport.received)
            closes = bool(final) and final[-1].headers.get("connection") == "close"
            assert closes or len(final) == len(self.paths), (final, self.paths)
        self.step(transport.abort)
        self.step(lambda: None)
        assert self.rig.budget.used == 0
        assert len(self.rig.connections) == 0
        assert not self.rig.connection.server_state.connections
        assert self.rig.request_log.begun == len(self.rig.request_log.ended)
        assert not self.rig.errors, self.rig.errors
        assert not self.rig.connection.server_state.tasks

    def _waits(self) -> bool:
        return any(isinstance(call, DelayedCall) and not call.is_done for call in self.rig.calls)


Machine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True
)
TestConnectionStates = Machine.TestCase
