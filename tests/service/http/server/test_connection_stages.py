"""`service/http/server/connection.py`, without a socket: every stage, and every way out of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import pytest
from uvicorn.server import ServerState

from service.core.errors import BodyTimeout
from service.http.server.connection.input import SLICE_BYTES
from service.http.server.connection.protocol import Connection
from service.http.server.connection.stage import Stage
from service.http.server.request import Refused, Request
from service.http.server.server_context import Responder
from tests.service.http.server.fakes import LIMITS, Rig, Scripted, Transport, asgi, echo, end, rig, run, turns


def get(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", *lines, "", ""]).encode()


def post(path: str, body: bytes = b"", *lines: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return get(path, f"Content-Length: {size}", *lines, method="POST") + body


CHUNKED = get("/chunked", "Transfer-Encoding: chunked", method="POST")
UPGRADE = ("Connection: Upgrade", "Upgrade: h2c")


class AtOnce(Scripted):
    """Answers at the head, within the parser."""

    def __init__(self, connection: Responder, request: Request) -> None:
        super().__init__(connection, request)
        if request.path.startswith("/now"):
            self.answer(404)


def paths(made: Rig) -> list[str]:
    return [response.headers.get("x-path", str(response.status)) for response in made.responses()]


def test_a_request_passes_through_the_stages() -> None:
    """
    Idle, head, body, answering, idle.
    """

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


def test_pipelined_requests_wait_for_their_turn() -> None:
    """
    One is dispatched at a time, and the responses come in order.
    """

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


def test_few_requests_are_parsed_ahead() -> None:
    """
    The rest waits as bytes, which are counted, and reading stops.
    """

    async def test() -> None:
        made = rig()
        one = get("/a")
        many = one * 2000
        made.send(many)
        parsed = len(made.connection.pipeline.input.queue) + 1
        assert parsed <= SLICE_BYTES // len(one) + 1
        assert len(many) - SLICE_BYTES <= made.budget.used
        assert not made.transport.reads
        for _ in range(2000):
            made.calls[-1].answer()
        assert len(made.responses()) == 2000
        assert made.transport.reads
        assert made.budget.used == 0
        await end(made)

    run(test())


def test_requests_answered_within_the_parser_are_answered_in_order() -> None:
    """
    Between others that are answered later.
    """

    async def test() -> None:
        made = rig(AtOnce)
        made.send(get("/now1") + get("/now2") + get("/later3") + get("/now4") + post("/now5", b"abc"))
        assert paths(made) == ["/now1", "/now2"]
        made.calls[-1].answer()
        assert paths(made) == ["/now1", "/now2", "/later3", "/now4", "/now5"]
        assert made.connection.is_idle()
        await end(made)

    run(test())


@pytest.mark.parametrize("cause", ["stop", "place", "close"])
def test_nothing_is_dispatched_after_the_last_response(cause: str) -> None:
    """
    Of requests in the same slice: the last response said that the connection closes.
    """

    async def test() -> None:
        made = rig(AtOnce, is_reserved=cause == "place")
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
def test_a_stop_answers_everything_that_has_arrived(path: str) -> None:
    """
    The last response closes the connection; what comes after it is dropped.
    """

    async def test() -> None:
        made = rig(AtOnce)
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


def test_what_is_refused_is_answered_in_its_turn() -> None:
    """
    After all that came before it; then the connection ends.
    """

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


def test_a_queued_request_whose_body_is_broken_is_refused_in_its_turn() -> None:
    """
    It is not dispatched.
    """

    async def test() -> None:
        made = rig()
        made.send(get("/1") + CHUNKED + b"zz\r\n")
        made.calls[0].answer()
        assert len(made.calls) == 1
        assert paths(made) == ["/1", "400"]
        await end(made)

    run(test())


def test_a_broken_body_is_the_calls_to_answer() -> None:
    async def test() -> None:
        made = rig()
        made.send(CHUNKED + b"3\r\nabc\r\n", b"zz\r\n" + get("/2"))
        assert isinstance(made.calls[0].error, Refused)
        assert paths(made) == ["/chunked"]
        assert made.connection.stage is Stage.DRAINING
        await end(made)

    run(test())


def test_a_paused_body_waits_and_pipelined_requests_behind_it() -> None:
    """
    As where a body is decompressed over several turns.
    """

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
def test_an_end_while_the_body_is_paused(has_more: bool) -> None:
    """
    A whole body is answered; of half a one the client has left.
    """

    async def test() -> None:
        made = rig()
        made.send(post("/1", b"abc", length=6))
        made.connection.pipeline.pause_body()
        if has_more:
            made.send(b"def")
        made.finish()
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


def test_an_end_while_the_body_is_paused_and_the_response_comes_first() -> None:
    async def test() -> None:
        made = rig()
        made.send(post("/1", b"abc", length=6))
        made.connection.pipeline.pause_body()
        made.finish()
        made.calls[0].answer(413)
        assert paths(made) == ["/1"]
        await turns()
        assert made.transport.is_lost
        await end(made)

    run(test())


@pytest.mark.parametrize("count", [1, 3])
def test_all_requests_before_the_end_are_answered(count: int) -> None:
    async def test() -> None:
        made = rig()
        made.send(b"".join(get(f"/{number}") for number in range(count)))
        made.finish()
        for _ in range(count):
            assert not made.transport.is_closing()
            made.calls[-1].answer()
        assert len(made.responses()) == count
        await turns()
        assert made.transport.is_lost
        await end(made)

    run(test())


@pytest.mark.parametrize("sent", [b"", b"GET", get("/now")])
def test_an_end_closes_a_connection_that_owes_nothing(sent: bytes) -> None:
    async def test() -> None:
        made = rig(AtOnce)
        made.send(*[sent] * bool(sent))
        made.finish()
        await turns()
        assert made.transport.is_lost
        await end(made)

    run(test())


def test_offers_of_another_protocol_between_pipelined_requests() -> None:
    """
    In one slice: they are passed over, the second and the last too.
    """

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


def test_nothing_is_answered_while_the_client_does_not_take() -> None:
    """
    The next request waits, and so do its bytes.
    """

    async def test() -> None:
        made = rig(AtOnce)
        made.transport.takes = False
        made.send(get("/now1") + get("/now2") + get("/now3"))
        assert len(made.calls) == 1
        made.transport.take()
        assert len(made.calls) == 2
        made.transport.takes = True
        made.transport.take()
        assert paths(made) == ["/now1", "/now2", "/now3"]
        await end(made)

    run(test())


def overdue(seconds: float) -> Callable[[Rig], None]:
    return lambda made: made.connection.check(perf_counter() + seconds)


def body(made: Rig) -> None:
    made.send(post("/1", b"a", length=5))


def paused_body(made: Rig) -> None:
    body(made)
    made.connection.pipeline.pause_body()


def not_taken(made: Rig) -> None:
    made.transport.takes = False
    made.send(get("/1"))
    made.calls[0].answer(200, bytes(5000))


def answered_before_the_body(made: Rig) -> None:
    body(made)
    made.calls[0].answer(404)


STAGES: dict[str, Callable[[Rig], None]] = {
    "new": lambda _: None,
    "head": lambda made: made.send(b"GET"),
    "body": body,
    "paused body": paused_body,
    "held": lambda made: made.send(get("/1") + get("/2") * 500),
    "queued body": lambda made: made.send(get("/1") + post("/2", b"a", length=5)),
    "refused in the queue": lambda made: made.send(get("/1") + b"nonsense\r\n"),
    "answering": lambda made: made.send(get("/1")),
    "not taken": not_taken,
    "answered before the body": answered_before_the_body,
    "draining": lambda made: made.send(b"nonsense\r\n\r\n"),
}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_lost_connection_leaves_nothing(name: str, is_tls: bool) -> None:
    """
    In every stage; a call that was under way is told.
    """

    async def test() -> None:
        made = rig(is_tls=is_tls)
        STAGES[name](made)
        await end(made)
        told = [call for call in made.calls if "on_disconnect" in call.events]
        assert len(told) == (
            name in ("body", "paused body", "held", "queued body", "refused in the queue", "answering")
        )

    run(test())


@pytest.mark.parametrize("name", STAGES)
def test_a_stop_ends_every_stage(name: str) -> None:
    """
    What is idle at once, and the rest once the time to drain is over.
    """

    async def test() -> None:
        made = rig(limits=replace(LIMITS, drain_timeout_s=0.15))
        made.transport.takes = True
        STAGES[name](made)
        made.server_context.stopping.is_set = True
        made.connection.shutdown()
        for _ in range(300):
            if made.transport.is_lost or made.transport.has_ended_output:
                break
            await asyncio.sleep(0.01)
        assert made.transport.is_lost or made.transport.has_ended_output
        await end(made)

    run(test())


@pytest.mark.parametrize(
    ("name", "limit_s"),
    [("new", 10), ("head", 10), ("answered before the body", 10), ("not taken", 10), ("draining", 5)],
)
def test_every_stage_of_waiting_for_the_client_has_a_limit(name: str, limit_s: float) -> None:
    async def test() -> None:
        made = rig()
        STAGES[name](made)
        overdue(limit_s - 1)(made)
        assert not made.transport.is_closing()
        overdue(limit_s + 1)(made)
        assert made.transport.is_closing()
        await end(made)

    run(test())


def test_a_body_that_takes_too_long_is_told_to_the_call() -> None:
    async def test() -> None:
        made = rig()
        STAGES["body"](made)
        overdue(29)(made)
        assert made.calls[0].error is None
        overdue(31)(made)
        assert isinstance(made.calls[0].error, BodyTimeout)
        await end(made)

    run(test())


def test_a_response_may_take_as_long_as_it_likes() -> None:
    """
    It has limits of its own.
    """

    async def test() -> None:
        made = rig()
        STAGES["answering"](made)
        overdue(10_000)(made)
        assert not made.transport.is_closing()
        await end(made)

    run(test())


@pytest.mark.parametrize("is_body", [False, True])
def test_what_waited_for_its_turn_has_its_whole_time(is_body: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A head or body whose beginning was read with a request that took long to answer: nobody read the rest.
    """

    async def test() -> None:
        made = rig()
        now = perf_counter()
        made.send(get("/1") + (post("/2", b"a", length=5) if is_body else b"GET /2 HT"))
        with monkeypatch.context() as patched:
            patched.setattr("service.http.server.connection.request_pipeline.perf_counter", lambda: now + 100)
            made.calls[0].answer()
        overdue(101)(made)
        assert not made.transport.is_closing()
        assert made.calls[-1].error is None
        made.send(b"bcde" if is_body else b"TP/1.1\r\nHost: a\r\n\r\n")
        made.calls[1].answer()
        assert paths(made) == ["/1", "/2"]
        await end(made)

    run(test())


