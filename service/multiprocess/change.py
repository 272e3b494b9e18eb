"""A change of the served models in all workers: its kind, its result, and the state that it leads to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

ServedVersions = Mapping[str, Sequence[str]]
"""Versions by model name."""


class ChangeKind(StrEnum):
    """Kind of a change."""

    LOAD = "load"  # one model
    UNLOAD = "unload"  # one model
    RELOAD = "reload"  # all models, keys and certificates


class ChangeOutcome(StrEnum):
    """Outcome of a change."""

    COMMITTED = "committed"  # every worker applied it
    REFUSED = "refused"  # no worker applied it
    BUSY = "busy"  # too many changes are queued


@dataclass(frozen=True)
class ChangeResult:
    """Result of a change, as the worker that requested it gets it.

    Attributes:
        outcome: "committed", "refused" or "busy".
        reasons: Why it was refused.
        error: Error that this worker itself found in published folders or raised; None if there is none.
        queued: Number of changes that were waiting.
    """

    outcome: str
    reasons: Sequence[str]
    error: Exception | None
    queued: int


@dataclass(frozen=True)
class CommittedState:
    """The models that a starting worker loads.

    Attributes:
        published: Names and versions to load; other folders are ignored.
        unloaded: Names of unloaded models.
    """

    published: frozenset[tuple[str, str]]
    unloaded: frozenset[str] = frozenset()

    def after(
        self, change: "Change", published: frozenset[tuple[str, str]], served: ServedVersions
    ) -> "CommittedState":
        """Return the state after a change.

        Args:
            change: The change.
            published: Names and versions that were published when it was prepared.
            served: Versions that the workers serve after it.
        """
        if change.kind is ChangeKind.UNLOAD:
            return CommittedState(self.published, self.unloaded | {change.model})
        names = {name for name, _ in published}
        names = names & {change.model} if change.kind is ChangeKind.LOAD else names - self.unloaded
        # A model without served versions keeps its entry: a new one would make a starting worker unready.
        names = {name for name in names if served.get(name)}
        unchanged = {(name, version) for name, version in self.published if name not in names}
        return CommittedState(
            frozenset(unchanged | {(name, version) for name, version in published if name in names}),
            self.unloaded - {change.model},
        )


@dataclass
class Change:
    """A change in progress.

    Attributes:
        number: Identifies it in messages.
        kind: What changes.
        model: Name of the model; empty for a reload.
        requester: Process id of the worker that requested it; None for SIGHUP.
        request: The requester's number for it.
        deadline_s: Clock time at which it is aborted, or at which a worker that has not committed is killed.
        participants: Process ids of the workers that take part and have not ended.
        waiting: Those of them that have not replied in this phase.
        published: Names and versions that were published when it was prepared.
        served: Versions that the first worker that replied would serve.
        reasons: Why it was refused.
        is_committing: Whether it is in the commit phase.
    """

    number: int
    kind: ChangeKind
    model: str
    requester: int | None
    request: int
    deadline_s: float
    participants: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    published: frozenset[tuple[str, str]] = frozenset()
    served: ServedVersions | None = None
    reasons: list[str] = field(default_factory=list)
    is_committing: bool = False
