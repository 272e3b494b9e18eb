"""`responses`: status lines, 100 Continue, keep-alive, refusals."""

import pytest
from uvicorn.server import ServerState

from service.http.server.connection.protocol import Connection
from tests.service.http.server.connection.requests import get, post
from tests.service.http.server.fakes import end, rig, run
from tests.service.http.server.transports import Transport


def test_short_rest_of_a_body_is_skipped_and_a_long_one_closes() -> None:
    """After a response that was sent before the body was complete."""

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


def test_100_continue_is_not_sent_within_the_body() -> None:
    async def test() -> None:
        made = rig()
        made.send(post("/1", b"a", "Expect: 100-continue", length=3))
        made.connection.pipeline.send_continue()
        assert made.transport.received == b""
        await end(made)

    run(test())


def test_refused_client_gets_the_reason() -> None:
    """As soon as it is connected; its input is dropped."""

    async def test() -> None:
        made = rig()
        connection, transport = Connection(made.server_context, ServerState(), None, "Too many."), Transport()
        transport.protocol = connection
        connection.connection_made(transport)
        assert b"HTTP/1.1 503 " in transport.received
        assert transport.has_ended_output
        connection.data_received(get("/1"))
        assert made.calls == []
        transport.abort()
        await end(made)

    run(test())


def test_reserved_connection_answers_one_probe() -> None:
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


def test_unregistered_status_has_a_status_line() -> None:
    async def test() -> None:
        made = rig()
        made.send(get("/1"))
        made.calls[0].answer(499)
        assert made.responses()[0].status == 499
        await end(made)

    run(test())