def test_a_body_for_which_there_is_no_room_is_refused_at_once() -> None:
    """
    In the middle of it: no more of it will come, and the call would wait until it is too late.
    """

    async def test() -> None:
        made = rig(budget=10)
        made.send(post("/1", b"abc", length=100))
        made.connection.pipeline.pause_body()
        made.send(b"x" * 50)
        assert isinstance(made.calls[0].error, Refused)
        assert made.calls[0].error.problem.kind == "too-many-bytes"
        await end(made)

    run(test())


def test_requests_for_which_there_is_no_room_are_refused_in_their_turn() -> None:
    async def test() -> None:
        made = rig(budget=10)
        made.send(get("/1"), get("/2"))
        made.calls[0].answer()
        assert paths(made) == ["/1", "503"]
        assert made.responses()[1].headers["retry-after"]
        await end(made)

    run(test())


def test_a_body_in_many_chunks_lets_others_run() -> None:
    """
    Only some slices are parsed in one turn; all of it arrives.
    """

    async def test() -> None:
        made = rig()
        parts = b"".join(b"%x\r\n%b\r\n" % (10, b"0123456789") for _ in range(3000))
        made.send(CHUNKED + parts + b"0\r\n\r\n" + get("/2"))
        at_once = len(made.calls[0].body)
        assert at_once < 20_000
        await turns(20)
        assert made.calls[0].body == b"0123456789" * 3000
        made.calls[0].answer()
        made.calls[1].answer()
        assert paths(made) == ["/chunked", "/2"]
        await end(made)

    run(test())


