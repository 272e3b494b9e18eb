"""Thread pool with a bounded priority queue and deadlines, for work that would block the event loop.

Which requests run here and which on the event loop: docs/decisions/0003-inline-or-thread.md.
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

Result = TypeVar("Result")

LOWEST_PRIORITY = 10
"""Priorities are 1 to this; 1 runs first."""

DEFAULT_PRIORITY = 5
"""Priority of jobs without a valid one."""


@dataclass(frozen=True, order=True)
class _Job:
    """A queued job, ordered by priority, then arrival.

    Attributes:
        priority: 1 to `LOWEST_PRIORITY`.
        number: Number of jobs that arrived earlier.
        timeout_s: Maximum time from arrival to completion, in seconds.
        deadline: Deadline, by `time.monotonic`.
        work: Function that it runs.
        future: Future of its result.
    """

    priority: int
    number: int
    timeout_s: float = field(compare=False)
    deadline: float = field(compare=False)
    work: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)

    def begin(self) -> bool:
        """Return whether it is to run: it was not cancelled and its deadline has not passed.

        From then on it cannot be cancelled.
        """
        if not self.future.set_running_or_notify_cancel():
            return False
        if monotonic() < self.deadline:
            return True
        self.future.set_exception(DeadlineExceeded(self.timeout_s))  # before the event loop notices
        return False


class _Outcome:
    """Runs a function and holds its result or error instead of the future.

    An awaited future is part of a reference cycle, and the traceback of an error refers to a request's body:
    it would stay in memory until the next garbage collection.
    """

    __slots__ = ("_value", "_work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work: Callable[[], Any] | None = work
        self._value: list[Any] = []  # the result; or the error, and True

    def run(self) -> None:
        """Run the function, and store its result or error."""
        work, self._work = self._work, None
        assert work is not None
        try:
            self._value.append(work())
        except BaseException as error:  # raised to the caller
            self._value.extend((error, True))

    def take(self) -> Any:  # noqa: ANN401 - any function
        """Return the result or raise the error, and drop it."""
        value, *failed = self._value
        self._value.clear()
        if failed:
            try:
                raise value
            finally:
                del value  # its traceback holds this frame
        return value


class ThreadPool:
    """Threads with a bounded priority queue; every job has a deadline."""

    def __init__(self, threads: int, max_waiting: int, timeout_s: float) -> None:
        """Create a pool; threads start when they are first needed.

        Args:
            threads: Number of threads.
            max_waiting: Number of jobs that may wait.
            timeout_s: Maximum time from arrival to completion of a job, in seconds.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pool")
        self._threads = threads
        self._capacity = threads + max_waiting
        self._timeout_s = timeout_s
        self._waiting: list[_Job] = []  # a heap
        self._numbers = itertools.count()
        self._pending = 0
        self._busy = 0
        self._lock = threading.Lock()

    async def run(
        self, work: Callable[[], Result], *, timeout_s: float | None = None, priority: int = 0
    ) -> Result:
        """Run a function in a thread, and return its result.

        Args:
            work: The function. Cancelling this call removes it from the queue; once started, it runs to its
                end.
            timeout_s: Deadline in seconds from now, if shorter than the pool's own.
            priority: 1 to `LOWEST_PRIORITY`; smaller numbers run first, equal ones in order of arrival.
                Any other number counts as `DEFAULT_PRIORITY`.

        Raises:
            Overloaded: Every thread is busy and the queue is full.
            DeadlineExceeded: The function did not complete in time.
            Exception: Any exception of the function.
        """
        timeout_s = self._effective_timeout_s(timeout_s)
        outcome = _Outcome(work)
        future = self.submit(outcome.run, timeout_s=timeout_s, priority=priority)
        try:
            await self._await(asyncio.wrap_future(future), timeout_s)
            result: Result = outcome.take()
            return result
        finally:
            del future, outcome  # which the traceback of an error would hold, and with it a body

    def submit(
        self, work: Callable[[], Result], *, timeout_s: float | None = None, priority: int = 0
    ) -> "Future[Result]":
        """Enqueue a function, and return its future. Thread-safe.

        Args:
            work: As for `run`.
            timeout_s: As for `run`; a job that has not started by then ends with DeadlineExceeded.
            priority: As for `run`.

        Raises:
            Overloaded: Every thread is busy and the queue is full.
        """
        timeout_s = self._effective_timeout_s(timeout_s)
        if not 1 <= priority <= LOWEST_PRIORITY:
            priority = DEFAULT_PRIORITY
        future: Future[Result] = Future()
        self._enqueue(_Job(priority, next(self._numbers), timeout_s, monotonic() + timeout_s, work, future))
        future.add_done_callback(self._on_done)
        return future

    async def wait(self, future: "Future[Result]") -> Result:
        """Await a future of `submit` that several callers share; cancelling the call does not cancel the job.

        Raises:
            DeadlineExceeded: The job did not complete within the pool's timeout; it goes on.
            Exception: Any exception of the function.
        """
        return await self._await(asyncio.shield(asyncio.wrap_future(future)), self._timeout_s)

    async def _await(self, future: "asyncio.Future[Result]", timeout_s: float) -> Result:
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                return await future
        except TimeoutError as error:
            if deadline.expired():
                raise DeadlineExceeded(timeout_s) from error
            raise
        finally:
            del future, deadline  # as in `run`; the deadline holds the task, and the task the error

    def _effective_timeout_s(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)

    def close(self) -> None:
        """Cancel waiting jobs, refuse new ones, and stop each thread after its current job."""
        with self._lock:
            self._capacity = 0
            dropped = list(self._waiting)
        for job in dropped:
            job.future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _enqueue(self, job: _Job) -> None:
        with self._lock:
            if self._pending >= self._capacity:
                raise Overloaded(self._pending)
            if self._busy < self._threads:
                self._pool.submit(self._run_jobs)
                self._busy += 1
            self._pending += 1
            heapq.heappush(self._waiting, job)

    def _run_jobs(self) -> None:
        """Run waiting jobs in order until none is left."""
        while job := self._next():
            if job.begin():
                try:
                    job.future.set_result(job.work())
                except BaseException as error:  # raised to the caller
                    job.future.set_exception(error)
            del job  # as in `run`

    def _next(self) -> _Job | None:
        with self._lock:
            if self._waiting:
                return heapq.heappop(self._waiting)
            self._busy -= 1
            return None

    def _on_done(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1
            if future.cancelled():  # it may still be in the queue
                self._waiting = [job for job in self._waiting if job.future is not future]
                heapq.heapify(self._waiting)
