"""Worker-side handle of one of several worker processes: slot, state, and channel to the supervisor."""

import asyncio
import itertools
import logging
import os
import signal
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from service.multiprocess.channel import Channel
from service.multiprocess.coordinator import CommittedState, Served
from service.multiprocess.shared_memory import SharedMemory, WorkerState, WorkerStatus

log = logging.getLogger(__name__)

_STOPPING = "The service should not be stopping; it is."


class Acceptor(Protocol):
    """Accepts connections from listening sockets, in the event loop."""

    def add(self, sock: socket.socket, /) -> None:
        """Accept from this socket too; it is non-blocking and listening."""

    def remove(self, sock: socket.socket, /) -> None:
        """Stop accepting from this socket, without closing it; connections that were accepted go on."""


class Staged(Protocol):
    """A change that is loaded and checked but not visible yet.

    Attributes:
        served: Versions by model name that are served after it.
        error: What is wrong with published folders; raised to the requester once the change is committed.
    """

    @property
    def served(self) -> Served: ...  # noqa: D102 - described above

    @property
    def error(self) -> Exception | None: ...  # noqa: D102 - described above

    def commit(self) -> None:
        """Make the change visible."""


class Stage(Protocol):
    """Loads and checks a change aside. Called in a thread, one call at a time."""

    def __call__(self, kind: str, model: str, published: Collection[tuple[str, str]], /) -> Staged:
        """Return the staged change.

        Args:
            kind: "load", "unload" or "reload".
            model: Name of the model; empty for a reload.
            published: Names and versions to consider; other folders are ignored.

        Raises:
            Exception: The change is refused; the message is returned to the requester.
        """


@dataclass(frozen=True)
class Result:
    """What became of a requested change in all workers.

    Attributes:
        outcome: "committed", "refused" or "busy".
        reasons: Why it was refused.
        error: What this worker found wrong with published folders, or why it refused the change itself.
        queued: How many changes were waiting.
    """

    outcome: str
    reasons: Sequence[str]
    error: Exception | None
    queued: int