def test_a_short_rest_of_a_body_is_skipped_and_a_long_one_closes() -> None:
    """
    After a response that came before it.
    """

    async def test() -> None:
        for length, closes in ((2**20, False), (2**20 + 10, True)):
            made = rig()
            made.send(post("/1", b"abc", length=length))
            made.calls[0].answer(413)
            assert ("connection" in made.responses()[0].headers) is closes
            made.send(b"x" * (length - 3) + get("/2"))
            assert len(made.calls) == (1 if closes else 2)
            await end(made)

    run(test())


@pytest.mark.parametrize("begun", [False, True])
def test_100_continue_is_sent_once_and_before_the_response(begun: bool) -> None:
    async def test() -> None:
        made = rig()
        made.send(post("/1", b"", "Expect: 100-continue", length=3))
        if begun:
            made.connection.pipeline.write_head(200, b"content-length: 0\r\n")
        made.connection.pipeline.send_continue()
        made.connection.pipeline.send_continue()
        assert [one.status for one in made.responses()] == ([200] if begun else [100])
        await end(made)

    run(test())


def test_100_continue_is_not_sent_once_the_body_comes() -> None:
    async def test() -> None:
        made = rig()
        made.send(post("/1", b"a", "Expect: 100-continue", length=3))
        made.connection.pipeline.send_continue()
        assert made.transport.taken == b""
        await end(made)

    run(test())


