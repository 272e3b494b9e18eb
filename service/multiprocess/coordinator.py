"""Two-phase changes of the served models, in the supervisor: every worker applies a change, or none does.

1. Prepare: each worker loads and checks the new state aside, and reports the versions that it would serve.
2. Commit, if all workers would serve the same versions; otherwise abort, and return the reasons to the
requester.

Changes run one after the other. No worker starts while one is running, and none runs while a worker starts,
so a worker always starts with the last committed state.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Any

from service.multiprocess.change import Change, ChangeKind, ChangeOutcome, CommittedState, ServedVersions

log = logging.getLogger(__name__)

_MAX_QUEUED = 64
_COMMIT_TIMEOUT_S = 10.0
"""A commit replaces one reference; a worker that needs longer hangs, and is killed."""


class Coordinator:
    """Runs two-phase changes, one after the other.

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
        """Create it.

        Args:
            state: State that the first workers load.
            list_published: Returns the published names and versions; raises OSError.
            send: Sends a message to a worker, by process id.
            kill: Kills a worker that does not commit.
            timeout_s: Maximum time from a request to the end of its prepare phase, in seconds.
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
        """Whether a change is running; no worker may be started then."""
        return self._running is not None

    @property
    def due_s(self) -> float:
        """Clock time of the next deadline; inf if no change is queued or running."""
        changes = [*self._queue, self._running] if self._running else self._queue
        return min((change.deadline_s for change in changes), default=inf)

    def request(
        self, kind: ChangeKind, model: str = "", requester: int | None = None, request: int = 0
    ) -> None:
        """Queue a change; `advance` starts it.

        Args:
            kind: What changes.
            model: Name of the model; empty for a reload.
            requester: Process id of the worker that gets the result; None logs it.
            request: The requester's number for it, returned with the result.
        """
        if requester is None and any(change.requester is None for change in self._queue):
            return  # the queued reload will read the same files
        self._count += 1
        change = Change(self._count, kind, model, requester, request, self._clock() + self._timeout_s)
        if len(self._queue) >= _MAX_QUEUED:
            self._report(change, ChangeOutcome.BUSY)
        else:
            self._queue.append(change)

    def advance(self, serving: Collection[int], is_any_starting: bool) -> None:
        """Start the next change if none is running and no worker is starting.

        Args:
            serving: Process ids of the workers that serve.
            is_any_starting: Whether a worker has not served yet.
        """
        while self._queue and not self._running and serving and not is_any_starting:
            change = self._queue.popleft()
            try:
                change.published = self._list_published()
            except OSError as error:
                change.reasons = [f"The models folder should be readable; got {error.strerror}."]
                self._report(change, ChangeOutcome.REFUSED)
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
                self._send_phase(change, pid, "prepare", **members)

    def on_prepared(
        self, pid: int, number: int, served: ServedVersions | None, reasons: Sequence[str]
    ) -> None:
        """Handle a worker's message that it has prepared the change, or refuses it.

        Args:
            pid: Process id of the worker.
            number: Number of the change.
            served: Versions that it would serve; None if it refuses the change.
            reasons: Errors of published folders, or why it refuses.
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
        """Handle a worker's message that it has committed."""
        change = self._running
        if change is not None and change.number == number and change.is_committing:
            self._remove(change, pid)

    def on_exit(self, pid: int) -> None:
        """Handle the end or draining of a worker: abort the change unless it is committing."""
        self._queue = deque(change for change in self._queue if change.requester != pid)
        change = self._running
        if change is None or pid not in change.participants:
            return
        change.participants.discard(pid)
        if change.is_committing:
            self._remove(change, pid)
        else:
            self._abort(change, ["Every worker should prepare the change; one ended."])

    def expire(self) -> None:
        """Abort changes that were not prepared in time; kill workers that have not committed in time."""
        now = self._clock()
        for change in [change for change in self._queue if change.deadline_s <= now]:
            self._queue.remove(change)
            change.reasons = [f"The change should start within {self._timeout_s:g} s; it was still queued."]
            self._report(change, ChangeOutcome.REFUSED)
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
        """Abort all changes that are not committing, because the service stops."""
        reasons = ["The service should not be stopping; it is."]
        if self._running and not self._running.is_committing:
            self._abort(self._running, reasons)
        while self._queue:
            change = self._queue.popleft()
            change.reasons = reasons
            self._report(change, ChangeOutcome.REFUSED)

    def _commit(self, change: Change) -> None:
        """Start the commit phase: a worker that starts from now on loads the new state."""
        change.is_committing = True
        change.deadline_s = self._clock() + _COMMIT_TIMEOUT_S
        change.waiting = set(change.participants)
        self.state = self.state.after(change, change.published, change.served or {})
        for pid in change.participants:
            self._send_phase(change, pid, "commit")

    def _abort(self, change: Change, reasons: Sequence[str]) -> None:
        self._running = None
        change.reasons = list(dict.fromkeys(reasons))
        for pid in change.participants:
            self._send_phase(change, pid, "abort")
        self._report(change, ChangeOutcome.REFUSED)

    def _remove(self, change: Change, pid: int) -> None:
        """Remove a worker that has committed or ended; the last one finishes the change."""
        change.waiting.discard(pid)
        if not change.waiting:
            self._running = None
            self._report(change, ChangeOutcome.COMMITTED)

    def _report(self, change: Change, outcome: ChangeOutcome) -> None:
        if change.requester is not None:
            members = {"request": change.request, "reasons": change.reasons, "queued": len(self._queue)}
            self._send(change.requester, {"type": "result", "outcome": outcome.value, **members})
        fields = {"kind": change.kind.value, "model": change.model, "reasons": change.reasons}
        if outcome is ChangeOutcome.COMMITTED:
            log.info("change committed", extra={"fields": fields})
        else:
            log.error(f"change {outcome.value}", extra={"fields": fields})

    def _send_phase(self, change: Change, pid: int, phase: str, /, **members: Any) -> None:  # noqa: ANN401 - JSON
        self._send(pid, {"type": phase, "number": change.number, **members})
