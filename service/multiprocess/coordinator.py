"""Two-phase changes of the served models, in the supervisor: every worker applies a change, or none does.

1. prepare: each worker loads and checks the new state aside and reports what it would serve.
2. commit, if all of them would serve the same; otherwise abort, and the reasons are returned to the
requester.

Changes run one after the other. No worker starts while one is running, and none runs while a worker starts,
so a worker always begins with the last committed state.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

log = logging.getLogger(__name__)

_MOST_QUEUED = 64
_COMMIT_TIMEOUT_S = 10.0
"""A commit replaces one reference; a worker that needs longer hangs, and is replaced."""

Served = Mapping[str, Sequence[str]]
"""Versions by model name."""


class Kind(StrEnum):
    """Kind of a change."""

    LOAD = "load"  # one model
    UNLOAD = "unload"  # one model
    RELOAD = "reload"  # every model, and keys and certificates


class Outcome(StrEnum):
    """Outcome of a change."""

    COMMITTED = "committed"  # every worker applied it
    REFUSED = "refused"  # no worker applied it
    BUSY = "busy"  # too many changes are queued


@dataclass(frozen=True)
class CommittedState:
    """What a worker serves when it starts.

    Attributes:
        published: Names and versions that are loaded; folders that appeared later are ignored.
        unloaded: Names of models that were unloaded through management.
    """

    published: frozenset[tuple[str, str]]
    unloaded: frozenset[str] = frozenset()

    def after(
        self, change: "Change", published: frozenset[tuple[str, str]], served: Served
    ) -> "CommittedState":
        """Return the state after a change.

        Args:
            change: The change.
            published: Names and versions that were published when it was prepared.
            served: What the workers serve after it.
        """
        if change.kind is Kind.UNLOAD:
            return CommittedState(self.published, self.unloaded | {change.model})
        names = {name for name, _ in published}
        names = names & {change.model} if change.kind is Kind.LOAD else names - self.unloaded
        # A model of which nothing is served keeps its entry: a new one would make a starting worker unready.
        names = {name for name in names if served.get(name)}
        kept = {(name, version) for name, version in self.published if name not in names}
        return CommittedState(
            frozenset(kept | {(name, version) for name, version in published if name in names}),
            self.unloaded - {change.model},
        )


@dataclass
class Change:
    """A requested change.

    Attributes:
        number: Identifies it in messages.
        kind: Kind.
        model: Name of the model; empty for a reload.
        requester: Process id of the worker that requested it; None for SIGHUP.
        request: The requester's number for it.
        deadline_s: Clock time at which it is aborted, or at which a worker that has not committed is killed.
        participants: Process ids of the workers that were told to prepare and have not ended.
        waiting: Those of them that have not answered in this phase.
        published: Names and versions that were published when it was prepared.
        served: What the first worker that answered would serve.
        reasons: Why it cannot be committed.
        is_committing: Whether it is decided.
    """

    number: int
    kind: Kind
    model: str
    requester: int | None
    request: int
    deadline_s: float
    participants: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    published: frozenset[tuple[str, str]] = frozenset()
    served: Served | None = None
    reasons: list[str] = field(default_factory=list)
    is_committing: bool = False


class Coordinator:
    """Runs changes one after the other.

    Attributes:
        state: The last committed state.
    """

    def __init__(
        self,
        state: CommittedState,
        list_published: Callable[[], frozenset[tuple[str, str]]],
        send: Callable[[int, Mapping[str, Any]], None],
        kill: Callable[[int], None],
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with nothing to do.

        Args:
            state: What the first workers load.
            list_published: Returns names and versions that are published now; raises OSError.
            send: Sends a message to a worker, by process id.
            kill: Kills a worker that does not commit.
            timeout_s: Longest time from a request to the end of its prepare phase, in seconds.
            clock: Monotonic time in seconds.
        """
        self.state = state
        self._list_published = list_published
        self._send = send
        self._kill = kill
        self._timeout_s = timeout_s
        self._clock = clock
        self._queue: deque[Change] = deque()
        self._running: Change | None = None
        self._count = 0

    @property
    def is_running(self) -> bool:
        """Whether a change is running; no worker may be started meanwhile."""
        return self._running is not None

    @property
    def due_s(self) -> float:
        """Clock time at which `expire` has something to do; inf if nothing is queued or running."""
        changes = [*self._queue, self._running] if self._running else self._queue
        return min((change.deadline_s for change in changes), default=inf)

    def request(self, kind: Kind, model: str = "", requester: int | None = None, request: int = 0) -> None:
        """Queue a change; `advance` starts it.

        Args:
            kind: Kind.
            model: Name of the model; empty for a reload.
            requester: Process id of the worker that gets the result; None logs it.
            request: The requester's number for it, returned with the result.
        """
        if requester is None and any(change.requester is None for change in self._queue):
            return  # the one that is queued will read the same files
        self._count += 1
        change = Change(self._count, kind, model, requester, request, self._clock() + self._timeout_s)
        if len(self._queue) >= _MOST_QUEUED:
            self._report(change, Outcome.BUSY)
        else:
            self._queue.append(change)

    def advance(self, serving: Collection[int], is_any_starting: bool) -> None:
        """Start the next change if none is running and no worker is starting.

        Args:
            serving: Process ids of the workers that serve.
            is_any_starting: Whether some worker is neither serving nor stopping.
        """
        while self._queue and not self._running and serving and not is_any_starting:
            change = self._queue.popleft()
            try:
                change.published = self._list_published()
            except OSError as error:
                change.reasons = [f"The models folder should be readable; got {error.strerror}."]
                self._report(change, Outcome.REFUSED)
                continue
            self._running = change
            change.participants = set(serving)
            change.waiting = set(serving)
            published = [[*pair] for pair in sorted(change.published) if change.model in ("", pair[0])]
            for pid in serving:
                request = change.request if pid == change.requester else 0
                members = {
                    "kind": change.kind.value,
                    "model": change.model,
                    "published": published,
                    "request": request,
                }
                self._tell(change, pid, "prepare", **members)

    def on_prepared(self, pid: int, number: int, served: Served | None, reasons: Sequence[str]) -> None:
        """Handle a worker's report that it is ready to commit, or why it is not.

        Args:
            pid: The worker.
            number: Of the change.
            served: What it would serve; None if it refuses the change.
            reasons: What is wrong with published folders, or why it refuses.
        """
        change = self._running
        if change is None or change.number != number or pid not in change.waiting or change.is_committing:
            return  # it was aborted
        change.waiting.discard(pid)
        if served is None:
            self._abort(change, reasons)
        elif change.served not in (None, served):
            self._abort(change, [*reasons, "Every worker should load the same versions; they differ."])
        else:
            change.served = served
            if not change.waiting:
                self._commit(change)

    def on_committed(self, pid: int, number: int) -> None:
        """Handle a worker's report that it has committed."""
        change = self._running
        if change is not None and change.number == number and change.is_committing:
            self._remove(change, pid)

    def on_exit(self, pid: int) -> None:
        """Handle a worker that ends or drains: what it prepares is aborted, a decided change goes on."""
        self._queue = deque(change for change in self._queue if change.requester != pid)
        change = self._running
        if change is None or pid not in change.participants:
            return
        change.participants.discard(pid)
        if change.is_committing:
            self._remove(change, pid)
        else:
            self._abort(change, ["Every worker should prepare the change; one ended meanwhile."])

    def expire(self) -> None:
        """Abort what was not prepared in time; kill workers that have not committed in time."""
        now = self._clock()
        for change in [change for change in self._queue if change.deadline_s <= now]:
            self._queue.remove(change)
            change.reasons = [
                f"Every worker should be ready to prepare within {self._timeout_s:g} s; one was not."
            ]
            self._report(change, Outcome.REFUSED)
        running = self._running
        if running is None or running.deadline_s > now:
            return
        if running.is_committing:
            running.deadline_s = inf
            for pid in running.waiting:
                self._kill(pid)  # `on_exit` follows
        else:
            self._abort(
                running,
                [f"Every worker should prepare the change within {self._timeout_s:g} s; one did not."],
            )

    def stop(self) -> None:
        """Abort everything that is not decided, because the service stops."""
        reasons = ["The service should not be stopping; it is."]
        if self._running and not self._running.is_committing:
            self._abort(self._running, reasons)
        while self._queue:
            change = self._queue.popleft()
            change.reasons = reasons
            self._report(change, Outcome.REFUSED)

    def _commit(self, change: Change) -> None:
        """Decide for the change: from here on, a worker that starts loads the new state."""
        change.is_committing = True
        change.deadline_s = self._clock() + _COMMIT_TIMEOUT_S
        change.waiting = set(change.participants)
        self.state = self.state.after(change, change.published, change.served or {})
        for pid in change.participants:
            self._tell(change, pid, "commit")

    def _abort(self, change: Change, reasons: Sequence[str]) -> None:
        self._running = None
        change.reasons = list(dict.fromkeys(reasons))
        for pid in change.participants:
            self._tell(change, pid, "abort")
        self._report(change, Outcome.REFUSED)

    def _remove(self, change: Change, pid: int) -> None:
        """Note that a worker has committed, or has ended; the change is finished with the last."""
        change.waiting.discard(pid)
        if not change.waiting:
            self._running = None
            self._report(change, Outcome.COMMITTED)

    def _report(self, change: Change, outcome: Outcome) -> None:
        if change.requester is not None:
            members = {"request": change.request, "reasons": change.reasons, "queued": len(self._queue)}
            self._send(change.requester, {"type": "result", "outcome": outcome.value, **members})
        fields = {"kind": change.kind.value, "model": change.model, "reasons": change.reasons}
        if outcome is Outcome.COMMITTED:
            log.info("change committed", extra={"fields": fields})
        else:
            log.error(f"change {outcome.value}", extra={"fields": fields})

    def _tell(self, change: Change, pid: int, message: str, /, **members: Any) -> None:  # noqa: ANN401 - JSON
        self._send(pid, {"type": message, "number": change.number, **members})
