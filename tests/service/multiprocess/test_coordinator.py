"""Two-phase changes: all workers apply a change, or none does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.multiprocess.change import ChangeKind, CommittedState
from service.multiprocess.coordinator import Coordinator

OLD = frozenset({("ink", "1"), ("softmax", "1")})
NEW = OLD | {("ink", "2")}
SERVED = {"ink": ["1", "2"], "softmax": ["1"]}


@dataclass
class Workers:
    """Fake workers: record the messages and kills of a coordinator; the clock is set by the test."""

    sent: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    published: frozenset[tuple[str, str]] = NEW
    now_s: float = 0.0

    def coordinator(self) -> Coordinator:
        def send(pid: int, message: Mapping[str, Any]) -> None:
            self.sent.append((pid, dict(message)))

        return Coordinator(
            CommittedState(OLD), lambda: self.published, send, self.killed.append, 60, lambda: self.now_s
        )

    def take(self) -> list[tuple[int, str]]:
        """Return process id and type of the messages since the last call."""
        taken = [(pid, message["type"]) for pid, message in self.sent]
        self.sent.clear()
        return taken


@pytest.fixture
def workers() -> Workers:
    return Workers()


def prepared(workers: Workers) -> Coordinator:
    """Return a coordinator that waits for workers 10 and 11 to prepare a load that worker 10 requested."""
    coordinator = workers.coordinator()
    coordinator.request(ChangeKind.LOAD, "ink", requester=10, request=7)
    coordinator.advance([10, 11], is_any_starting=False)
    return coordinator


def test_a_change_is_committed_once_every_worker_has_prepared_it(workers: Workers) -> None:
    """The requester gets the result after every worker has committed."""
    coordinator = prepared(workers)
    messages = dict(workers.sent)
    assert workers.take() == [(10, "prepare"), (11, "prepare")]
    coordinator.on_prepared(10, 1, SERVED, [])
    assert workers.take() == []

    coordinator.on_prepared(11, 1, SERVED, [])
    assert workers.take() == [(10, "commit"), (11, "commit")]
    coordinator.on_committed(10, 1)
    assert workers.take() == []
    coordinator.on_committed(11, 1)

    assert messages[11] == {
        "type": "prepare",
        "number": 1,
        "kind": "load",
        "model": "ink",
        "published": [["ink", "1"], ["ink", "2"]],
        "request": 0,
    }
    assert messages[10]["request"] == 7
    assert workers.sent == [
        (10, {"type": "result", "request": 7, "outcome": "committed", "reasons": [], "queued": 0})
    ]
    assert coordinator.state == CommittedState(NEW)
    assert not coordinator.is_running


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda it: it.on_prepared(11, 1, None, ["because"]), "because"),
        (lambda it: it.on_prepared(11, 1, {"ink": ["1"]}, ["ink/2: torn"]), "ink/2: torn"),
        (lambda it: it.on_exit(11), "one ended"),
        (lambda it: it.on_exit(10), "one ended"),
        (lambda it: it.stop(), "stopping"),
    ],
    ids=["refused", "another result", "death", "death of the requester, who was prepared", "stop"],
)
def test_a_change_that_not_all_workers_prepare_is_aborted(
    workers: Workers, happens: Callable[[Coordinator], None], reason: str
) -> None:
    """The requester gets the reason, and a starting worker loads the old state."""
    coordinator = prepared(workers)
    coordinator.on_prepared(10, 1, SERVED, [])
    workers.sent.clear()

    happens(coordinator)

    result = workers.sent[-1][1]
    aborted = {pid for pid, message in workers.sent if message["type"] == "abort"}
    assert "commit" not in {message["type"] for _, message in workers.sent}
    assert aborted >= {10, 11} - ({11} if "ended" in reason else set()) - (
        {10} if "ended" in reason else set()
    )
    assert aborted
    assert (result["type"], result["outcome"]) == ("result", "refused")
    assert reason in " ".join(result["reasons"])
    assert coordinator.state == CommittedState(OLD)
    assert not coordinator.is_running


def test_a_prepare_timeout_aborts_the_change_and_kills_no_worker(workers: Workers) -> None:
    """A late reply is ignored."""
    coordinator = prepared(workers)
    coordinator.on_prepared(10, 1, SERVED, [])
    workers.now_s = 59.9
    coordinator.expire()
    assert coordinator.is_running
    workers.sent.clear()

    workers.now_s = coordinator.due_s
    coordinator.expire()
    coordinator.on_prepared(11, 1, SERVED, [])

    assert workers.take() == [(10, "abort"), (11, "abort"), (10, "result")]
    assert workers.killed == []
    assert coordinator.state == CommittedState(OLD)


def test_a_worker_that_dies_during_the_commit_does_not_stop_it(workers: Workers) -> None:
    """Its replacement loads the new state."""
    coordinator = prepared(workers)
    for pid in (10, 11):
        coordinator.on_prepared(pid, 1, SERVED, [])
    coordinator.on_committed(10, 1)
    workers.sent.clear()

    coordinator.on_exit(11)

    assert [message["outcome"] for _, message in workers.sent] == ["committed"]
    assert coordinator.state == CommittedState(NEW)


def test_a_worker_that_does_not_commit_in_time_is_killed(workers: Workers) -> None:
    """Once; its end finishes the change."""
    coordinator = prepared(workers)
    for pid in (10, 11):
        coordinator.on_prepared(pid, 1, SERVED, [])
    coordinator.on_committed(10, 1)

    workers.now_s = coordinator.due_s
    coordinator.expire()
    coordinator.expire()
    was_running = coordinator.is_running
    coordinator.on_exit(11)

    assert workers.killed == [11]
    assert was_running
    assert not coordinator.is_running


def test_a_change_waits_for_starting_workers_and_earlier_changes(workers: Workers) -> None:
    """So a starting worker loads either the old or the new state."""
    coordinator = workers.coordinator()
    coordinator.request(ChangeKind.UNLOAD, "ink", requester=10, request=1)
    coordinator.request(ChangeKind.LOAD, "ink", requester=11, request=1)

    coordinator.advance([10], is_any_starting=True)
    coordinator.advance([], is_any_starting=False)
    assert workers.sent == []
    coordinator.advance([10, 11], is_any_starting=False)
    coordinator.advance([10, 11], is_any_starting=False)
    assert [message.get("kind") for _, message in workers.sent] == ["unload", "unload"]
    for pid in (10, 11):
        coordinator.on_prepared(pid, 1, {"softmax": ["1"]}, [])
    unloaded = coordinator.state
    for pid in (10, 11):
        coordinator.on_committed(pid, 1)
    workers.sent.clear()
    coordinator.advance([10, 11], is_any_starting=False)

    assert unloaded == CommittedState(OLD, frozenset({"ink"}))
    assert [message.get("kind") for _, message in workers.sent] == ["load", "load"]


def test_the_queue_is_bounded_in_time_and_length(workers: Workers) -> None:
    """Reloads by signal are merged."""
    coordinator = workers.coordinator()
    for request in range(1, 66):
        coordinator.request(ChangeKind.LOAD, "ink", requester=10, request=request)
    busy = [message for _, message in workers.sent]
    workers.sent.clear()
    workers.now_s = 60
    coordinator.expire()
    late = [message for _, message in workers.sent]

    coordinator.request(ChangeKind.RELOAD)
    coordinator.request(ChangeKind.RELOAD)

    assert [(message["outcome"], message["queued"]) for message in busy] == [("busy", 64)]
    assert [message["outcome"] for message in late] == ["refused"] * 64
    assert len(coordinator._queue) == 1


def test_queued_changes_of_a_dead_worker_are_dropped(workers: Workers) -> None:
    coordinator = workers.coordinator()
    coordinator.request(ChangeKind.LOAD, "ink", requester=10, request=1)

    coordinator.on_exit(10)
    coordinator.advance([11], is_any_starting=False)

    assert workers.sent == []


def test_an_unreadable_models_folder_refuses_the_change(workers: Workers) -> None:
    """Without its path."""

    def unreadable() -> frozenset[tuple[str, str]]:
        raise PermissionError(13, "Permission denied", "/secret")

    sent: list[Mapping[str, Any]] = []
    coordinator = Coordinator(
        CommittedState(OLD), unreadable, lambda _, it: sent.append(it), workers.killed.append, 60
    )
    coordinator.request(ChangeKind.LOAD, "ink", requester=10, request=1)

    coordinator.advance([10], is_any_starting=False)

    (result,) = sent
    assert result["reasons"] == ["The models folder should be readable; got Permission denied."]
    assert not coordinator.is_running


def test_the_committed_state_is_what_a_starting_worker_loads() -> None:
    """
    A load changes one model, a reload all but unloaded ones; models without served versions are not added.
    """
    coordinator = Workers().coordinator()

    def after(
        state: CommittedState, kind: ChangeKind, model: str, served: Mapping[str, list[str]]
    ) -> CommittedState:
        coordinator.request(kind, model)
        change = coordinator._queue.pop()
        return state.after(change, NEW | {("new", "1")}, served)

    start = CommittedState(OLD)
    unloaded = after(start, ChangeKind.UNLOAD, "ink", {"softmax": ["1"]})
    loaded = after(unloaded, ChangeKind.LOAD, "ink", SERVED)
    refused = after(start, ChangeKind.LOAD, "new", {"ink": ["1"], "softmax": ["1"]})
    reloaded = after(unloaded, ChangeKind.RELOAD, "", {"softmax": ["1"], "new": ["1"]})

    assert unloaded == CommittedState(OLD, frozenset({"ink"}))
    assert loaded == CommittedState(NEW)
    assert refused == start
    assert reloaded == CommittedState(OLD | {("new", "1")}, frozenset({"ink"}))
