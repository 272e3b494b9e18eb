"""Supervisor: forks the worker processes, restarts those that die, and stops them. It serves no requests.

It imports nothing heavy and starts no thread, so that its children start as small as a single process would.

A dead worker's listening socket stays open here and is passed to the other workers, which accept from it
until the replacement serves: connections that are queued there are neither reset nor wait for the
replacement.
"""

import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from types import FrameType
from typing import Any

from service.multiprocess.channel import Channel
from service.multiprocess.coordinator import CommittedState, Coordinator, Kind
from service.multiprocess.shared_memory import SharedMemory
from service.multiprocess.worker import WorkerProcess
from service.observability import json_lines, json_logging
from service.observability.log_handler import RETRY_S

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)
_STABLE_S = 10.0
"""A worker that has served for this long did not die of its start; its next restart has no delay."""
_RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Delay before a restart, by the number of deaths in this slot that followed one another quickly."""
_MAX_PENDING_BYTES = 16 * 2**20
"""Messages that a worker has not read; one with more hangs, and is killed."""


@dataclass
class _Worker:
    """A child process.

    Attributes:
        pid: Process id.
        slot: Its slot.
        channel: Messages to and from it.
        started_s: Clock time of the fork.
        has_served: Whether it has reported that it serves.
        is_draining: Whether it was told to stop.
        failure: Why it cannot start, in one line.
        is_writable_awaited: Whether the selector waits until its channel takes more.
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
        return self.has_served and not self.is_draining


