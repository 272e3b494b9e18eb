"""The process that starts others, replaces those that end, and ends with them; it answers nobody itself.

It imports nothing heavy and starts no thread, so that its children begin as a process of their own would.
"""

import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from types import FrameType

from service.observability import json_logging
from service.processes.board import Board
from service.processes.member import READY, Member

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_SETTLED_S = 10.0
"""A process that served for so long did not die of its start."""
_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before a process is replaced, by how many died at its place, one soon after the other."""


@dataclass
class _Child:
    pid: int
    place: int
    said: int  # the pipe on which it says that it serves, or why it cannot
    born_s: float
    words: bytes = b""

    @property
    def serves(self) -> bool:
        return self.words.endswith(READY)


class Supervisor:
    """Keeps so many processes serving until a signal says stop."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        published: frozenset[tuple[str, str]],
        serve: Callable[[Member, socket.socket], int],
        patience_s: float,
    ) -> None:
        """Prepare; `run` begins.

        Args:
            sockets: One for each process; where the system cannot deal out connections, one for all. They
                stay open here, so that what waits at one is answered by the process that replaces its own.
            published: Names and versions that are published now.
            serve: What each does with its socket; returns its exit status. Its `Member` tells when it serves.
            patience_s: How long processes may take to end once they are told to; then they are killed.
        """
        count = len(sockets)
        self._sockets = sockets
        self._published = published
        self._serve = serve
        self._patience_s = patience_s
        self._board = Board(count)
        self._children: dict[int, _Child] = {}  # by process
        self._due_s = dict.fromkeys(range(count), 0.0)  # when a process begins, by empty place
        self._deaths = [0] * count
        self._all_serve = False  # or did
        self._kill_s: float | None = None  # when those that remain are killed; None: nobody said stop
        self._status = 0

    def run(self, announce: Callable[[], None]) -> int:
        """Serve until a signal says stop.

        Args:
            announce: Called once all processes serve.

        Returns:
            0 after SIGTERM or SIGINT; the exit status of a process that cannot start, while no other serves.
        """
        self._lifeline, self._life = os.pipe()
        self._signals, woken = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(woken, False)
        self._selector = selectors.PollSelector()  # epoll's would be shared with the children
        self._selector.register(self._signals, selectors.EVENT_READ)
        for number in _SIGNALS:
            signal.signal(number, _note)
        signal.set_wakeup_fd(woken)
        while self._children or self._kill_s is None:
            self._begin_what_is_due()
            self._wait()
            self._reap()
            if not self._all_serve and all(child.serves for child in self._children.values()):
                self._all_serve = not self._due_s and self._kill_s is None
                if self._all_serve:
                    announce()
        return self._status

    def _begin_what_is_due(self) -> None:
        now = time.monotonic()
        for place in [place for place, due_s in self._due_s.items() if due_s <= now]:
            try:
                self._begin(place)
            except OSError as error:  # no memory, or too many processes: perhaps later
                log.error("process not started", extra={"fields": {"reason": error.strerror}})
                self._put_off(place)

    def _begin(self, place: int) -> None:
        said, to_parent = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # else a child's would come through our pipe
        try:
            pid = os.fork()
            if pid == 0:
                os.close(said)
                self._be_child(place, to_parent)
            del self._due_s[place]
            os.set_blocking(said, False)
            self._children[pid] = _Child(pid, place, said, time.monotonic())
            self._selector.register(said, selectors.EVENT_READ, self._children[pid])
        except OSError:
            os.close(said)
            raise
        finally:
            os.close(to_parent)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _be_child(self, place: int, to_parent: int) -> None:
        """Serve, and end this process."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, _leave)
            # A terminal sends SIGINT to all processes; ours come from the parent, and one is enough.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGCHLD))
            self._board.show_pid(place, os.getpid())
            own = self._sockets[place]
            for other in self._sockets:
                if other is not own:
                    other.close()
            for descriptor in (self._life, *(child.said for child in self._children.values())):
                os.close(descriptor)
            member = Member(self._board, place, os.getppid(), self._published, self._lifeline, to_parent)
            status = self._serve(member, own)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("unforeseen")
        finally:
            try:
                logging.shutdown()
                sys.stderr.flush()
            finally:  # a child must never go on as its parent would
                os._exit(status)

    def _wait(self) -> None:
        """Wait until something happens or is due."""
        due_s = min(self._due_s.values(), default=inf) if self._kill_s is None else self._kill_s
        if json_logging.flush():  # the log's reader is slow, and no event loop here has a timer
            due_s = min(due_s, time.monotonic() + json_logging.RETRY_S)
        timeout = None if due_s == inf else max(0.0, due_s - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                for number in os.read(self._signals, 4096):
                    self._handle(number)
            else:
                self._listen(key.data)
        if self._kill_s is not None and time.monotonic() >= self._kill_s:
            self._kill()

    def _handle(self, number: int) -> None:
        if number == signal.SIGINT and self._kill_s is not None:
            self._kill()
        elif number != signal.SIGCHLD:
            self._stop()

    def _stop(self) -> None:
        """Tell every process to stop."""
        if self._kill_s is None:
            self._kill_s = time.monotonic() + self._patience_s
            self._due_s.clear()
            for waiting in self._sockets:  # else connections would still come in
                waiting.close()
            for pid in self._children:
                os.kill(pid, signal.SIGTERM)

    def _kill(self) -> None:
        self._kill_s = inf
        for pid in self._children:
            log.warning("process killed", extra={"fields": {"process": pid}})
            os.kill(pid, signal.SIGKILL)

    def _listen(self, child: _Child) -> None:
        said = _read(child.said)
        child.words += said
        if not said:
            self._selector.unregister(child.said)  # it ends, and `_reap` hears of it

    def _reap(self) -> None:
        """Take note of processes that ended; the first process of a container gets others' orphans too."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in self._children:
                    self._forget(self._children[pid], os.waitstatus_to_exitcode(status))

    def _forget(self, child: _Child, status: int) -> None:
        """Put another at the place of a process that ended, unless it is time to stop."""
        child.words += _read(child.said)
        if child.said in self._selector.get_map():
            self._selector.unregister(child.said)
        os.close(child.said)
        del self._children[child.pid]
        self._board.show_pid(child.place, 0)
        if self._kill_s is not None:
            return
        if status > 0 and not child.serves and not any(other.serves for other in self._children.values()):
            self._status = status
            if child.words:
                json_logging.write(f"{child.words.decode(errors='replace')}\n")
            self._stop()
            return
        if child.serves and time.monotonic() - child.born_s >= _SETTLED_S:
            self._deaths[child.place] = 0
        pause_s = self._put_off(child.place)
        reason = signal.Signals(-status).name if status < 0 else child.words.strip().decode(errors="replace")
        fields = {"process": child.pid, "status": status, "reason": reason, "pause_s": pause_s}
        log.error("process ended", extra={"fields": fields})

    def _put_off(self, place: int) -> float:
        """Set when a process begins at an empty place; return in how many seconds.

        If it is not at once, nobody waits there meanwhile: new connections go to the others.
        """
        pause_s = _PAUSES_S[min(self._deaths[place], len(_PAUSES_S) - 1)]
        self._deaths[place] += 1
        self._due_s[place] = time.monotonic() + pause_s
        if pause_s and len(set(self._sockets)) > 1:
            with suppress(OSError):  # it may not have listened yet
                self._sockets[place].shutdown(socket.SHUT_RD)  # until the next one listens
        return pause_s


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 4096)
    except BlockingIOError:
        return b""


def _note(number: int, frame: FrameType | None) -> None:
    """Do nothing: the system has written the number to our pipe."""
    del number, frame


def _leave(number: int, frame: FrameType | None) -> None:
    """Stop while starting; later, uvicorn stops, and then raises the signal again."""
    del number, frame
    os._exit(0)
