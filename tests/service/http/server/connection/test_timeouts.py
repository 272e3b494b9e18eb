"""`timeouts` and `closing`: every stage ends."""

import asyncio
from dataclasses import replace
from time import perf_counter

import pytest

from service.core.errors import BodyTimeout
from tests.service.http.server.connection.requests import (
    STAGES,
    get,
    overdue,
    paths,
    post,
)
from tests.service.http.server.fakes import LIMITS, end, rig, run


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("is_tls", [False, True])
def test_disconnect_releases_everything(name: str, is_tls: bool) -> None:
    """In every stage; the call in progress is notified."""

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
def test_shutdown_ends_every_stage(name: str) -> None:
    """Idle connections at once, others after the drain timeout."""

    async def test() -> None:
        made = rig(limits=replace(LIMITS, drain_timeout_s=0.15))
        made.transport.accepts = True
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
def test_each_wait_for_the_client_has_a_limit(name: str, limit_s: float) -> None:
    async def test() -> None:
        made = rig()
        STAGES[name](made)
        overdue(limit_s - 1)(made)
        assert not made.transport.is_closing()
        overdue(limit_s + 1)(made)
        assert made.transport.is_closing()
        await end(made)

    run(test())


def test_slow_body_is_reported_to_the_call() -> None:
    async def test() -> None:
        made = rig()
        STAGES["body"](made)
        overdue(29)(made)
        assert made.calls[0].error is None
        overdue(31)(made)
        assert isinstance(made.calls[0].error, BodyTimeout)
        await end(made)

    run(test())


def test_answering_has_no_limit() -> None:
    """Calls have time limits of their own."""

    async def test() -> None:
        made = rig()
        STAGES["answering"](made)
        overdue(10_000)(made)
        assert not made.transport.is_closing()
        await end(made)

    run(test())


@pytest.mark.parametrize("is_body", [False, True])
def test_time_limit_starts_after_the_previous_response(
    is_body: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a head or body whose first bytes were received while another request was answered."""

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


def test_dropped_input_has_a_limit() -> None:
    async def test() -> None:
        made = rig()
        made.send(b"nonsense\r\n\r\n")
        for _ in range(17):
            made.connection.data_received(bytes(2**20))
        assert made.transport.is_lost
        await end(made)

    run(test())


def test_tls_is_not_half_closed() -> None:
    """Its transport cannot be."""

    async def test() -> None:
        made = rig(is_tls=True)
        made.send(get("/1"))
        assert made.connection.pipeline.scheme == "https"
        assert made.connection.eof_received() is False
        await end(made)

    run(test())