class Supervisor:
    """Keeps a number of workers serving until a signal stops it.

    Signals: SIGTERM and SIGINT stop the service; a second one ends the lame duck at once; SIGINT after that
    kills the workers. SIGHUP reloads the models, in all workers or in none.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        list_published: Callable[[], frozenset[tuple[str, str]]],
        serve: Callable[[WorkerProcess, socket.socket], int],
        stop_timeout_s: float,
        lame_duck_s: float = 0.0,
        change_timeout_s: float = 60.0,
    ) -> None:
        """Prepare; `run` starts the workers.

        Args:
            sockets: A bound socket for each worker; the same one for all where the system cannot balance
                connections between sockets. They stay open in the supervisor.
            list_published: Returns names and versions in the models folder; raises OSError. Called here, and
                for each change.
            serve: Runs in each worker with its handle and its socket; returns its exit status. Whatever it
                refers to was created before the fork: memory-mapped objects are shared by all workers.
            stop_timeout_s: Longest time from the end of the lame duck to the end of the last worker, in
                seconds; then the rest is killed.
            lame_duck_s: How long the sockets stay open after SIGTERM, in seconds, while workers report that
                they are not ready.
            change_timeout_s: Longest time for all workers to prepare a change of the models, in seconds.

        Raises:
            OSError: The models folder cannot be read.
        """
        count = len(sockets)
        self._sockets = sockets
        self._serve = serve
        self._stop_timeout_s = stop_timeout_s
        self._lame_duck_s = lame_duck_s
        self._memory = SharedMemory(count)
        self._workers: dict[int, _Worker] = {}  # by process id
        self._starts_s = dict.fromkeys(range(count), 0.0)  # when a worker is started, by empty slot
        self._deaths = [0] * count
        self._orphaned: set[int] = set()  # slots whose listening sockets the other workers accept from
        self._has_announced = False
        self._close_s = inf  # when the sockets are closed; inf before a signal, and once they are closed
        self._kill_s = (
            inf  # when the remaining workers are killed; inf before a signal, and once they are killed
        )
        self._is_stopping = False
        self._status = 0
        self._coordinator = Coordinator(
            CommittedState(list_published()), list_published, self._send, self._kill_worker, change_timeout_s
        )

    def run(self, announce: Callable[[], None]) -> int:
        """Serve until a signal stops the service.

        Args:
            announce: Called once all workers serve.

        Returns:
            0 after SIGTERM or SIGINT; the exit status of a worker that cannot start, if no other serves.
        """
        self._signals, written = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(written, False)
        self._selector = selectors.PollSelector()  # an epoll instance would be shared with the children
        self._selector.register(self._signals, selectors.EVENT_READ)
        for number in _SIGNALS:
            signal.signal(number, _ignore)
        signal.set_wakeup_fd(written)
        while self._workers or not self._is_stopping:
            self._start_due_workers()
            self._coordinator.advance(
                [worker.pid for worker in self._workers.values() if worker.serves],
                any(not worker.has_served for worker in self._workers.values()),
            )
            self._wait()
            self._reap()
            if not self._has_announced and not self._starts_s and not self._is_stopping:
                self._has_announced = all(worker.serves for worker in self._workers.values())
                if self._has_announced:
                    announce()
        return self._status

    def _start_due_workers(self) -> None:
        if self._coordinator.is_running:
            return  # a worker that starts now might load the state before or after the change
        now = time.monotonic()
        for slot in [slot for slot, start_s in self._starts_s.items() if start_s <= now]:
            try:
                self._start(slot)
            except OSError as error:  # no memory, or too many processes
                log.error("process not started", extra={"fields": {"reason": error.strerror}})
                self._schedule_restart(slot)

    def _start(self, slot: int) -> None:
        """Fork a worker."""
        own, childs = Channel.pair()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # else the child's would be written to our pipe
        try:
            pid = os.fork()
            if pid == 0:
                own.close()
                self._run_worker(slot, childs)
            del self._starts_s[slot]
            self._workers[pid] = _Worker(pid, slot, own, time.monotonic())
            self._selector.register(own, selectors.EVENT_READ, self._workers[pid])
        except OSError:
            own.close()
            raise
        finally:
            childs.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _run_worker(self, slot: int, channel: Channel) -> None:
        """Serve in the child, and exit."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor coordinates reloads
            signal.signal(signal.SIGTERM, _exit)
            # A terminal sends SIGINT to the whole process group; the supervisor turns it into one SIGTERM.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP))
            json_lines.set_worker(slot)
            self._memory.set_pid(slot, os.getpid())
            own = self._sockets[slot]
            for other in self._sockets:
                if other is not own:
                    other.close()
            for worker in self._workers.values():
                worker.channel.close()
            handle = WorkerProcess(self._memory, slot, os.getppid(), self._coordinator.state, channel)
            status = self._serve(handle, own)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("unforeseen")
        finally:
            try:
                logging.shutdown()
                sys.stderr.flush()
            finally:  # a child must never return into the supervisor's loop
                os._exit(status)

    def _wait(self) -> None:
        """Wait for signals, messages, and whatever is due; handle them."""
        # While a change runs no worker is started, and its deadline bounds the wait.
        starts_s = () if self._coordinator.is_running else self._starts_s.values()
        due_s = min((*starts_s, self._coordinator.due_s, self._close_s, self._kill_s))
        if json_logging.flush():  # the log's reader is slow, and no event loop here has a timer
            due_s = min(due_s, time.monotonic() + RETRY_S)
        timeout = None if due_s == inf else max(0.0, due_s - time.monotonic())
        for key, events in self._selector.select(timeout):
            if key.data is None:
                for number in os.read(self._signals, 4096):
                    self._on_signal(number)
                continue
            if events & selectors.EVENT_WRITE:
                key.data.channel.flush()
                self._await_writable(key.data)
            if events & ~selectors.EVENT_WRITE:
                self._receive(key.data)
        now = time.monotonic()
        if now >= self._close_s:
            self._close_sockets()
        if now >= self._kill_s:
            self._kill_all()
        self._coordinator.expire()

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            if not self._is_stopping:
                self._coordinator.request(Kind.RELOAD)
        elif number in (signal.SIGTERM, signal.SIGINT):
            if not self._is_stopping:
                self._stop(self._lame_duck_s)
            elif self._close_s < inf:
                self._end_lame_duck()
            elif number == signal.SIGINT:
                self._kill_all()

    def _stop(self, lame_duck_s: float) -> None:
        """Tell every worker to stop; keep the sockets open during the lame duck."""
        self._is_stopping = True
        self._starts_s.clear()
        self._coordinator.stop()
        now = time.monotonic()
        self._close_s = now + lame_duck_s
        self._kill_s = now + lame_duck_s + self._stop_timeout_s
        if not lame_duck_s:
            self._close_sockets()
        self._terminate_all()

    def _end_lame_duck(self) -> None:
        self._close_sockets()
        self._kill_s = time.monotonic() + self._stop_timeout_s
        self._terminate_all()  # a second SIGTERM ends the lame duck of a worker

    def _close_sockets(self) -> None:
        """Close the supervisor's copies; else the sockets would listen after the workers close theirs."""
        self._close_s = inf
        for listening in self._sockets:
            listening.close()

    def _terminate_all(self) -> None:
        for pid in self._workers:
            os.kill(pid, signal.SIGTERM)

    def _kill_all(self) -> None:
        self._kill_s = inf
        for pid in self._workers:
            self._kill_worker(pid)

    def _kill_worker(self, pid: int) -> None:
        log.warning("process killed", extra={"fields": {"process": pid}})
        os.kill(pid, signal.SIGKILL)  # it was not reaped, so no other process has this number

    def _send(self, pid: int, message: Mapping[str, Any], passed: socket.socket | None = None) -> None:
        """Send a message to a worker, if it still runs."""
        worker = self._workers.get(pid)
        if worker is not None:
            worker.channel.send(message, passed)
            self._await_writable(worker)
            if worker.channel.pending_bytes > _MAX_PENDING_BYTES:
                self._kill_worker(pid)

    def _await_writable(self, worker: _Worker) -> None:
        """Let the selector wait for a channel to be writable exactly while messages are pending."""
        is_pending = worker.channel.pending_bytes > 0
        if is_pending != worker.is_writable_awaited and worker.channel.fileno() in self._selector.get_map():
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_pending else 0)
            self._selector.modify(worker.channel, events, worker)
            worker.is_writable_awaited = is_pending

    def _receive(self, worker: _Worker) -> None:
        """Handle a worker's messages; once its end is closed, it exits, and `_reap` follows."""
        for message, _ in worker.channel.receive():
            self._on_message(worker, message)
        if worker.channel.is_closed and worker.channel.fileno() in self._selector.get_map():
            self._selector.unregister(worker.channel)

    def _on_message(self, worker: _Worker, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "ready":
                self._on_ready(worker)
            case "failed":
                worker.failure = message["reason"]
            case "draining":
                worker.is_draining = True
                self._coordinator.on_exit(worker.pid)
                if not self._is_stopping:
                    self._orphan(worker.slot)
            case "change":
                kind = Kind(message["kind"])
                self._coordinator.request(kind, message["model"], worker.pid, message["request"])
            case "prepared":
                self._coordinator.on_prepared(
                    worker.pid, message["number"], message["served"], message["reasons"]
                )
            case "committed":
                self._coordinator.on_committed(worker.pid, message["number"])

    def _on_ready(self, worker: _Worker) -> None:
        """Give a worker its own listening socket back, and the sockets of dead workers beside it."""
        worker.has_served = True
        if worker.slot in self._orphaned:
            self._orphaned.discard(worker.slot)
            for other in self._workers.values():
                if other is not worker:
                    self._send(other.pid, {"type": "release", "slot": worker.slot})
        for slot in self._orphaned:
            self._send(worker.pid, {"type": "adopt", "slot": slot}, self._sockets[slot])

    def _orphan(self, slot: int) -> None:
        """Let the other workers accept from the listening socket of a worker that ended or drains."""
        if len(set(self._sockets)) == 1 or self._sockets[slot].fileno() < 0 or slot in self._orphaned:
            return  # all workers accept from one socket, or the sockets are closed, or it was done
        self._orphaned.add(slot)
        for worker in self._workers.values():
            if worker.serves or (worker.has_served and self._is_stopping):  # lame ducks accept too
                self._send(worker.pid, {"type": "adopt", "slot": slot}, self._sockets[slot])

    def _reap(self) -> None:
        """Reap ended processes; the first process of a container gets orphans of other programs too."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in self._workers:
                    self._on_exit(self._workers[pid], os.waitstatus_to_exitcode(status))

    def _on_exit(self, worker: _Worker, status: int) -> None:
        """Schedule the restart of a dead worker with back-off, unless the service stops."""
        self._receive(worker)
        if worker.channel.fileno() in self._selector.get_map():
            self._selector.unregister(worker.channel)
        worker.channel.close()
        del self._workers[worker.pid]
        self._memory.set_pid(worker.slot, 0)
        self._orphan(worker.slot)
        self._coordinator.on_exit(worker.pid)
        if self._is_stopping:
            return
        others_serve = any(other.serves for other in self._workers.values())
        if status > 0 and not worker.has_served and not others_serve:
            self._status = status
            if worker.failure:
                json_logging.write(f"{worker.failure}\n")
            self._stop(0.0)
            return
        if worker.has_served and time.monotonic() - worker.started_s >= _STABLE_S:
            self._deaths[worker.slot] = 0
        delay_s = self._schedule_restart(worker.slot)
        reason = signal.Signals(-status).name if status < 0 else worker.failure
        fields = {"process": worker.pid, "status": status, "reason": reason, "pause_s": delay_s}
        log.error("process ended", extra={"fields": fields})

    def _schedule_restart(self, slot: int) -> float:
        """Set when a worker is started in an empty slot; return the delay in seconds.

        If it is not 0 and no worker serves, the sockets of empty slots stop listening until one does: clients
        are refused at once. The socket that all workers share, on other systems than Linux, is one of them.
        """
        delay_s = _RESTART_DELAYS_S[min(self._deaths[slot], len(_RESTART_DELAYS_S) - 1)]
        self._deaths[slot] += 1
        self._starts_s[slot] = time.monotonic() + delay_s
        if delay_s and not any(worker.serves for worker in self._workers.values()):
            for empty in self._starts_s:
                with suppress(OSError):  # it does not listen
                    self._sockets[empty].shutdown(socket.SHUT_RD)  # a worker that serves listens again
        return delay_s


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: `set_wakeup_fd` has written the signal's number to the pipe."""
    del number, frame


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit while starting; uvicorn replaces this handler once it serves."""
    del number, frame
    os._exit(0)
