import asyncio
import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest

from service.core.errors import DeadlineExceeded, Overloaded
from service.inference import thread_pool as workers_module
from service.inference.thread_pool import ThreadPool

Result = TypeVar("Result")

LONG_S = 30.0
"""No test waits that long; a test that would hang fails then."""

SHORT_S = 0.01


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Blocks work until it is set; set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def behind(gate: threading.Event, result: Result) -> Callable[[], Result]:
    """Return work that ends when the gate is set."""

    def work() -> Result:
        assert gate.wait(LONG_S)
        return result

    return work


async def started(thread_pool: ThreadPool, gate: threading.Event, result: Result) -> "asyncio.Task[Result]":
    """Start work behind a gate, and return once a thread runs it."""
    running = threading.Event()

    def work() -> Result:
        running.set()
        return behind(gate, result)()

    task = asyncio.create_task(thread_pool.run(work))
    assert await asyncio.to_thread(running.wait, LONG_S)
    return task


async def queued(
    thread_pool: ThreadPool, work: Callable[[], Result], priority: int = 0, timeout_s: float | None = None
) -> "asyncio.Task[Result]":
    """Enqueue work, and return once it is in the queue."""
    task = asyncio.create_task(thread_pool.run(work, timeout_s=timeout_s, priority=priority))
    await asyncio.sleep(0)  # the task enqueues the work before it first waits
    return task


def test_work_runs_in_another_thread_and_returns_its_result() -> None:
    """The event loop is not blocked."""
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=LONG_S)

    thread = asyncio.run(thread_pool.run(threading.get_ident))

    thread_pool.close()
    assert thread != threading.get_ident()


def test_all_threads_run_at_once(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=3, max_waiting=0, timeout_s=LONG_S)

    async def scenario() -> list[int]:
        tasks = [await started(thread_pool, gate, number) for number in range(3)]
        gate.set()
        return await asyncio.gather(*tasks)

    results = asyncio.run(scenario())

    thread_pool.close()
    assert results == [0, 1, 2]


def test_work_beyond_the_capacity_is_refused_at_once(gate: threading.Event) -> None:
    """The error has the number of pending jobs."""
    thread_pool = ThreadPool(threads=1, max_waiting=2, timeout_s=LONG_S)
    began: list[str] = []

    async def scenario() -> list[str]:
        first = await started(thread_pool, gate, "first")
        waiting = [await queued(thread_pool, behind(gate, name)) for name in ("second", "third")]
        with pytest.raises(Overloaded) as caught:
            await thread_pool.run(lambda: began.append("fourth"))
        assert caught.value.pending == 3
        gate.set()
        return await asyncio.gather(first, *waiting)

    results = asyncio.run(scenario())

    thread_pool.close()
    assert results == ["first", "second", "third"]
    assert began == []


def test_without_a_queue_work_that_would_wait_is_refused(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=LONG_S)

    async def scenario() -> None:
        task = await started(thread_pool, gate, None)
        with pytest.raises(Overloaded):
            await thread_pool.run(int)
        gate.set()
        await task

    asyncio.run(scenario())
    thread_pool.close()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyError("missing"), TimeoutError("its own")])
def test_an_exception_of_the_work_is_raised(error: Exception) -> None:
    """Its own TimeoutError is not a missed deadline."""
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=LONG_S)

    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        asyncio.run(thread_pool.run(work))
    thread_pool.close()
    assert (type(caught.value), caught.value.args) == (type(error), error.args)


def test_a_missed_deadline_is_raised_while_the_work_goes_on(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=SHORT_S)

    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(thread_pool.run(behind(gate, "late")))
    gate.set()
    thread_pool.close()
    assert caught.value.limit_s == SHORT_S


def test_late_work_occupies_its_thread_until_it_ends(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=SHORT_S)

    async def scenario() -> None:
        with pytest.raises(DeadlineExceeded):
            await thread_pool.run(behind(gate, "late"))
        with pytest.raises(Overloaded):
            await thread_pool.run(int)

    asyncio.run(scenario())
    gate.set()
    thread_pool.close()


def test_work_that_missed_its_deadline_in_the_queue_is_never_started(gate: threading.Event) -> None:
    """It leaves the queue at once."""
    thread_pool = ThreadPool(threads=1, max_waiting=1, timeout_s=SHORT_S)
    began: list[str] = []

    async def scenario() -> None:
        with pytest.raises(DeadlineExceeded):
            await thread_pool.run(behind(gate, "first"))
        for name in ("second", "third"):  # there is one place: the second's must be free again
            with pytest.raises(DeadlineExceeded):
                await thread_pool.run(lambda name=name: began.append(name))  # type: ignore[misc]

    asyncio.run(scenario())
    gate.set()
    thread_pool._pool.shutdown(wait=True)
    assert began == []


