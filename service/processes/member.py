"""One process of several, as it is known to itself: its place, its parent, and what it tells both."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.processes.board import Board

READY = b"\n"
"""What a process tells its parent once it serves; one that cannot tells why, in a line without an end."""


@dataclass(frozen=True)
class Member:
    """One process of several that serve on one address.

    Attributes:
        board: What the processes leave for each other.
        place: This one's on the board.
        parent: The process that started it.
        published: Names and versions that were published when the parent started. What came later is not
            served: else a process that replaces another would serve what the others do not.
    """

    board: Board
    place: int
    parent: int
    published: frozenset[tuple[str, str]]
    _lifeline: int  # ends with the parent
    _to_parent: int

    def tell_ready(self) -> None:
        """Tell the parent that this process serves."""
        os.write(self._to_parent, READY)

    def tell_why_not(self, line: str) -> None:
        """Tell the parent why this process cannot serve."""
        os.write(self._to_parent, line.encode(errors="replace"))

    @contextmanager
    def ending_with_parent(self) -> Iterator[None]:
        """Stop this process as SIGTERM does if its parent ends; to be entered in the event loop."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.remove_reader(self._lifeline)
            os.kill(os.getpid(), signal.SIGTERM)

        loop.add_reader(self._lifeline, stop)
        try:
            yield
        finally:
            loop.remove_reader(self._lifeline)

    def texts(self) -> Iterator[tuple[int, bytes]]:
        """Yield for each place which process has it, or 0, and what stands there."""
        for place in range(self.board.places):
            pid = self.board.pid(place)
            yield pid, self.board.read(place)
