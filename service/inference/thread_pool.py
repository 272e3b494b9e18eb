"""A few threads for work that would keep the event loop from everybody else.

What goes here and what stays on the loop: docs/decisions/0003-inline-or-thread.md.
"""

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from service.core.errors import DeadlineExceeded, Overloaded

Answer = TypeVar("Answer")

LEVELS = 10
"""Of priority: 1 comes first."""

DEFAULT_PRIORITY = 5
"""What counts where no level is named."""


@dataclass(frozen=True, order=True)
class _Job:
    """Work that waits; the least is taken first.

    Attributes:
        level: Its priority, 1 to `LEVELS`.
        number: How many came before it.
        limit_s: Longest time that its caller waits.
        deadline: When that has passed, by `time.monotonic`.
    """

    level: int
    number: int
    limit_s: float = field(compare=False)
    deadline: float = field(compare=False)
    work: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)

    def begin(self) -> bool:
        """Tell whether anybody waits for it still; from then on nobody can take it back."""
        if not self.future.set_running_or_notify_cancel():
            return False
        if monotonic() < self.deadline:
            return True
        self.future.set_exception(DeadlineExceeded(self.limit_s))  # the event loop has not noticed yet
        return False


class _Kept:
    """Work and its outcome, apart from the future, which is part of a reference cycle once it is awaited.

    An error's traceback holds a request's body, which would stay until garbage is collected.
    """

    __slots__ = ("_outcome", "_work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work: Callable[[], Any] | None = work
        self._outcome: list[Any] = []  # what was returned; or the error, and True

    def do(self) -> None:
        """Do the work, and keep its outcome."""
        work, self._work = self._work, None
        assert work is not None
        try:
            self._outcome.append(work())
        except BaseException as error:  # whatever it is, the caller gets it
            self._outcome.extend((error, True))

    def take(self) -> Any:  # noqa: ANN401 - of any work
        """Return what the work returned, or raise what it raised; once."""
        outcome, *failed = self._outcome
        self._outcome.clear()
        if failed:
            try:
                raise outcome
            finally:
                del outcome  # its traceback holds this frame
        return outcome


class ThreadPool:
    """A few threads with a short queue in front of them, and a deadline for everything in it."""

    def __init__(self, threads: int, max_waiting: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")
        self._threads = threads
        self._places = threads + max_waiting
        self._timeout_s = timeout_s
        self._waiting: list[_Job] = []  # a heap
        self._numbers = itertools.count()
        self._taken = 0
        self._busy = 0
        self._lock = threading.Lock()

    async def run(
        self, work: Callable[[], Answer], *, timeout_s: float | None = None, priority: int = 0
    ) -> Answer:
        """Run a function in a worker thread.

        Args:
            work: What to do. Once begun it runs to its end even if nobody waits for it any longer; it is
                never begun if the caller has given up before.
            timeout_s: Longest time to wait for it, if that is shorter than the workers' own.
            priority: 1 to `LEVELS`: waiting work with a smaller number is taken first, and of one number
                what came first. Anything else counts as `DEFAULT_PRIORITY`.

        Returns:
            What it returned.

        Raises:
            Overloaded: Every thread is busy and the queue is full; nothing was started.
            DeadlineExceeded: It was not done in time.
            Exception: Whatever it raised.
        """
        limit_s = self._limit_s(timeout_s)
        kept = _Kept(work)
        future = self.submit(kept.do, timeout_s=timeout_s, priority=priority)
        try:
            await self._outcome(asyncio.wrap_future(future), limit_s)
            answer: Answer = kept.take()
            return answer
        finally:
            del future, kept  # or an error's traceback would hold the error, and with it a request's body

    def submit(
        self, work: Callable[[], Answer], *, timeout_s: float | None = None, priority: int = 0
    ) -> "Future[Answer]":
        """Queue a function for a worker thread, and return its future; from any thread.

        Args:
            work: As `run` takes it.
            timeout_s: As above. Work that has not begun by then ends with DeadlineExceeded.
            priority: As above.

        Raises:
            Overloaded: Every thread is busy and the queue is full; nothing was started.
        """
        limit_s = self._limit_s(timeout_s)
        level = priority if 1 <= priority <= LEVELS else DEFAULT_PRIORITY
        future: Future[Answer] = Future()
        self._enter(_Job(level, next(self._numbers), limit_s, monotonic() + limit_s, work, future))
        future.add_done_callback(self._leave)
        return future

    async def wait(self, future: "Future[Answer]") -> Answer:
        """Await a future of `submit` that others may await too: cancelling this does not cancel the work.

        Raises:
            DeadlineExceeded: It was not done in the workers' own time; the work goes on.
            Exception: Whatever the work raised.
        """
        return await self._outcome(asyncio.shield(asyncio.wrap_future(future)), self._timeout_s)

    async def _outcome(self, outcome: "asyncio.Future[Answer]", limit_s: float) -> Answer:
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                return await outcome
        except TimeoutError as error:
            if deadline.expired():
                raise DeadlineExceeded(limit_s) from error
            raise
        finally:
            del outcome, deadline  # as in `run`; a deadline holds its task, which holds the error

    def _limit_s(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)

    def close(self) -> None:
        """Let running work end, drop what waits, take no more, and stop the threads."""
        with self._lock:
            self._places = 0
            dropped = list(self._waiting)
        for job in dropped:
            job.future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _enter(self, job: _Job) -> None:
        with self._lock:
            if self._taken >= self._places:
                raise Overloaded(self._taken)
            if self._busy < self._threads:
                self._pool.submit(self._serve)
                self._busy += 1
            self._taken += 1
            heapq.heappush(self._waiting, job)

    def _serve(self) -> None:
        """Do what waits, the best first, until nothing does."""
        while job := self._next():
            if job.begin():
                try:
                    job.future.set_result(job.work())
                except BaseException as error:  # whatever it is, the caller gets it
                    job.future.set_exception(error)
            del job  # as in `run`

    def _next(self) -> _Job | None:
        with self._lock:
            if self._waiting:
                return heapq.heappop(self._waiting)
            self._busy -= 1
            return None

    def _leave(self, future: Future[Any]) -> None:
        with self._lock:
            self._taken -= 1
            if future.cancelled():  # it may be waiting still
                self._waiting = [job for job in self._waiting if job.future is not future]
                heapq.heapify(self._waiting)