class WorkerProcess:
    """One worker process, as it sees itself.

    Attributes:
        memory: Memory shared by all workers.
        slot: Its slot in that memory, from 0.
        parent: Process id of the supervisor.
        state: What it loads when it starts, so that a replacement serves what the other workers serve.
    """

    def __init__(
        self, memory: SharedMemory, slot: int, parent: int, state: CommittedState, channel: Channel
    ) -> None:
        self.memory = memory
        self.slot = slot
        self.parent = parent
        self.state = state
        self._channel = channel
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Acceptor | None = None
        self._adopted: dict[int, socket.socket] = {}  # listening sockets of dead workers, by slot
        self._stage: Stage | None = None
        self._staging: ThreadPoolExecutor | None = None
        self._preparing: set[int] = set()  # numbers of changes that are in the staging thread
        self._aborted: set[int] = set()  # those of them that were aborted meanwhile
        self._staged: tuple[int, Staged] | None = None
        self._requests = itertools.count(1)
        self._errors: dict[
            int, Exception | None
        ] = {}  # of changes that this worker requested, by its request
        self._results: dict[int, asyncio.Future[Result]] = {}

    def report_ready(self) -> None:
        """Tell the supervisor and the other workers that this worker serves."""
        self.memory.set_state(self.slot, WorkerState.SERVING)
        self._send({"type": "ready"})

    def report_draining(self) -> None:
        """Tell the supervisor and the other workers that this worker was told to stop.

        The others accept from its listening socket at once, and no change of models waits for it.
        """
        self.memory.set_state(self.slot, WorkerState.DRAINING)
        self._send({"type": "draining"})

    def report_failure(self, reason: str) -> None:
        """Tell the supervisor, in one line, why this worker cannot start."""
        self._send({"type": "failed", "reason": reason})

    def texts(self) -> Iterator[tuple[int, bytes]]:
        """Yield the process id (or 0) and the text of each slot of the shared memory."""
        for slot in range(self.memory.slots):
            pid = self.memory.pid(slot)
            yield pid, self.memory.read(slot)

    def statuses(self) -> list[WorkerStatus]:
        """Return process id and state of every worker."""
        return self.memory.statuses()

    @contextmanager
    def connected(self, stage: Stage | None = None) -> Iterator[None]:
        """Handle the supervisor's messages in the running event loop while the context is entered.

        If the supervisor ends, this process gets SIGTERM.

        Args:
            stage: Prepares changes; None refuses them.
        """
        self._loop = asyncio.get_running_loop()
        self._stage = stage
        self._staging = ThreadPoolExecutor(1, thread_name_prefix="reload")
        self._loop.add_reader(self._channel.fileno(), self._receive)
        try:
            yield
        finally:
            self._disconnect()
            self.detach_listener()
            self._staging.shutdown(wait=False, cancel_futures=True)
            self._loop = None
            for future in self._results.values():
                if not future.done():
                    future.set_exception(ConnectionError(_STOPPING))

    def attach_listener(self, listener: Acceptor) -> None:
        """Let a listener accept from the sockets of dead workers until their replacements serve."""
        self._listener = listener
        for adopted in self._adopted.values():
            listener.add(adopted)

    def detach_listener(self) -> None:
        """Stop accepting from the sockets of dead workers, and close them here."""
        for slot in tuple(self._adopted):
            self._release(slot)
        self._listener = None

    async def request_change(self, kind: str, model: str = "") -> Result:
        """Change what all workers serve: all of them, or none.

        Args:
            kind: "load", "unload" or "reload".
            model: Name of the model; empty for a reload.

        Returns:
            The result, once every worker has committed or the change was aborted.

        Raises:
            ConnectionError: This worker is stopping.
        """
        if self._loop is None or self._channel.is_closed:
            raise ConnectionError(_STOPPING)
        number = next(self._requests)
        future: asyncio.Future[Result] = self._loop.create_future()
        self._results[number] = future
        try:
            self._send({"type": "change", "request": number, "kind": kind, "model": model})
            return await future
        finally:
            del self._results[number]

    def _send(self, message: Mapping[str, Any]) -> None:
        self._channel.send(message)
        self._flush_later()

    def _flush_later(self) -> None:
        if self._loop and self._channel.pending_bytes:
            self._loop.add_writer(self._channel.fileno(), self._flush)

    def _flush(self) -> None:
        self._channel.flush()
        if self._loop and not self._channel.pending_bytes:
            self._loop.remove_writer(self._channel.fileno())

    def _disconnect(self) -> None:
        if self._loop:
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())

    def _receive(self) -> None:
        for message, passed in self._channel.receive():
            self._handle(message, passed)
        if self._channel.is_closed:
            self._disconnect()
            os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, message: Mapping[str, Any], passed: socket.socket | None) -> None:
        match message["type"]:
            case "adopt":
                self._adopt(message["slot"], passed)
            case "release":
                self._release(message["slot"])
            case "prepare":
                self._prepare(message)
            case "commit":
                self._commit(message["number"])
            case "abort":
                self._abort(message["number"])
            case "result":
                self._resolve(message)

    def _adopt(self, slot: int, passed: socket.socket | None) -> None:
        """Accept from the listening socket of a dead worker too."""
        if passed is None:  # this process is out of descriptors; others may accept
            log.error("socket not received", extra={"fields": {"slot": slot}})
            return
        self._release(slot)
        passed.setblocking(False)
        try:
            passed.listen(
                socket.SOMAXCONN
            )  # it does not listen if its worker died early, or if all workers died
        except OSError as error:
            log.error("socket not adopted", extra={"fields": {"slot": slot, "reason": error.strerror}})
            passed.close()
            return
        self._adopted[slot] = passed
        if self._listener:
            self._listener.add(passed)

    def _release(self, slot: int) -> None:
        """Leave a listening socket to the replacement of the dead worker."""
        adopted = self._adopted.pop(slot, None)
        if adopted is not None:
            if self._listener:
                self._listener.remove(adopted)
            adopted.close()

    def _prepare(self, message: Mapping[str, Any]) -> None:
        """Stage a change in a thread, and report what would be served, or why the change is refused."""
        assert self._loop
        assert self._staging
        number = message["number"]
        published = {(name, version) for name, version in message["published"]}
        self._preparing.add(number)
        staging = self._staging.submit(self._stage_one, message["kind"], message["model"], published)

        def report() -> None:
            self._preparing.discard(number)
            staged = staging.result()
            error = staged if isinstance(staged, Exception) else staged.error
            if message["request"] in self._results:  # requested by this worker
                self._errors[message["request"]] = error and error.with_traceback(None)
            if number in self._aborted:  # while it was staged
                self._aborted.discard(number)
                return
            served = None
            if not isinstance(staged, Exception):
                self._staged = number, staged
                served = {name: list(versions) for name, versions in staged.served.items()}
            reasons = [str(error)] if error else []
            self._send({"type": "prepared", "number": number, "served": served, "reasons": reasons})

        def staged_in_thread(_: object) -> None:
            if (loop := self._loop) and not loop.is_closed():
                loop.call_soon_threadsafe(report)

        staging.add_done_callback(staged_in_thread)

    def _stage_one(self, kind: str, model: str, published: Collection[tuple[str, str]]) -> Staged | Exception:
        try:
            if self._stage is None:
                raise RuntimeError("this worker has nothing that can be reloaded")
            return self._stage(kind, model, published)
        except Exception as error:  # whatever it is, it refuses the change in all workers
            return error

    def _commit(self, number: int) -> None:
        staged_number, staged = self._staged or (0, None)
        assert staged is not None, "a change is committed after it was prepared"
        assert staged_number == number, "a change is committed before the next one is prepared"
        self._staged = None
        staged.commit()
        self._send({"type": "committed", "number": number})

    def _abort(self, number: int) -> None:
        if number not in self._preparing:
            self._staged = None
        else:
            self._aborted.add(number)

    def _resolve(self, message: Mapping[str, Any]) -> None:
        future = self._results.get(message["request"])
        error = self._errors.pop(message["request"], None)
        if future is not None and not future.done():  # else the requester has given up
            future.set_result(Result(message["outcome"], message["reasons"], error, message["queued"]))
