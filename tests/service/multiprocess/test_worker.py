"""Messages between worker and supervisor, from the worker's side."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.multiprocess.change import ChangeResult, CommittedState
from service.multiprocess.channel import Channel
from service.multiprocess.shared_memory import SharedMemory, WorkerState
from service.multiprocess.staging import Staged
from service.multiprocess.worker import WorkerProcess


@dataclass
class Pair:
    """A worker, and the supervisor's end of its channel."""

    worker: WorkerProcess
    supervisor: Channel

    async def next(self) -> dict[str, Any]:
        """Return the next message from the worker."""
        while not (messages := self.supervisor.receive()):
            await asyncio.sleep(0.001)
        ((message, _),) = messages
        return message

    def prepare(self, number: int, request: int = 0) -> None:
        self.supervisor.send(
            {
                "type": "prepare",
                "number": number,
                "kind": "load",
                "model": "ink",
                "published": [["ink", "1"]],
                "request": request,
            }
        )


@pytest.fixture
def pair() -> Iterator[Pair]:
    own, other = Channel.pair()
    memory = SharedMemory(2, 100)
    memory.set_pid(1, os.getpid())
    yield Pair(WorkerProcess(memory, 1, os.getppid(), CommittedState(frozenset()), own), other)
    own.close()
    other.close()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


@dataclass
class Change:
    """A staged change that counts its commits."""

    error: Exception | None = None
    commits: int = 0
    served: dict[str, list[str]] = field(default_factory=lambda: {"ink": ["1"]})

    def commit(self) -> None:
        self.commits += 1


def staging(change: Change) -> Callable[[str, str, Collection[tuple[str, str]]], Staged]:
    def stage(kind: str, model: str, published: Collection[tuple[str, str]]) -> Staged:
        assert (kind, model, published) == ("load", "ink", {("ink", "1")})
        return change

    return stage


def test_reports_reach_the_supervisor_and_the_other_workers(pair: Pair) -> None:
    """Also before the event loop runs."""
    states = []
    for report in (pair.worker.report_ready, pair.worker.report_draining):
        report()
        states.append(pair.worker.statuses()[1].state)
    pair.worker.report_failure("because")

    assert states == [WorkerState.SERVING, WorkerState.DRAINING]
    assert [message for message, _ in pair.supervisor.receive()] == [
        {"type": "ready"},
        {"type": "draining"},
        {"type": "failed", "reason": "because"},
    ]


def test_a_change_is_prepared_and_committed_once(pair: Pair) -> None:
    change = Change()

    async def work() -> None:
        with pair.worker.connected(staging(change)):
            pair.prepare(1)
            prepared = await pair.next()
            commits = change.commits
            pair.supervisor.send({"type": "commit", "number": 1})
            committed = await pair.next()

        assert prepared == {"type": "prepared", "number": 1, "served": {"ink": ["1"]}, "reasons": []}
        assert commits == 0
        assert committed == {"type": "committed", "number": 1}

    run(work())
    assert change.commits == 1


def test_a_change_aborted_before_or_after_it_is_prepared_is_dropped(pair: Pair) -> None:
    """Even while it is loaded; the next one is prepared."""
    hold, entered = threading.Event(), threading.Event()
    changes = [Change(), Change(), Change()]
    left = list(changes)

    def stage(kind: str, model: str, published: Collection[tuple[str, str]]) -> Staged:
        del kind, model, published
        entered.set()
        assert hold.wait(30)
        return left.pop(0)

    async def work() -> None:
        with pair.worker.connected(stage):
            pair.prepare(1)
            await asyncio.to_thread(entered.wait, 30)
            pair.supervisor.send({"type": "abort", "number": 1})
            pair.prepare(2)
            await asyncio.sleep(0.01)  # it arrives, or the test proves less
            hold.set()
            second = await pair.next()
            pair.supervisor.send({"type": "abort", "number": 2})
            pair.prepare(3)
            third = await pair.next()
            pair.supervisor.send({"type": "commit", "number": 3})
            await pair.next()

        assert (second["number"], third["number"]) == (2, 3)

    run(work())
    assert [change.commits for change in changes] == [0, 0, 1]


def test_a_change_that_cannot_be_staged_is_refused_with_its_reason(pair: Pair) -> None:
    def stage(kind: str, model: str, published: Collection[tuple[str, str]]) -> Staged:
        del kind, model, published
        raise ValueError("because")

    async def work() -> None:
        with pair.worker.connected(stage):
            pair.prepare(1)
            prepared = await pair.next()

        assert prepared == {"type": "prepared", "number": 1, "served": None, "reasons": ["because"]}

    run(work())


