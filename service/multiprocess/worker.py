"""Worker-side handle: slot number, state, and channel to the supervisor."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from service.multiprocess.change import ChangeResult, CommittedState
from service.multiprocess.channel import Channel
from service.multiprocess.shared_memory import SharedMemory, WorkerState, WorkerStatus
from service.multiprocess.staging import ChangeStager, Participant

log = logging.getLogger(__name__)


class Acceptor(Protocol):
    """Accepts connections from listening sockets, in the event loop."""

    def add(self, sock: socket.socket, /) -> None:
        """Accept from this socket too; it is non-blocking and listening."""

    def remove(self, sock: socket.socket, /) -> None:
        """Stop accepting from this socket, without closing it; connections that were accepted go on."""


class WorkerProcess:
    """This worker process.

    Attributes:
        memory: Shared memory of all workers.
        slot: Number of its slot in the shared memory, from 0.
        parent: Process id of the supervisor.
        state: Models that it loads when it starts: those that the other workers serve.
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
        self._changes = Participant(self._send)

    def report_ready(self) -> None:
        """Report to the supervisor and the other workers that this worker serves."""
        self.memory.set_state(self.slot, WorkerState.SERVING)
        self._send({"type": "ready"})

    def report_draining(self) -> None:
        """Report to the supervisor and the other workers that this worker is stopping.

        The others accept from its listening socket at once, and changes of the models do not wait for it.
        """
        self.memory.set_state(self.slot, WorkerState.DRAINING)
        self._send({"type": "draining"})

    def report_failure(self, reason: str) -> None:
        """Report to the supervisor, in one line, why this worker cannot start."""
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
    def connected(self, stage: ChangeStager | None = None) -> Iterator[None]:
        """Handle the supervisor's messages in the running event loop while entered.

        If the supervisor ends, this process sends itself SIGTERM.

        Args:
            stage: Stages changes; None refuses them.
        """
        self._loop = asyncio.get_running_loop()
        self._changes.start(stage)
        self._loop.add_reader(self._channel.fileno(), self._receive)
        try:
            yield
        finally:
            self._disconnect()
            self.detach_listener()
            self._changes.stop()
            self._loop = None

    def attach_listener(self, listener: Acceptor) -> None:
        """Let a listener accept from the sockets of dead workers until their replacements serve."""
        self._listener = listener
        for adopted in self._adopted.values():
            listener.add(adopted)

    def detach_listener(self) -> None:
        """Stop accepting from the sockets of dead workers, and close this process's copies."""
        for slot in tuple(self._adopted):
            self._release(slot)
        self._listener = None

    async def request_change(self, kind: str, model: str = "") -> ChangeResult:
        """Change the served models of all workers, or of none.

        Args:
            kind: "load", "unload" or "reload".
            model: Model name; empty for a reload.

        Returns:
            The result, once every worker has committed or the change was aborted.

        Raises:
            ConnectionError: This worker is stopping.
        """
        if self._channel.is_closed:
            raise ConnectionError("The supervisor should be running; it has ended.")
        return await self._changes.request(kind, model)

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
                self._changes.prepare(message)
            case "commit":
                self._changes.commit(message["number"])
            case "abort":
                self._changes.abort(message["number"])
            case "result":
                self._changes.on_result(message)

    def _adopt(self, slot: int, passed: socket.socket | None) -> None:
        """Accept from the listening socket of a dead worker too."""
        if passed is None:  # this process is out of file descriptors; other workers accept
            log.error("socket not received", extra={"fields": {"slot": slot}})
            return
        self._release(slot)
        passed.setblocking(False)
        try:
            # It does not listen if its worker died while starting, or if all workers died.
            passed.listen(socket.SOMAXCONN)
        except OSError as error:
            log.error("socket not adopted", extra={"fields": {"slot": slot, "reason": error.strerror}})
            passed.close()
            return
        self._adopted[slot] = passed
        if self._listener:
            self._listener.add(passed)

    def _release(self, slot: int) -> None:
        """Stop accepting from a listening socket: the replacement of the dead worker serves."""
        adopted = self._adopted.pop(slot, None)
        if adopted is not None:
            if self._listener:
                self._listener.remove(adopted)
            adopted.close()
