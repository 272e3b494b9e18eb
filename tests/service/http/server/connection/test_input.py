"""`input`: slices, held bytes, memory budget."""

from service.http.server.connection.input import SLICE_BYTES
from service.http.server.request import Refused
from tests.service.http.server.connection.requests import CHUNKED, get, paths, post
from tests.service.http.server.fakes import end, rig, run, turns


def test_one_slice_is_parsed_ahead() -> None:
    """Further bytes are held and counted, and reading pauses."""

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


def test_body_beyond_the_memory_budget_is_refused_at_once() -> None:
    async def test() -> None:
        made = rig(budget=10)
        made.send(post("/1", b"abc", length=100))
        made.connection.pipeline.pause_body()
        made.send(b"x" * 50)
        assert isinstance(made.calls[0].error, Refused)
        assert made.calls[0].error.problem.kind == "too-many-bytes"
        await end(made)

    run(test())


def test_requests_beyond_the_memory_budget_are_refused_in_order() -> None:
    async def test() -> None:
        made = rig(budget=10)
        made.send(get("/1"), get("/2"))
        made.calls[0].answer()
        assert paths(made) == ["/1", "503"]
        assert made.responses()[1].headers["retry-after"]
        await end(made)

    run(test())


def test_body_in_many_chunks_is_parsed_over_several_iterations() -> None:
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