def test_a_requester_gets_its_own_error_with_the_result(pair: Pair) -> None:
    """Two requests at once each get their own."""
    error = ValueError("ink/2: torn")

    async def work() -> None:
        with pair.worker.connected(staging(Change(error))):
            first = asyncio.create_task(pair.worker.request_change("load", "ink"))
            requested = await pair.next()
            second = asyncio.create_task(pair.worker.request_change("unload", "ink"))
            also = await pair.next()
            pair.prepare(1, request=requested["request"])
            prepared = await pair.next()
            for message, outcome in ((also, "refused"), (requested, "committed")):
                result = {"outcome": outcome, "reasons": ["x"], "queued": 0}
                pair.supervisor.send({"type": "result", "request": message["request"], **result})
            results = [await first, await second]

        assert requested == {"type": "change", "request": 1, "kind": "load", "model": "ink"}
        assert prepared["reasons"] == ["ink/2: torn"]
        assert results == [
            ChangeResult("committed", ["x"], error, 0),
            ChangeResult("refused", ["x"], None, 0),
        ]
        assert pair.worker._changes._errors == {}

    run(work())


def test_the_result_of_a_cancelled_request_is_dropped(pair: Pair) -> None:
    """Its change goes on."""

    async def work() -> None:
        with pair.worker.connected(staging(Change())):
            request = asyncio.create_task(pair.worker.request_change("load", "ink"))
            number = (await pair.next())["request"]
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            pair.prepare(1, request=number)
            await pair.next()
            pair.supervisor.send(
                {"type": "result", "request": number, "outcome": "committed", "reasons": [], "queued": 0}
            )
            pair.prepare(2)
            await pair.next()

        assert (pair.worker._changes._errors, pair.worker._changes._results) == ({}, {})

    run(work())


def test_requests_fail_when_the_worker_stops(pair: Pair) -> None:
    """Waiting and new ones."""

    async def work() -> None:
        with pair.worker.connected():
            request = asyncio.create_task(pair.worker.request_change("load", "ink"))
            await pair.next()
        for waiting in (request, pair.worker.request_change("load", "ink")):
            with pytest.raises(ConnectionError):
                await waiting

    run(work())


class Listener:
    """A fake listener: records its sockets."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def add(self, sock: socket.socket) -> None:
        self.sockets.append(sock)

    def remove(self, sock: socket.socket) -> None:
        assert sock.fileno() >= 0, "it is open until the listener has left it"
        self.sockets.remove(sock)


def test_sockets_of_dead_workers_are_accepted_from_until_they_are_released(pair: Pair) -> None:
    """Whether they arrive before or after the listener is attached."""
    listener = Listener()

    async def work() -> None:
        bound = [socket.socket() for _ in range(2)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        names = [one.getsockname() for one in bound]
        with pair.worker.connected():
            pair.supervisor.send({"type": "adopt", "slot": 0}, bound[0])
            while not pair.worker._adopted:
                await asyncio.sleep(0.001)
            pair.worker.attach_listener(listener)
            pair.supervisor.send({"type": "adopt", "slot": 1}, bound[1])
            while len(listener.sockets) < 2:
                await asyncio.sleep(0.001)
            for one in bound:
                one.close()
            assert [one.getsockname() for one in listener.sockets] == names
            assert not any(one.getblocking() for one in listener.sockets)
            for name in names:
                socket.create_connection(name, 10).close()
            pair.supervisor.send({"type": "release", "slot": 0})
            pair.supervisor.send({"type": "release", "slot": 7})  # which it never had
            while len(listener.sockets) > 1:
                await asyncio.sleep(0.001)
            assert [one.getsockname() for one in listener.sockets] == names[1:]
        assert listener.sockets == []
        for name in names:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(name, 10)

    run(work())


def test_a_message_without_its_socket_is_ignored(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """As if the process is out of descriptors."""

    async def work() -> None:
        with pair.worker.connected(staging(Change())):
            pair.supervisor.send({"type": "adopt", "slot": 0})
            pair.prepare(1)
            await pair.next()

    with caplog.at_level(logging.ERROR, logger="service.multiprocess.worker"):
        run(work())
    assert "socket not received" in caplog.messages


def test_a_worker_stops_if_its_supervisor_ends(pair: Pair) -> None:
    """As at SIGTERM."""
    stopped = asyncio.Event()

    async def work() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        with pair.worker.connected():
            pair.supervisor.close()
            await stopped.wait()

    run(work())