def test_a_refused_client_is_told_why() -> None:
    """
    As soon as it is connected; what it sends is dropped.
    """

    async def test() -> None:
        made = rig()
        connection, transport = Connection(made.server_context, ServerState(), None, "Too many."), Transport()
        transport.protocol = connection
        connection.connection_made(transport)
        assert b"HTTP/1.1 503 " in transport.taken
        assert transport.has_ended_output
        connection.data_received(get("/1"))
        assert made.calls == []
        transport.abort()
        await end(made)

    run(test())


def test_reserved_connections_are_for_probes() -> None:
    """
    One for each, as others probe too.
    """

    async def test() -> None:
        made = rig(is_reserved=True)
        made.send(get("/livez"))
        made.calls[-1].answer()
        assert [one.status for one in made.responses()] == [200]
        await end(made)
        other = rig(is_reserved=True)
        other.send(get("/other"))
        assert [one.status for one in other.responses()] == [503]
        assert not other.calls
        await end(other)

    run(test())


def test_a_draining_connection_reads_only_so_much() -> None:
    async def test() -> None:
        made = rig()
        made.send(b"nonsense\r\n\r\n")
        for _ in range(17):
            made.connection.data_received(bytes(2**20))
        assert made.transport.is_lost
        await end(made)

    run(test())


def test_an_unknown_status_has_a_status_line() -> None:
    async def test() -> None:
        made = rig()
        made.send(get("/1"))
        made.calls[0].answer(499)
        assert made.responses()[0].status == 499
        await end(made)

    run(test())


def test_tls_ends_in_both_directions_at_once() -> None:
    """
    The transport is not asked for what it cannot do, which it would log for every client.
    """

    async def test() -> None:
        made = rig(is_tls=True)
        made.send(get("/1"))
        assert made.connection.pipeline.scheme == "https"
        assert made.connection.eof_received() is False
        await end(made)

    run(test())


def test_a_body_through_asgi_spans_slices_and_turns() -> None:
    """
    Larger than what waits for the application, with requests behind it.
    """

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