@pytest.mark.parametrize("outcome", ["answer", "error"])
def test_capacity_is_released_after_each_job(outcome: str) -> None:
    """Whether it succeeds or fails."""
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=LONG_S)

    def work() -> str:
        if outcome == "error":
            raise ValueError(outcome)
        return outcome

    async def scenario() -> list[str]:
        ends = []
        for _ in range(20):
            try:
                ends.append(await thread_pool.run(work))
            except ValueError as error:
                ends.append(str(error))
        return ends

    ends = asyncio.run(scenario())

    thread_pool.close()
    assert ends == [outcome] * 20


def test_a_cancelled_job_leaves_the_queue(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=1, timeout_s=LONG_S)

    async def scenario() -> str:
        first = await started(thread_pool, gate, "first")
        cancelled = await queued(thread_pool, behind(gate, "gone"))
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        second = await queued(thread_pool, behind(gate, "second"))
        gate.set()
        return await first + await second

    results = asyncio.run(scenario())

    thread_pool.close()
    assert results == "firstsecond"


def test_closing_finishes_running_work_and_cancels_waiting_work(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=1, timeout_s=LONG_S)
    began: list[str] = []

    async def scenario() -> str:
        running = await started(thread_pool, gate, "done")
        waiting = await queued(thread_pool, lambda: began.append("waiting"))
        thread_pool.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not running.done()
        gate.set()
        return await running

    result = asyncio.run(scenario())

    assert result == "done"
    assert began == []


def test_closing_does_not_wait(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=LONG_S)

    async def scenario() -> bool:
        task = await started(thread_pool, gate, None)
        thread_pool.close()
        was_done = task.done()
        gate.set()
        await task
        return was_done

    assert asyncio.run(scenario()) is False


def order(gate: threading.Event, priorities: list[int]) -> list[int]:
    """Return the order in which one thread runs jobs of these priorities, as list indices."""
    thread_pool = ThreadPool(threads=1, max_waiting=len(priorities), timeout_s=LONG_S)
    taken: list[int] = []

    async def scenario() -> None:
        first = await started(thread_pool, gate, None)
        waiting = [
            await queued(thread_pool, lambda place=place: taken.append(place), priority)  # type: ignore[misc]
            for place, priority in enumerate(priorities)
        ]
        gate.set()
        await asyncio.gather(first, *waiting)

    asyncio.run(scenario())
    thread_pool.close()
    return taken


def test_waiting_work_runs_by_priority(gate: threading.Event) -> None:
    """1 first and 10 last."""
    priorities = random.Random(0).sample(range(1, 11), 10)

    assert [priorities[place] for place in order(gate, priorities)] == list(range(1, 11))


def test_work_of_equal_priority_runs_in_order_of_arrival(gate: threading.Event) -> None:
    assert order(gate, [2, 1, 2, 1, 2, 1]) == [1, 3, 5, 0, 2, 4]


@pytest.mark.parametrize("priority", [0, -1, 11, 2**64])
def test_an_invalid_priority_counts_as_the_default(gate: threading.Event, priority: int) -> None:
    """After 4, before 6, and with 5 in order of arrival."""
    assert order(gate, [6, 5, priority, 5, 4]) == [4, 1, 2, 3, 0]


def test_a_full_queue_refuses_work_of_any_priority(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=1, timeout_s=LONG_S)

    async def scenario() -> None:
        first = await started(thread_pool, gate, None)
        waiting = await queued(thread_pool, int, priority=10)
        with pytest.raises(Overloaded):
            await thread_pool.run(int, priority=1)
        gate.set()
        await asyncio.gather(first, waiting)

    asyncio.run(scenario())
    thread_pool.close()


@pytest.mark.parametrize(
    ("own_s", "asked_s", "limit_s"),
    [(LONG_S, SHORT_S, SHORT_S), (SHORT_S, LONG_S, SHORT_S), (SHORT_S, None, SHORT_S), (LONG_S, 0, 0)],
)
def test_a_job_can_shorten_its_deadline_only(
    gate: threading.Event, own_s: float, asked_s: float | None, limit_s: float
) -> None:
    """The error has the deadline that applied."""
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=own_s)

    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(thread_pool.run(behind(gate, "late"), timeout_s=asked_s))

    gate.set()
    thread_pool.close()
    assert caught.value.limit_s == limit_s


