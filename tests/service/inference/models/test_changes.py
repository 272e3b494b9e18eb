"""Changes of the served models: load, unload, reload; staged first, then committed."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.core.errors import (
    DeadlineExceeded,
    Overloaded,
    ReloadRefused,
    ServiceError,
    Stopping,
    UnknownModel,
)
from service.inference.models.changes import (
    LOAD,
    RELOAD,
    UNLOAD,
    LocalChanges,
    ReloadSignal,
    SharedChanges,
    Stager,
)
from service.inference.models.registry import Registry
from service.inference.thread_pool import ThreadPool
from tests import toys


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry that serves version 1 of `quadrants`; version 2 was published later."""
    toys.publish(tmp_path)
    registry = Registry(tmp_path)
    registry.load()
    toys.publish(tmp_path)
    return registry


def served(registry: Registry) -> list[str]:
    return [model.version for model in registry.models()]


def in_one_process(registry: Registry, use: Callable[[LocalChanges], Coroutine[Any, Any, None]]) -> None:
    """Run a function with the changes of a service of one process."""
    workers = ThreadPool(1, 8, 30)

    async def run() -> None:
        await use(LocalChanges(Stager(registry), workers))

    try:
        asyncio.run(run())
    finally:
        workers.close()


@pytest.mark.parametrize(
    ("kind", "model", "versions"),
    [(LOAD, "quadrants", ["1", "2"]), (UNLOAD, "quadrants", []), (RELOAD, "", ["1", "2"])],
)
def test_one_process_applies_a_change_at_once(
    registry: Registry, kind: str, model: str, versions: list[str]
) -> None:
    """Of each kind."""
    in_one_process(registry, lambda changes: changes.apply(kind, model))

    assert served(registry) == versions


@pytest.mark.parametrize("kind", [LOAD, UNLOAD])
def test_an_unpublished_model_is_unknown(registry: Registry, kind: str) -> None:
    with pytest.raises(UnknownModel):
        in_one_process(registry, lambda changes: changes.apply(kind, "unknown"))


def test_hooks_prepare_first_and_take_effect_at_the_commit(registry: Registry) -> None:
    """In order, and only for a reload of everything."""
    events = []
    stager = Stager(registry)

    def hook(name: str) -> Callable[[], Callable[[], None]]:
        def prepare() -> Callable[[], None]:
            events.append(f"prepare {name}")
            return lambda: events.append(f"commit {name}")

        return prepare

    stager.hooks += [hook("keys"), hook("certificates")]

    stager(LOAD, "quadrants").commit()
    assert events == []
    staged = stager(RELOAD, "")
    prepared = list(events)
    staged.commit()

    assert prepared == ["prepare keys", "prepare certificates"]
    assert events[2:] == ["commit keys", "commit certificates"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("line 3 should have 4 fields; got 2."), "line 3 should have 4 fields; got 2."),
        (PermissionError(13, "Permission denied", "/secret/keys"), "Permission denied."),
        (MemoryError("0x7f00"), "MemoryError; see the log."),
    ],
)
def test_a_hook_can_refuse_the_whole_reload(registry: Registry, error: Exception, reason: str) -> None:
    """With its reason but without paths and internals; the models do not change either."""
    stager = Stager(registry)

    def prepare() -> Callable[[], None]:
        raise error

    stager.hooks.append(prepare)

    with pytest.raises(ReloadRefused) as caught:
        stager(RELOAD, "")

    assert caught.value.refused == (reason,)
    assert served(registry) == ["1"]


@dataclass
class Result:
    """The result of a coordinator."""

    outcome: str = "committed"
    reasons: Sequence[str] = ()
    error: Exception | None = None
    queued: int = 3


@dataclass
class ChangeRequester:
    """A fake coordinator: returns a result, raises an error, or never returns."""

    outcome: Result | Exception | None

    async def request_change(self, kind: str, model: str = "") -> Result:
        del kind, model
        if self.outcome is None:
            await asyncio.Event().wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "expected", "words"),
    [
        (Result(error=UnknownModel("unknown", [])), UnknownModel, "unknown"),
        (Result("refused", ["one ended meanwhile."]), ReloadRefused, "one ended meanwhile."),
        (Result("busy"), Overloaded, "3 requests"),
        (ConnectionError("stopping"), Stopping, "stopping"),
        (None, DeadlineExceeded, "0.05 seconds"),
    ],
)
def test_a_change_that_workers_refuse_is_an_error(
    outcome: Result | Exception | None, expected: type[ServiceError], words: str
) -> None:
    """It has a status in HTTP and gRPC."""
    with pytest.raises(expected, match=words):
        asyncio.run(SharedChanges(ChangeRequester(outcome), 0.05).apply(LOAD, "quadrants"))


def test_a_change_that_workers_committed_is_no_error() -> None:
    asyncio.run(SharedChanges(ChangeRequester(Result()), 10).apply(LOAD, "quadrants"))


@dataclass
class Slow:
    """Changes that wait for the test, and may be refused."""

    go_on: asyncio.Event
    count: int = 0
    error: ServiceError | None = None

    async def apply(self, kind: str, model: str = "") -> None:
        assert (kind, model) == (RELOAD, "")
        self.count += 1
        await self.go_on.wait()
        if self.error:
            raise self.error


def test_signals_during_a_reload_cause_one_more_reload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refusal is logged, and the next signal is handled."""

    async def run() -> list[int]:
        changes = Slow(asyncio.Event())
        reload = ReloadSignal(changes)
        counts = []
        reload()
        await asyncio.sleep(0)
        for _ in range(5):
            reload()
        counts.append(changes.count)
        changes.error = ReloadRefused("models", ["because"])
        changes.go_on.set()
        while reload._task:
            await asyncio.sleep(0)
        counts.append(changes.count)
        reload()
        while reload._task:
            await asyncio.sleep(0)
        return [*counts, changes.count]

    with caplog.at_level(logging.INFO, logger="service.inference.models.changes"):
        counts = asyncio.run(run())

    assert counts == [1, 2, 3]
    assert caplog.messages == ["reload refused"] * 3
