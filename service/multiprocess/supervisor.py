"""Supervisor: forks the worker processes, restarts those that die, and stops them. It serves no requests.

It imports nothing heavy and starts no thread: its children inherit its memory.

The listening socket of a dead worker stays open and is passed to the other workers, which accept from it
until the replacement serves. So queued connections are neither reset nor delayed.
"""

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import inf
from types import FrameType
from typing import Any

from service.multiprocess.change import ChangeKind, CommittedState
from service.multiprocess.channel import Channel
from service.multiprocess.child import ChildProcess, RestartSchedule, run_in_child
from service.multiprocess.coordinator import Coordinator
from service.multiprocess.shared_memory import SharedMemory
from service.multiprocess.worker import WorkerProcess
from service.observability import json_lines, json_logging
from service.observability.log_handler import RETRY_S

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)
_MAX_PENDING_BYTES = 16 * 2**20
"""Size of messages that a worker has not read; with more, the worker hangs, and is killed."""


class Supervisor:
    """Keeps a number of workers serving until a signal stops the service.

    SIGTERM and SIGINT stop the service; a second one ends the lame duck period at once; SIGINT after that
    kills the workers. SIGHUP reloads the models in all workers or in none.
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
        """Create it; `run` starts the workers.

        Args:
            sockets: A bound socket for each worker; the same one for all where the system cannot balance
                connections between sockets. They stay open in the supervisor.
            list_published: Returns the names and versions in the models folder; raises OSError. Called here,
                and for each change.
            serve: Runs in each worker with its handle and its socket; returns the exit status. Objects that
                it refers to are created before the fork: mapped memory is shared by all workers.
            stop_timeout_s: Maximum time from the end of the lame duck period to the end of the last worker,
                in seconds; then the remaining workers are killed.
            lame_duck_s: Lame duck period in seconds: after SIGTERM, workers still serve but report that they
                are not ready.
            change_timeout_s: Maximum time for all workers to prepare a change of the models, in seconds.

        Raises:
            OSError: The models folder cannot be read.
        """
        count = len(sockets)
        self._sockets = sockets
        self._serve = serve
        self._stop_timeout_s = stop_timeout_s
        self._lame_duck_s = lame_duck_s
        self._memory = SharedMemory(count)
        self._workers: dict[int, ChildProcess] = {}  # by process id
        self._restarts = RestartSchedule(count)
        self._orphaned: set[int] = set()  # slots whose listening sockets other workers accept from
        self._has_announced = False
        # When sockets are closed and remaining workers are killed; inf before a signal, and afterwards.
        self._close_s = self._kill_s = inf
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
            if not self._has_announced and not self._restarts.empty_slots and not self._is_stopping:
                self._has_announced = all(worker.serves for worker in self._workers.values())
                if self._has_announced:
                    announce()
        return self._status

    def _start_due_workers(self) -> None:
        if self._coordinator.is_running:
            return  # a worker that starts now might load the state before or after the change
        for slot in self._restarts.due():
            try:
                self._start(slot)
            except OSError as error:  # out of memory, or too many processes
                log.error("process not started", extra={"fields": {"reason": error.strerror}})
                self._schedule_restart(slot)

    def _start(self, slot: int) -> None:
        """Fork a worker."""
        own_end, child_end = Channel.pair()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # else the child's signals go to our pipe
        try:
            pid = os.fork()
            if pid == 0:
                own_end.close()
                run_in_child(lambda: self._run_worker(slot, child_end))
            self._restarts.on_start(slot)
            self._workers[pid] = ChildProcess(pid, slot, own_end, time.monotonic())
            self._selector.register(own_end, selectors.EVENT_READ, self._workers[pid])
        except OSError:
            own_end.close()
            raise
        finally:
            child_end.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _run_worker(self, slot: int, channel: Channel) -> int:
        """Serve in the child until it stops; return its exit status."""
        json_lines.set_worker(slot)
        self._memory.set_pid(slot, os.getpid())
        own = self._sockets[slot]
        for other in self._sockets:
            if other is not own:
                other.close()
        for worker in self._workers.values():
            worker.channel.close()
        handle = WorkerProcess(self._memory, slot, os.getppid(), self._coordinator.state, channel)
        return self._serve(handle, own)

    def _wait(self) -> None:
        """Wait for signals, messages and deadlines, and handle them."""
        start_s = inf if self._coordinator.is_running else self._restarts.next_s  # no start during a change
        due_s = min(start_s, self._coordinator.due_s, self._close_s, self._kill_s)
        if json_logging.flush():  # the log's reader is slow
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
                self._coordinator.request(ChangeKind.RELOAD)
        elif number in (signal.SIGTERM, signal.SIGINT):
            if not self._is_stopping:
                self._stop(self._lame_duck_s)
            elif self._close_s < inf:
                self._end_lame_duck()
            elif number == signal.SIGINT:
                self._kill_all()

    def _stop(self, lame_duck_s: float) -> None:
        """Stop every worker; keep the sockets open during the lame duck period."""
        self._is_stopping = True
        self._restarts.clear()
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
        self._terminate_all()  # a second SIGTERM ends the lame duck period of a worker

    def _close_sockets(self) -> None:
        """Close the supervisor's copies; else the sockets still listen after the workers close theirs."""
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
        os.kill(pid, signal.SIGKILL)  # it was not reaped, so its process id is not reused

    def _send(self, pid: int, message: Mapping[str, Any], passed: socket.socket | None = None) -> None:
        """Send a message to a worker, if it still runs."""
        worker = self._workers.get(pid)
        if worker is not None:
            worker.channel.send(message, passed)
            self._await_writable(worker)
            if worker.channel.pending_bytes > _MAX_PENDING_BYTES:
                self._kill_worker(pid)

    def _await_writable(self, worker: ChildProcess) -> None:
        """Wait for a channel to be writable while messages are pending, and only then."""
        is_pending = worker.channel.pending_bytes > 0
        if is_pending != worker.is_writable_awaited and worker.channel.fileno() in self._selector.get_map():
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if is_pending else 0)
            self._selector.modify(worker.channel, events, worker)
            worker.is_writable_awaited = is_pending

    def _receive(self, worker: ChildProcess) -> None:
        """Handle a worker's messages; once it has closed its end, it exits and `_reap` follows."""
        for message, _ in worker.channel.receive():
            self._on_message(worker, message)
        if worker.channel.is_closed and worker.channel.fileno() in self._selector.get_map():
            self._selector.unregister(worker.channel)

    def _on_message(self, worker: ChildProcess, message: Mapping[str, Any]) -> None:
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
                kind = ChangeKind(message["kind"])
                self._coordinator.request(kind, message["model"], worker.pid, message["request"])
            case "prepared":
                self._coordinator.on_prepared(
                    worker.pid, message["number"], message["served"], message["reasons"]
                )
            case "committed":
                self._coordinator.on_committed(worker.pid, message["number"])

    def _on_ready(self, worker: ChildProcess) -> None:
        """Return a worker's listening socket to it, and pass it the sockets of dead workers."""
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
            return  # all workers share one socket, the sockets are closed, or it is done already
        self._orphaned.add(slot)
        for worker in self._workers.values():
            if worker.serves or (worker.has_served and self._is_stopping):  # also in the lame duck period
                self._send(worker.pid, {"type": "adopt", "slot": slot}, self._sockets[slot])

    def _reap(self) -> None:
        """Reap dead processes; process 1 of a container also inherits orphans of other programs."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in self._workers:
                    self._on_exit(self._workers[pid], os.waitstatus_to_exitcode(status))

    def _on_exit(self, worker: ChildProcess, status: int) -> None:
        """Clean up a dead worker, and schedule its restart unless the service stops."""
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
        if worker.has_served:
            self._restarts.on_exit(worker.slot, time.monotonic() - worker.started_s)
        delay_s = self._schedule_restart(worker.slot)
        reason = signal.Signals(-status).name if status < 0 else worker.failure
        fields = {"process": worker.pid, "status": status, "reason": reason, "pause_s": delay_s}
        log.error("process ended", extra={"fields": fields})

    def _schedule_restart(self, slot: int) -> float:
        """Schedule the restart of an empty slot; return the delay in seconds.

        If there is a delay and no worker serves, the sockets of empty slots stop listening until one does:
        clients are refused at once. On other systems than Linux, that is the socket that all workers share.
        """
        delay_s = self._restarts.schedule(slot)
        if delay_s and not any(worker.serves for worker in self._workers.values()):
            for empty in self._restarts.empty_slots:
                with suppress(OSError):  # it does not listen
                    self._sockets[empty].shutdown(socket.SHUT_RD)  # a worker that serves listens again
        return delay_s


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: `set_wakeup_fd` has written the signal's number to the pipe."""
    del number, frame
