"""`service/http/messages/response_cache.py`: shared renderings, eviction, memory budget."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from service.core.errors import DeadlineExceeded, Overloaded, TooManyBytes
from service.http.messages.cache_keys import Key, Version
from service.http.messages.response_cache import RenderedBody, ResponseCache
from service.inference.thread_pool import ThreadPool
from service.memory.budget import Budget

PATIENCE_S = 10.0

ONE, TWO = Version("ink", "1", "a"), Version("ink", "2", "b")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that blocked renderings wait for; it is set at the end of a test."""
    event = threading.Event()
    yield event
    event.set()


class Renderer:
    """Renders bodies of one size, and counts how often."""

    def __init__(self, size: int, gate: threading.Event | None = None) -> None:
        self.size = size
        self.times = 0
        self.begun = threading.Event()
        self._gate = gate

    def __call__(self) -> bytes:
        self.times += 1
        self.begun.set()
        if self._gate:
            assert self._gate.wait(PATIENCE_S)
        return b"x" * self.size


def cache(
    budget: Budget | None = None, retained: int = 1000, waiting: int = 8, timeout_s: float = PATIENCE_S
) -> ResponseCache:
    return ResponseCache(ThreadPool(1, waiting, timeout_s), budget or Budget(4000), retained)


def get(of: ResponseCache, key: Key, render: Callable[[], bytes], cost: int = 400) -> RenderedBody:
    return asyncio.run(asyncio.wait_for(of.get(key, render, cost), PATIENCE_S))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, PATIENCE_S))


async def waiting(of: ResponseCache, key: Key, render: Callable[[], bytes]) -> "asyncio.Task[RenderedBody]":
    """Start a request for a body."""
    task = asyncio.create_task(of.get(key, render, 400))
    await asyncio.sleep(0)
    return task


def test_concurrent_requests_share_a_rendering(gate: threading.Event) -> None:
    """And one bytes object, counted once until the last release."""
    budget = Budget(4000)
    own = cache(budget, retained=0)
    render = Renderer(300, gate)

    async def ask() -> None:
        tasks = [await waiting(own, Key("a"), render) for _ in range(5)]
        gate.set()
        shares = [await task for task in tasks]
        assert len({id(share.body) for share in shares}) == 1
        later = await own.get(Key("a"), render, 400)
        assert later.body is shares[0].body
        for share in [*shares, later]:
            assert (budget.used, own.alive_bytes) == (300, 300)
            share.release()
            share.release()

    run(ask())

    assert (render.times, budget.used, own.alive_bytes) == (1, 0, 0)


def test_small_bodies_are_retained_in_lru_order() -> None:
    own = cache(retained=700)
    renders = {name: Renderer(300) for name in "abc"}
    for name in "abac":  # b is the least recently used when c comes
        get(own, Key(name), renders[name]).release()

    assert own.retained_bytes == own.alive_bytes == 600
    assert own.find(Key("b")) is None
    for name in "ab":
        get(own, Key(name), renders[name]).release()
    assert [renders[name].times for name in "abc"] == [1, 2, 1]


def test_an_evicted_body_is_shared_until_it_is_sent() -> None:
    budget = Budget(4000)
    own = cache(budget, retained=300)
    render = Renderer(300)
    sending = get(own, Key("a"), render)
    get(own, Key("b"), Renderer(300)).release()

    joined = get(own, Key("a"), render)

    assert joined.body is sending.body
    assert (render.times, budget.used, own.retained_bytes) == (1, 600, 300)
    sending.release()
    assert budget.used == 600
    joined.release()
    assert budget.used == 300


def test_a_body_beyond_the_share_of_the_cache_is_refused() -> None:
    budget = Budget(1000)
    own = cache(budget, retained=0)
    first = get(own, Key("a"), Renderer(300), 300)
    render = Renderer(300)

    with pytest.raises(TooManyBytes):
        get(own, Key("b"), render, 300)

    assert (render.times, budget.used) == (0, 300)
    first.release()
    get(own, Key("b"), render, 300).release()
    assert budget.used == 0


def test_a_body_beyond_the_memory_budget_is_refused() -> None:
    budget = Budget(1000)
    budget.acquire(900)
    own = cache(budget)

    with pytest.raises(TooManyBytes):
        get(own, Key("a"), Renderer(200), 200)

    assert (budget.used, own.alive_bytes) == (900, 0)


def test_retained_bodies_are_evicted_when_memory_is_needed() -> None:
    """Bodies that are being sent are not."""
    budget = Budget(1000)
    own = cache(budget)
    sending = get(own, Key("sending"), Renderer(200), 200)
    get(own, Key("idle"), Renderer(200), 200).release()

    get(own, Key("new"), Renderer(200), 200).release()
    assert own.find(Key("idle")) is None
    budget.acquire(800)

    assert (budget.used, own.retained_bytes) == (1000, 200)
    assert own.find(Key("new")) is None
    assert sending.body == b"x" * 200
    assert not budget.try_acquire(1)


def test_a_body_larger_than_its_estimate_is_counted_or_refused() -> None:
    budget = Budget(1000)
    own = cache(budget)

    share = get(own, Key("a"), Renderer(400), 1)
    assert budget.used == 400
    with pytest.raises(TooManyBytes):
        get(own, Key("b"), Renderer(400), 1)

    assert budget.used == 400
    share.release()