def test_an_expired_job_leaves_the_queue_and_keeps_the_order(gate: threading.Event) -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=3, timeout_s=LONG_S)
    taken: list[str] = []

    async def scenario() -> None:
        first = await started(thread_pool, gate, None)
        waiting = [await queued(thread_pool, lambda: taken.append("late"), 9)]
        expiring = await queued(thread_pool, lambda: taken.append("expired"), 1, SHORT_S)
        waiting.append(await queued(thread_pool, lambda: taken.append("early"), 2))
        with pytest.raises(Overloaded):
            await thread_pool.run(int)
        with pytest.raises(DeadlineExceeded) as caught:
            await expiring
        assert caught.value.limit_s == SHORT_S
        waiting.append(await queued(thread_pool, lambda: taken.append("between"), 3))
        gate.set()
        await asyncio.gather(first, *waiting)

    asyncio.run(scenario())
    thread_pool.close()
    assert taken == ["early", "between", "late"]


def test_cancelled_work_is_never_started_and_is_released(gate: threading.Event) -> None:
    """Its body is freed while the thread is still busy."""
    thread_pool = ThreadPool(threads=1, max_waiting=1, timeout_s=LONG_S)
    began: list[str] = []

    class Body:
        pass

    async def scenario() -> None:
        first = await started(thread_pool, gate, None)
        body = Body()
        held = weakref.ref(body)
        cancelled = await queued(thread_pool, lambda body=body: began.append(repr(body)))  # type: ignore[misc]
        del body
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        del cancelled
        await asyncio.sleep(0)  # the event loop drops the task
        gc.collect()
        assert held() is None
        gate.set()
        await first

    asyncio.run(scenario())
    thread_pool._pool.shutdown(wait=True)
    assert began == []


def test_a_thread_checks_the_deadline_itself(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop may be too busy to end a wait."""
    thread_pool = ThreadPool(threads=1, max_waiting=1, timeout_s=LONG_S)
    now = 1000.0
    monkeypatch.setattr(workers_module, "monotonic", lambda: now)
    began: list[str] = []

    async def scenario() -> None:
        nonlocal now
        first = await started(thread_pool, gate, None)
        waiting = await queued(thread_pool, lambda: began.append("late"), timeout_s=LONG_S / 2)
        now += LONG_S / 2
        gate.set()
        with pytest.raises(DeadlineExceeded) as caught:
            await waiting
        assert caught.value.limit_s == LONG_S / 2
        await first

    asyncio.run(scenario())
    thread_pool.close()
    assert began == []


def test_an_error_does_not_hold_the_body() -> None:
    """Without a garbage collection: many large bodies may be refused."""
    thread_pool = ThreadPool(threads=1, max_waiting=0, timeout_s=LONG_S)

    class Body:
        pass

    async def scenario() -> "weakref.ref[Body]":
        body = Body()

        def work() -> None:
            raise ValueError(repr(body))

        with pytest.raises(ValueError, match="Body"):
            await thread_pool.run(work)
        return weakref.ref(body)

    gc.disable()
    try:
        held = asyncio.run(scenario())
        thread_pool._pool.shutdown(wait=True)
        assert held() is None
    finally:
        gc.enable()


def test_many_jobs_on_many_threads_run_once_each() -> None:
    thread_pool = ThreadPool(threads=4, max_waiting=200, timeout_s=LONG_S)
    chance = random.Random(0)

    async def scenario() -> list[int]:
        work = [thread_pool.run(lambda n=n: n, priority=chance.randrange(12)) for n in range(200)]  # type: ignore[misc]
        return list(await asyncio.gather(*work))

    results = [asyncio.run(scenario()) for _ in range(3)]

    thread_pool.close()
    assert results == [list(range(200))] * 3


def test_a_closed_pool_refuses_work() -> None:
    thread_pool = ThreadPool(threads=1, max_waiting=1, timeout_s=LONG_S)

    thread_pool.close()

    with pytest.raises(Overloaded):
        asyncio.run(thread_pool.run(int))


def test_no_result_or_error_waits_for_the_garbage_collector() -> None:
    """
    A body of 16 MB that stayed until the next collection filled a container after twenty refused requests.
    """

    class Large:
        pass

    class Refused(Exception):
        pass

    def keep(large: Large) -> Large:
        return large

    def refuse(large: Large) -> Large:
        raise Refused(id(large))

    async def ask() -> None:
        thread_pool = ThreadPool(1, 1, LONG_S)
        freed = []
        for work in (keep, refuse):
            large = Large()
            freed.append(weakref.ref(large))
            task = asyncio.create_task(thread_pool.run(partial(work, large)))
            if work is keep:
                assert await task is large
            else:
                with pytest.raises(Refused) as caught:
                    await task
                del caught
            del large, task
            await asyncio.sleep(0)
        thread_pool.close()
        await asyncio.to_thread(thread_pool._pool.shutdown)
        assert [reference() for reference in freed] == [None, None]

    gc.collect()
    gc.disable()
    try:
        asyncio.run(ask())
    finally:
        gc.enable()
