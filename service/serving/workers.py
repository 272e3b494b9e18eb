"""A few threads for work that would keep the event loop from everybody else.

What goes here and what stays on the loop: docs/decisions/0003-inline-or-thread.md.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from service.core.errors import DeadlineExceeded, Overloaded

Answer = TypeVar("Answer")

LEVELS = 10
"""Of priority: 1 comes first."""

DEFAULT_PRIORITY = 5
"""What counts where no level is named."""


class Workers:
    """A few threads with a short queue in front of them, and a deadline for everything in it."""

    def __init__(self, threads: int, max_waiting: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")
        self._places = threads + max_waiting
        self._timeout_s = timeout_s
        self._taken = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Run a function in a worker thread.

        Args:
            work: What to do; it runs to its end even if nobody waits for it any longer.

        Returns:
            What it returned.

        Raises:
            Overloaded: Every thread is busy and the queue is full; nothing was started.
            DeadlineExceeded: It was not done in time.
            Exception: Whatever it raised.
        """
        with self._lock:
            if self._taken >= self._places:
                raise Overloaded(self._taken)
            self._taken += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._leave)
        deadline = asyncio.timeout(self._timeout_s)
        try:
            async with deadline:
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            if deadline.expired():
                raise DeadlineExceeded(self._timeout_s) from error
            raise

    def close(self) -> None:
        """Let running work end, drop what waits, and stop the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self, _: Future[Answer]) -> None:
        with self._lock:
            self._taken -= 1