def test_a_failed_rendering_is_not_cached(gate: threading.Event) -> None:
    """All waiting requests get the error."""
    budget = Budget(4000)
    own = cache(budget)

    def fail() -> bytes:
        assert gate.wait(PATIENCE_S)
        raise ValueError

    async def ask() -> None:
        tasks = [await waiting(own, Key("a"), fail) for _ in range(3)]
        gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ValueError] * 3

    run(ask())

    assert budget.used == 0
    assert get(own, Key("a"), Renderer(10)).body == b"x" * 10


def test_a_queued_rendering_without_users_is_cancelled(gate: threading.Event) -> None:
    own = cache(waiting=2)
    busy, left, requested_output = Renderer(10, gate), Renderer(10), Renderer(10)

    async def ask() -> None:
        first = await waiting(own, Key("busy"), busy)
        assert await asyncio.to_thread(busy.begun.wait, PATIENCE_S)
        alone = await waiting(own, Key("left"), left)
        pair = [await waiting(own, Key("wanted"), requested_output) for _ in range(2)]
        with pytest.raises(Overloaded):
            await own.get(Key("one too many"), Renderer(10), 10)
        alone.cancel()
        pair[0].cancel()
        await asyncio.wait([alone, pair[0]])
        more = await waiting(own, Key("another"), Renderer(10))
        gate.set()
        for task in (first, pair[1], more):
            (await task).release()

    run(ask())

    assert (left.times, requested_output.times) == (0, 1)


def test_a_started_rendering_without_users_is_retained(gate: threading.Event) -> None:
    """If it is too large to be retained, its memory is released."""
    for retained, times in ((1000, 1), (0, 2)):
        budget = Budget(4000)
        own = cache(budget, retained=retained)
        render = Renderer(300, gate)
        gate.clear()

        async def leave(of: ResponseCache = own, render: Renderer = render) -> None:
            task = await waiting(of, Key("a"), render)
            assert await asyncio.to_thread(render.begun.wait, PATIENCE_S)
            task.cancel()
            await asyncio.wait([task])

        run(leave())
        gate.set()
        get(own, Key("next"), Renderer(1)).release()  # the one thread is done with the other
        assert budget.used == (301 if retained else 0)
        get(own, Key("a"), render).release()

        assert render.times == times


def test_a_rendering_times_out(gate: threading.Event) -> None:
    """Its memory is released when it ends."""
    budget = Budget(4000)
    own = cache(budget, retained=0, timeout_s=0.05)
    render = Renderer(300, gate)

    with pytest.raises(DeadlineExceeded):
        get(own, Key("a"), render)

    assert budget.used == 400
    gate.set()
    while budget.used:
        render.begun.wait(0.01)


def test_the_etag_depends_on_the_content_and_outlives_the_body() -> None:
    own = cache(retained=0)
    for name, size in (("a", 10), ("b", 10), ("c", 11)):
        get(own, Key(name), Renderer(size)).release()

    a, b, c = (own.info(Key(name)) for name in "abc")

    assert a == b
    assert a
    assert c
    assert a.etag != c.etag
    assert (a.length, c.length) == (10, 11)
    assert own.info(Key("unknown")) is None
    assert own.find(Key("a")) is None


def test_bodies_of_unloaded_versions_are_evicted() -> None:
    """Bodies that are being sent, and those without a version, stay."""
    budget = Budget(4000)
    own = cache(budget)
    own.serve_only([ONE, TWO])
    keys = [Key("a", ONE), Key("a", TWO), Key("a")]
    shares = [get(own, key, Renderer(100)) for key in keys]
    shares[1].release()
    shares[2].release()

    own.serve_only([TWO._replace(sha256="c")])

    assert (budget.used, own.retained_bytes) == (200, 100)
    assert [own.info(key) is None for key in keys] == [True, True, False]
    shares[0].release()
    assert (budget.used, own.retained_bytes) == (100, 100)


def test_a_body_of_a_version_unloaded_during_rendering_is_not_retained() -> None:
    budget = Budget(4000)
    own = cache(budget)
    own.serve_only([TWO])

    share = get(own, Key("a", ONE), Renderer(100))

    assert share.body == b"x" * 100
    assert own.retained_bytes == 0
    share.release()
    assert budget.used == 0
    assert own.info(Key("a", ONE)) is None


def test_the_number_of_known_etags_is_limited() -> None:
    own = cache(retained=0)

    async def ask() -> None:
        for number in range(1200):
            (await own.get(Key("a", details=(number,)), Renderer(1), 1)).release()

    run(ask())

    assert sum(own.info(Key("a", details=(number,))) is not None for number in range(1200)) == 1024


def test_concurrent_threads_release_all_memory() -> None:
    budget = Budget(4000)
    own = cache(budget, retained=500, waiting=100)

    async def ask(seed: int) -> None:
        for number in range(200):
            share = await own.get(Key("a", details=((seed * number) % 7,)), Renderer(100), 150)
            if number % 5 == 0:
                own.reclaim(100)
            await asyncio.sleep(0)
            assert len(share.body) == 100
            share.release()

    threads = [threading.Thread(target=lambda seed=seed: asyncio.run(ask(seed))) for seed in (1, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert budget.used == own.alive_bytes == own.retained_bytes <= 500
    own.reclaim(10_000)
    assert budget.used == own.alive_bytes == own.retained_bytes == 0
