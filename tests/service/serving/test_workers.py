import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from service.core.errors import DeadlineExceeded, Overloaded
from service.serving.workers import Workers

Answer = TypeVar("Answer")

LONG_S = 30.0
"""No test waits that long; a test that would hang fails then."""

SHORT_S = 0.01


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What blocked work waits for; opened at the end whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def behind(gate: threading.Event, answer: Answer) -> Callable[[], Answer]:
    """Return work that ends when the gate is opened."""

    def work() -> Answer:
        assert gate.wait(LONG_S)
        return answer

    return work


async def started(workers: Workers, gate: threading.Event, answer: Answer) -> "asyncio.Task[Answer]":
    """Start work behind a gate, and return once a thread is busy with it."""
    running = threading.Event()

    def work() -> Answer:
        running.set()
        return behind(gate, answer)()

    task = asyncio.create_task(workers.run(work))
    assert await asyncio.to_thread(running.wait, LONG_S)
    return task


async def queued(workers: Workers, work: Callable[[], Answer]) -> "asyncio.Task[Answer]":
    """Put work into the queue, and return once it has its place."""
    task = asyncio.create_task(workers.run(work))
    await asyncio.sleep(0)  # lets the task begin; its place is taken before it first waits
    return task


def test_work_runs_in_another_thread_and_its_answer_comes_back() -> None:
    """
    The event loop stays free meanwhile.
    """
    workers = Workers(threads=1, max_waiting=0, timeout_s=LONG_S)

    thread = asyncio.run(workers.run(threading.get_ident))

    workers.close()
    assert thread != threading.get_ident()


def test_as_much_runs_at_once_as_there_are_threads(gate: threading.Event) -> None:
    """
    Three pieces of work are all running before any of them ends.
    """
    workers = Workers(threads=3, max_waiting=0, timeout_s=LONG_S)

    async def scenario() -> list[int]:
        tasks = [await started(workers, gate, number) for number in range(3)]
        gate.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(scenario())

    workers.close()
    assert answers == [0, 1, 2]


def test_one_more_than_there_are_places_is_turned_away_at_once(gate: threading.Event) -> None:
    """
    Nothing of it is started, and the error says how many are there already.
    """
    workers = Workers(threads=1, max_waiting=2, timeout_s=LONG_S)
    began: list[str] = []

    async def scenario() -> list[str]:
        first = await started(workers, gate, "first")
        waiting = [await queued(workers, behind(gate, name)) for name in ("second", "third")]
        with pytest.raises(Overloaded) as caught:
            await workers.run(lambda: began.append("fourth"))
        assert caught.value.taken == 3
        gate.set()
        return await asyncio.gather(first, *waiting)

    answers = asyncio.run(scenario())

    workers.close()
    assert answers == ["first", "second", "third"]
    assert began == []


def test_without_a_queue_only_running_work_has_a_place(gate: threading.Event) -> None:
    """
    `max_waiting` of 0 turns away whatever would have to wait.
    """
    workers = Workers(threads=1, max_waiting=0, timeout_s=LONG_S)

    async def scenario() -> None:
        task = await started(workers, gate, None)
        with pytest.raises(Overloaded):
            await workers.run(int)
        gate.set()
        await task

    asyncio.run(scenario())
    workers.close()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyError("missing"), TimeoutError("its own")])
def test_what_the_work_raises_is_raised(error: Exception) -> None:
    """
    The caller gets the exception itself; a TimeoutError of the work's own is no missed deadline.
    """
    workers = Workers(threads=1, max_waiting=0, timeout_s=LONG_S)

    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        asyncio.run(workers.run(work))
    workers.close()
    assert (type(caught.value), caught.value.args) == (type(error), error.args)


def test_answer_that_is_late_is_not_waited_for(gate: threading.Event) -> None:
    """
    The caller hears of it when the deadline passes, though the work goes on.
    """
    workers = Workers(threads=1, max_waiting=0, timeout_s=SHORT_S)

    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(workers.run(behind(gate, "late")))
    gate.set()
    workers.close()
    assert caught.value.limit_s == SHORT_S


def test_late_work_keeps_its_place_until_it_ends(gate: threading.Event) -> None:
    """
    Its thread is busy all the same, so the next one must not be promised it.
    """
    workers = Workers(threads=1, max_waiting=0, timeout_s=SHORT_S)

    async def scenario() -> None:
        with pytest.raises(DeadlineExceeded):
            await workers.run(behind(gate, "late"))
        with pytest.raises(Overloaded):
            await workers.run(int)

    asyncio.run(scenario())
    gate.set()
    workers.close()


def test_work_that_missed_its_deadline_in_the_queue_is_never_started(gate: threading.Event) -> None:
    """
    Nobody waits for its answer any more; its place is given back at once.
    """
    workers = Workers(threads=1, max_waiting=1, timeout_s=SHORT_S)
    began: list[str] = []

    async def scenario() -> None:
        with pytest.raises(DeadlineExceeded):
            await workers.run(behind(gate, "first"))
        for name in ("second", "third"):  # there is one place: the second's must be free again
            with pytest.raises(DeadlineExceeded):
                await workers.run(lambda name=name: began.append(name))  # type: ignore[misc]

    asyncio.run(scenario())
    gate.set()
    workers._pool.shutdown(wait=True)
    assert began == []


@pytest.mark.parametrize("outcome", ["answer", "error"])
def test_places_are_given_back(outcome: str) -> None:
    """
    Many more pieces of work than places, one after the other, whether they end well or not.
    """
    workers = Workers(threads=1, max_waiting=0, timeout_s=LONG_S)

    def work() -> str:
        if outcome == "error":
            raise ValueError(outcome)
        return outcome

    async def scenario() -> list[str]:
        ends = []
        for _ in range(20):
            try:
                ends.append(await workers.run(work))
            except ValueError as error:
                ends.append(str(error))
        return ends

    ends = asyncio.run(scenario())

    workers.close()
    assert ends == [outcome] * 20


def test_place_of_a_caller_that_went_away_is_given_back(gate: threading.Event) -> None:
    """
    A cancelled request leaves the queue.
    """
    workers = Workers(threads=1, max_waiting=1, timeout_s=LONG_S)

    async def scenario() -> str:
        first = await started(workers, gate, "first")
        gone = await queued(workers, behind(gate, "gone"))
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        second = await queued(workers, behind(gate, "second"))
        gate.set()
        return await first + await second

    answers = asyncio.run(scenario())

    workers.close()
    assert answers == "firstsecond"


def test_closing_lets_running_work_end_and_drops_what_waits(gate: threading.Event) -> None:
    """
    The running answer still comes; what had only a place in the queue is never started.
    """
    workers = Workers(threads=1, max_waiting=1, timeout_s=LONG_S)
    began: list[str] = []

    async def scenario() -> str:
        running = await started(workers, gate, "done")
        waiting = await queued(workers, lambda: began.append("waiting"))
        workers.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not running.done()
        gate.set()
        return await running

    answer = asyncio.run(scenario())

    assert answer == "done"
    assert began == []


def test_closing_does_not_wait(gate: threading.Event) -> None:
    """
    A process that must stop is not held up by work that will not end.
    """
    workers = Workers(threads=1, max_waiting=0, timeout_s=LONG_S)

    async def scenario() -> bool:
        task = await started(workers, gate, None)
        workers.close()
        was_done = task.done()
        gate.set()
        await task
        return was_done

    assert asyncio.run(scenario()) is False
