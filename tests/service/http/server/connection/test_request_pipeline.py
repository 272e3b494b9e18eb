"""`request_pipeline`: stages, order of responses, pauses, end of input."""

import pytest

from service.http.server.connection.stage import Stage
from service.http.server.request import Refused
from tests.service.http.server.connection.requests import CHUNKED, UPGRADE, ImmediateCall, get, paths, post
from tests.service.http.server.fakes import asgi, echo, end, rig, run, turns


def test_request_passes_through_the_stages() -> None:
    async def test() -> None:
        made = rig()
        stages = [made.connection.stage]
        for piece in (b"POST ", b"/a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", b"y"):
            made.send(piece)
            stages.append(made.connection.stage)
        made.calls[0].answer()
        stages.append(made.connection.stage)
        assert stages == [Stage.IDLE, Stage.HEAD, Stage.BODY, Stage.ANSWERING, Stage.IDLE]
        assert made.calls[0].body == b"xy"
        assert made.connection.is_idle()
        await end(made)
        assert made.connection.stage is Stage.CLOSED

    run(test())


def test_pipelined_requests_are_dispatched_one_at_a_time() -> None:
    async def test() -> None:
        made = rig()
        made.send(b"".join(post(f"/{number}", b"body") for number in range(5)))
        for number in range(5):
            assert [call.request.path for call in made.calls] == [f"/{n}" for n in range(number + 1)]
            assert made.calls[-1].events == ["on_body", "on_body_end"]
            made.calls[-1].answer()
        assert paths(made) == [f"/{number}" for number in range(5)]
        assert made.budget.used == 0
        await end(made)

    run(test())


def test_requests_answered_while_parsing_are_answered_in_order() -> None:
    """Between others that are answered later."""

    async def test() -> None:
        made = rig(ImmediateCall)
        made.send(get("/now1") + get("/now2") + get("/later3") + get("/now4") + post("/now5", b"abc"))
        assert paths(made) == ["/now1", "/now2"]
        made.calls[-1].answer()
        assert paths(made) == ["/now1", "/now2", "/later3", "/now4", "/now5"]
        assert made.connection.is_idle()
        await end(made)

    run(test())


@pytest.mark.parametrize("cause", ["stop", "place", "close"])
def test_no_request_is_dispatched_after_the_last_response(cause: str) -> None:
    """Even if it was parsed in the same slice."""

    async def test() -> None:
        made = rig(ImmediateCall, is_reserved=cause == "place")
        first = get("/now1", *(["Connection: close"] if cause == "close" else []))
        made.server_context.stopping.is_set = cause == "stop"
        made.send(first + post("/now2", b"abc") + get("/now3"))
        told = made.responses()
        assert told[-1].headers["connection"] == "close"
        assert all("connection" not in response.headers for response in told[:-1])
        assert len(told) == (3 if cause == "stop" else 1)
        assert len(made.calls) == {"stop": 3, "place": 0, "close": 1}[cause]
        await end(made)

    run(test())


@pytest.mark.parametrize("path", ["/now", "/later"])
def test_received_requests_are_answered_at_shutdown(path: str) -> None:
    """The last response closes the connection."""

    async def test() -> None:
        made = rig(ImmediateCall)
        made.send(*[get(f"/later{number}") for number in range(3)])
        made.send(b"".join(get(f"{path}{number}") for number in range(3, 200)))
        made.server_context.stopping.is_set = True
        made.connection.shutdown()
        while not made.connection._closing.is_over:
            made.calls[-1].answer()
        told = made.responses()
        assert len(told) == 200
        assert [number for number, one in enumerate(told) if "connection" in one.headers] == [199]
        await end(made)

    run(test())


def test_invalid_input_is_answered_in_order() -> None:
    """The connection closes afterwards."""

    async def test() -> None:
        made = rig()
        made.send(get("/1") + get("/2") + b"nonsense\r\n\r\n" + get("/3"))
        assert made.responses() == []
        made.calls[-1].answer()
        made.calls[-1].answer()
        assert paths(made) == ["/1", "/2", "400"]
        assert [one.headers.get("connection") for one in made.responses()] == [None, None, "close"]
        assert made.connection.stage is Stage.DRAINING
        assert made.transport.has_ended_output
        await end(made)

    run(test())


def test_queued_request_with_an_invalid_body_is_not_dispatched() -> None:
    async def test() -> None:
        made = rig()
        made.send(get("/1") + CHUNKED + b"zz\r\n")
        made.calls[0].answer()
        assert len(made.calls) == 1
        assert paths(made) == ["/1", "400"]
        await end(made)

    run(test())


