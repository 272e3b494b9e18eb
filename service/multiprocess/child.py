"""Worker processes from the supervisor's side: state, code that runs in the child, restart schedule."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from types import FrameType
from typing import NoReturn

from service.multiprocess.channel import Channel

log = logging.getLogger(__name__)

_STABLE_S = 10.0
"""After serving for this long, a worker is restarted without delay when it dies."""
_RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Delay before a restart, by the number of successive early deaths in the slot."""


@dataclass
class ChildProcess:
    """A worker process, as the supervisor sees it.

    Attributes:
        pid: Process id.
        slot: Number of its slot, from 0.
        channel: Channel to it.
        started_s: Clock time of the fork.
        has_served: Whether it has reported that it serves.
        is_draining: Whether it is stopping.
        failure: Why it cannot start, in one line; empty otherwise.
        is_writable_awaited: Whether the selector waits until its channel is writable.
        serves: Whether it serves now.
    """

    pid: int
    slot: int
    channel: Channel
    started_s: float
    has_served: bool = False
    is_draining: bool = False
    failure: str = ""
    is_writable_awaited: bool = False

    @property
    def serves(self) -> bool:
        """Whether it serves now."""
        return self.has_served and not self.is_draining


class RestartSchedule:
    """Start time of each empty slot, with back-off for workers that die early."""

    def __init__(self, slots: int) -> None:
        """Schedule every slot to start now.

        Args:
            slots: Number of workers.
        """
        self._starts_s = dict.fromkeys(range(slots), 0.0)
        self._deaths = [0] * slots

    @property
    def empty_slots(self) -> tuple[int, ...]:
        """Slots without a process."""
        return tuple(self._starts_s)

    @property
    def next_s(self) -> float:
        """Clock time of the next start; inf if no slot is empty."""
        return min(self._starts_s.values(), default=inf)

    def due(self) -> list[int]:
        """Return the empty slots whose start time has come."""
        now = time.monotonic()
        return [slot for slot, start_s in self._starts_s.items() if start_s <= now]

    def on_start(self, slot: int) -> None:
        """Mark a slot as occupied."""
        del self._starts_s[slot]

    def on_exit(self, slot: int, served_s: float) -> None:
        """Reset the back-off of a slot if its worker has served for long enough."""
        if served_s >= _STABLE_S:
            self._deaths[slot] = 0

    def schedule(self, slot: int) -> float:
        """Schedule the restart of a slot; return the delay in seconds."""
        delay_s = _RESTART_DELAYS_S[min(self._deaths[slot], len(_RESTART_DELAYS_S) - 1)]
        self._deaths[slot] += 1
        self._starts_s[slot] = time.monotonic() + delay_s
        return delay_s

    def clear(self) -> None:
        """Start no more workers."""
        self._starts_s.clear()


def run_in_child(work: Callable[[], int]) -> NoReturn:
    """Run a worker in a process that was just forked, and exit with its status. All signals are blocked."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor coordinates reloads
        signal.signal(signal.SIGTERM, _exit)
        # A terminal sends SIGINT to the whole process group; the supervisor turns it into one SIGTERM.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP))
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        log.exception("unexpected error")
    finally:
        try:
            logging.shutdown()
            sys.stderr.flush()
        finally:  # a child must never return into the supervisor's loop
            os._exit(status)


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit while starting; uvicorn replaces this handler once it serves."""
    del number, frame
    os._exit(0)
