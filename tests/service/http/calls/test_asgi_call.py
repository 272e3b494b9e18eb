"""`service/http/calls/asgi_call.py`: the ASGI specification, and applications that violate it."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.service.http.server.fakes import asgi, echo, end, rig, run, turns, until
from tests.service.http.server.response_parser import Response
from tests.service.http.server.transports import PEER

GET = b"GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
OLD = GET.replace(b"1.1", b"1.0")
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def sending(*messages: Message) -> ASGIApp:
    """Return an application that sends messages, and reads nothing."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        for message in messages:
            await send(message)

    return app


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


def exchange(app: ASGIApp, *sent: bytes, methods: Sequence[str] = ()) -> tuple[list[Response], bool]:
    """Send bytes; return the responses, and whether the connection ended."""

    async def test() -> tuple[list[Response], bool]:
        made = rig(asgi(app))
        for piece in sent:
            made.send(piece)
            await turns()
        await until(lambda: made.connection.pipeline._call is None)
        found = made.responses(*methods)
        is_over = made.connection._closing.is_over
        await end(made)
        return found, is_over

    return run(test())


def test_scope_describes_the_request() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    exchange(app, GET)

    (scope,) = scopes
    assert scope["type"] == "http"
    assert (scope["method"], scope["http_version"], scope["scheme"]) == ("GET", "1.1", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=d")
    assert scope["headers"] == [(b"host", b"h"), (b"x-y", b"z")]
    assert (scope["client"], scope["server"]) == (PEER, ("192.0.2.1", 80))


@pytest.mark.parametrize("size", [2, 70_000])
@pytest.mark.parametrize("has_length", [False, True])
def test_response_body_in_one_part_or_several(size: int, has_length: bool) -> None:
    """With a length or in chunks. The next request is answered."""
    body = bytes(size)
    headers = [length(size)] * has_length
    app = sending(start(200, *headers), part(body[:1], more=True), part(b"", more=True), part(body[1:]))

    (first, second), is_over = exchange(app, GET + GET)

    assert first.body == second.body == body
    assert first.is_whole
    assert ("transfer-encoding" in first.headers) is not has_length
    assert not is_over


def test_http_1_0_body_ends_with_the_connection() -> None:
    for sent in (OLD, OLD + GET, OLD + b"x" * 10_000):
        (answer,), is_over = exchange(sending(start(), part(b"one", more=True), part(b"two")), sent)

        assert answer.body == b"onetwo"
        assert not {"transfer-encoding", "content-length"} & set(answer.headers)
        assert answer.headers["connection"] == "close"
        assert is_over


@pytest.mark.parametrize("headers", [[], [length(4)]])
def test_response_to_head_has_no_body(headers: list[tuple[bytes, bytes]]) -> None:
    """Its length is that of GET."""
    app = sending(start(200, *headers), part(b"ab", more=True), part(b"cd"))

    (first, second), _ = exchange(app, HEAD + GET, methods=("HEAD", "GET"))

    assert first.body == b""
    assert first.headers.get("content-length") == ("4" if headers else None)
    assert "transfer-encoding" not in first.headers
    assert second.body == b"abcd"


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    """Even if the application sends one: the client would parse it as the next response."""
    (first, second), is_over = exchange(sending(start(status), part(b"body")), GET + GET)

    assert (first.status, second.status) == (status, status)
    assert not {"transfer-encoding", "content-length"} & set(first.headers)
    assert not is_over


def test_application_may_close_the_connection() -> None:
    (answer,), is_over = exchange(
        sending(start(200, length(1), (b"Connection", b"Close")), part(b"a")), GET + GET
    )

    assert answer.headers["connection"] == "close"
    assert is_over


@pytest.mark.parametrize("sent", [POST + b"0123456789", CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n"])
def test_unread_body_is_skipped(sent: bytes) -> None:
    answers, _ = exchange(sending(start(200, length(1)), part(b"a")), sent + GET)

    assert len(answers) == 2


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError(scope, receive, send)


BROKEN: dict[str, ASGIApp] = {
    "raises": broken,
    "sends nothing": sending(),
    "sends a head alone": sending(start(200, length(1))),
    "sends a body alone": sending(part(b"a")),
    "sends two heads": sending(start(200, length(1)), start(200, length(1))),
    "sends more than its length at once": sending(start(200, length(1)), part(b"ab")),
    "sends less than its length at once": sending(start(200, length(3)), part(b"ab")),
    "splits a header": sending(start(200, length(1), (b"a", b"b\r\nc: d")), part(b"a")),
    "breaks a header": sending(start(200, length(1), (b"a", b"b\nc")), part(b"a")),
    "breaks a name": sending(start(200, length(1), (b"a\r\nb", b"c")), part(b"a")),
    "has a length that is none": sending(start(200, (b"content-length", b"x")), part(b"a")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_error_before_the_response_gets_500(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged, and the connection is kept."""
    caplog.set_level(logging.ERROR, "service")

    answers, is_over = exchange(BROKEN[name], GET + GET)

    assert [answer.status for answer in answers] == [500, 500]
    assert b'"/problems/internal"' in answers[0].body
    assert answers[0].headers["x-request-id"].encode() in answers[0].body
    assert set(answers[0].headers) == {"content-type", "content-length", "x-request-id"}
    assert not is_over
    assert ("unexpected error" in caplog.text) is (name not in ("sends nothing", "sends a head alone"))


@pytest.mark.parametrize(
    "messages",
    [
        [start(), part(b"a", more=True)],
        [start(200, length(3)), part(b"a", more=True)],
        [start(200, length(3)), part(b"a", more=True), part(b"bcd")],
        [start(200, length(3)), part(b"a", more=True), part(b"b")],
        [start(), part(b"a", more=True), start(), part(b"b")],
    ],
)
@pytest.mark.parametrize("sent", [GET + GET, OLD])
def test_error_within_the_response_closes_the_connection(messages: list[Message], sent: bytes) -> None:
    """The response has no end, so the client cannot mistake it for a complete one."""
    answers, is_over = exchange(sending(*messages), sent)

    assert len(answers) == 1
    assert not answers[0].is_whole
    assert is_over


def test_headers_may_contain_any_bytes() -> None:
    (answer,), _ = exchange(sending(start(200, length(1), (b"a", b"\xe9\xff")), part(b"a")), GET)

    assert answer.headers["a"] == "\xe9\xff"


def listening(seen: list[Message], *, responds_after: int = 1_000_000) -> ASGIApp:
    """Return an application that records its messages, and responds after a number of them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        while not seen or seen[-1]["type"] != "http.disconnect":
            seen.append(await receive())
            if len(seen) == responds_after:
                await send(start(200, length(2)))
                await send(part(b"ok"))

    return app


def test_receive_returns_the_body_and_then_the_disconnect() -> None:
    async def test() -> None:
        seen: list[Message] = []
        made = rig(asgi(listening(seen)))
        made.send(POST + b"01234")
        await until(lambda: len(seen) == 1)
        made.send(b"56789")
        await until(lambda: len(seen) == 2)
        await turns()
        assert [(one["body"], one["more_body"]) for one in seen] == [(b"01234", True), (b"56789", False)]
        made.transport.abort()
        await until(lambda: len(seen) == 3)
        await end(made)

    run(test())


def test_receive_after_the_response_is_a_disconnect() -> None:
    """Also if the body was not read. The next request is not affected."""

    async def test() -> None:
        seen: list[Message] = []
        calls: list[str] = []
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            calls.append(scope["path"])
            if len(calls) > 1:
                await go.wait()
            await send(start(200, length(2)))
            await send(part(b"ok"))
            await turns()
            seen.append(await receive())

        made = rig(asgi(app))
        expecting = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        made.send(POST + b"0123456789" + expecting)
        await until(lambda: len(calls) == 2)
        await until(lambda: seen)
        assert seen == [{"type": "http.disconnect"}]
        assert [one.status for one in made.responses()] == [200]
        go.set()
        await until(lambda: len(seen) == 2)
        await end(made)

    run(test())


def test_disconnect_reaches_a_waiting_application() -> None:
    async def test() -> None:
        seen: list[Message] = []
        made = rig(asgi(listening(seen)))
        made.send(POST + b"0")
        await until(lambda: len(seen) == 1)
        made.transport.abort()
        await until(lambda: seen[-1]["type"] == "http.disconnect")
        await end(made)

    run(test())


def test_unread_body_pauses_reading() -> None:
    async def test() -> None:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await echo(scope, receive, send)

        made = rig(asgi(app))
        body = bytes(1_000_000)
        sent = POST.replace(b"10\r\n", b"1000000\r\n") + body
        at = 0
        while made.transport.reads:
            made.send(sent[at : at + 10_000])
            at += 10_000
        assert at < 100_000
        go.set()
        while at < len(sent):
            await until(lambda: made.transport.reads)
            made.send(sent[at : at + 10_000])
            at += 10_000
        await until(lambda: made.connection.pipeline._call is None)
        assert made.responses()[0].body == body
        await end(made)

    run(test())


def test_100_continue_is_sent_when_the_body_is_received() -> None:
    """Not after the response has begun."""
    expecting = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send(start(200, length(1)))
        await send(part(b"", more=True))
        task = asyncio.ensure_future(receive())
        await turns()
        await send(part(b"a"))
        await task

    assert [one.status for one in exchange(echo, expecting, b"0123456789")[0]] == [100, 200]
    assert [one.status for one in exchange(late, expecting)[0]] == [200]


def test_slow_client_blocks_send() -> None:
    """One part is in memory at a time."""

    async def test() -> None:
        parts = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal parts
            del scope, receive
            await send(start())
            while parts < 100:
                await send(part(bytes(10_000), more=True))
                parts += 1
            await send(part(b""))

        made = rig(asgi(app))
        made.transport.accepts = False
        made.send(GET)
        await turns(50)
        assert parts == 0
        assert 10_000 < made.budget.used < 12_000
        made.transport.accepts = True
        made.transport.read()
        await until(lambda: made.connection.pipeline._call is None)
        assert len(made.responses()[0].body) == 1_000_000
        await end(made)

    run(test())


@pytest.mark.parametrize("turns_before", [0, 10])
@pytest.mark.parametrize("begins", [False, True])
def test_shutdown_is_answered_with_503(turns_before: int, begins: bool) -> None:
    """If the application does not answer, or its task has not begun."""

    async def test() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            del scope, receive
            if begins:
                await send(start())
                await send(part(b"a", more=True))
            await asyncio.Event().wait()

        made = rig(asgi(app))
        made.send(GET)
        await turns(turns_before)
        made.server_context.stopping.is_set = True
        made.calls[0].cancel()
        await turns()
        has_begun = begins and turns_before > 0
        (answer,) = made.responses()
        assert answer.status == (200 if has_begun else 503)
        assert answer.is_whole is not has_begun
        assert made.connection._closing.is_over
        await end(made)

    run(test())


@pytest.mark.parametrize("begins", [False, True])
def test_invalid_chunks_are_answered_in_place_of_the_application(begins: bool) -> None:
    """It gets a disconnect. A response that has begun is broken off."""

    async def test() -> None:
        seen: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            del scope
            if begins:
                await send(start())
                await send(part(b"a", more=True))
            while not seen or seen[-1]["type"] != "http.disconnect":
                seen.append(await receive())
            await send(start())
            await send(part(b"too late"))

        made = rig(asgi(app))
        made.send(CHUNKED + b"1\r\na\r\n")
        await turns()
        made.send(b"zz\r\n" + GET)
        await turns()
        (answer,) = made.responses()
        assert answer.status == (200 if begins else 400)
        assert b"too late" not in made.transport.received
        assert made.connection._closing.is_over
        assert len(made.calls) == 1
        await end(made)

    run(test())


def test_endless_response_ends_with_the_connection() -> None:
    async def test() -> None:
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            del scope
            await send(start())
            leaving = asyncio.ensure_future(leave(receive))
            while not leaving.done():
                await send(part(bytes(1000), more=True))
                await asyncio.sleep(0)
                sent += 1

        async def leave(receive: Receive) -> None:
            message: Any = {}
            while message.get("type") != "http.disconnect":
                message = await receive()

        made = rig(asgi(app))
        made.send(GET)
        await until(lambda: sent > 10)
        made.transport.abort()
        await until(lambda: not made.connection.server_state.tasks)
        await end(made)

    run(test())