def test_invalid_body_is_answered_by_the_call() -> None:
    async def test() -> None:
        made = rig()
        made.send(CHUNKED + b"3\r\nabc\r\n", b"zz\r\n" + get("/2"))
        assert isinstance(made.calls[0].error, Refused)
        assert paths(made) == ["/chunked"]
        assert made.connection.stage is Stage.DRAINING
        await end(made)

    run(test())


def test_paused_body_delays_pipelined_requests() -> None:
    """As while a body is decompressed."""

    async def test() -> None:
        made = rig()
        made.send(post("/1", b"", length=10) + b"abc")
        made.connection.pipeline.pause_body()
        assert not made.transport.reads
        made.send(b"defghij" + get("/2"), get("/3"))
        assert made.calls[0].body == b"abc"
        made.connection.pipeline.resume_body()
        assert made.calls[0].body == b"abcdefghij"
        assert made.calls[0].events[-1] == "on_body_end"
        for _ in range(3):
            made.calls[-1].answer()
        assert paths(made) == ["/1", "/2", "/3"]
        assert made.transport.reads
        await end(made)

    run(test())


@pytest.mark.parametrize("has_more", [False, True])
def test_eof_while_the_body_is_paused(has_more: bool) -> None:
    """A complete body is answered; an incomplete one is a disconnect."""

    async def test() -> None:
        made = rig()
        made.send(post("/1", b"abc", length=6))
        made.connection.pipeline.pause_body()
        if has_more:
            made.send(b"def")
        made.half_close()
        assert not made.transport.is_closing()
        made.connection.pipeline.resume_body()
        await turns()
        if has_more:
            assert made.calls[0].events == ["on_body", "on_body_end"]
            made.calls[0].answer()
            assert paths(made) == ["/1"]
        else:
            assert made.calls[0].events == ["on_body", "on_disconnect"]
        await turns()
        assert made.transport.is_lost
        await end(made)

    run(test())


def test_eof_while_the_body_is_paused_and_answered_early() -> None:
    async def test() -> None:
        made = rig()
        made.send(post("/1", b"abc", length=6))
        made.connection.pipeline.pause_body()
        made.half_close()
        made.calls[0].answer(413)
        assert paths(made) == ["/1"]
        await turns()
        assert made.transport.is_lost
        await end(made)

    run(test())


@pytest.mark.parametrize("count", [1, 3])
def test_requests_before_eof_are_answered(count: int) -> None:
    async def test() -> None:
        made = rig()
        made.send(b"".join(get(f"/{number}") for number in range(count)))
        made.half_close()
        for _ in range(count):
            assert not made.transport.is_closing()
            made.calls[-1].answer()
        assert len(made.responses()) == count
        await turns()
        assert made.transport.is_lost
        await end(made)

    run(test())


@pytest.mark.parametrize("sent", [b"", b"GET", get("/now")])
def test_eof_closes_a_connection_without_requests(sent: bytes) -> None:
    async def test() -> None:
        made = rig(ImmediateCall)
        made.send(*[sent] * bool(sent))
        made.half_close()
        await turns()
        assert made.transport.is_lost
        await end(made)

    run(test())


def test_upgrade_in_pipelined_requests_is_ignored() -> None:
    async def test() -> None:
        made = rig()
        made.send(
            get("/1", *UPGRADE)
            + get("/2", *UPGRADE)
            + post("/3", b"body", *UPGRADE)
            + get("/4")
            + get("/5", *UPGRADE)
        )
        for _ in range(5):
            made.calls[-1].answer()
        assert paths(made) == ["/1", "/2", "/3", "/4", "/5"]
        assert made.calls[2].body == b"body"
        await end(made)

    run(test())


def test_no_request_is_dispatched_while_output_is_unsent() -> None:
    async def test() -> None:
        made = rig(ImmediateCall)
        made.transport.accepts = False
        made.send(get("/now1") + get("/now2") + get("/now3"))
        assert len(made.calls) == 1
        made.transport.read()
        assert len(made.calls) == 2
        made.transport.accepts = True
        made.transport.read()
        assert paths(made) == ["/now1", "/now2", "/now3"]
        await end(made)

    run(test())


def test_large_body_through_asgi() -> None:
    """With pipelined requests behind it."""

    async def test() -> None:
        made = rig(asgi(echo))
        content = bytes(range(256)) * 1000
        sent = post("/1", content) + get("/2") + post("/3", content)
        for at in range(0, len(sent), 50_000):
            while not made.transport.reads:
                await turns(1)
            made.send(sent[at : at + 50_000])
        await turns(100)
        assert [one.body for one in made.responses()] == [content, b"", content]
        assert paths(made) == ["/1", "/2", "/3"]
        await end(made)

    run(test())
