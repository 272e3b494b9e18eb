"""Changes of the served models while the service runs: load, unload, and the reload at SIGHUP.

A change is first staged (loaded and checked aside), then committed. `LocalChanges` does both in one process;
`SharedChanges` commits in all worker processes or in none.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.core.errors import DeadlineExceeded, Overloaded, ReloadRefused, ServiceError, Stopping
from service.inference.models.registry import Registry, StagedChange
from service.inference.thread_pool import ThreadPool

log = logging.getLogger(__name__)

LOAD, UNLOAD, RELOAD = "load", "unload", "reload"

ReloadHook = Callable[[], Callable[[], None]]
"""Reads and checks new keys or certificates, and returns the function that puts them in force.

It runs in a thread, and may raise `OSError`, `ValueError` or `ServiceError` to refuse the whole reload; the
message of the last two is returned to the client, so it must contain no path and no secret. The returned
function runs in a thread (one process) or in the event loop (several workers), and must neither raise nor
block.
"""


class Changes(Protocol):
    """Applies changes."""

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change in every process, or in none.

        Args:
            kind: `LOAD`, `UNLOAD` or `RELOAD`.
            model: Model name; empty for `RELOAD`.

        Raises:
            UnknownModel: As `Registry.reload` and `Registry.unload`.
            ReloadRefused: A published folder is refused (valid ones were loaded, in every process), or a
                process could not stage the change (nothing has changed in any process).
            Overloaded, DeadlineExceeded, Stopping: As for any request.
        """


@dataclass(frozen=True)
class StagedReload:
    """A staged change of the registry, with the commit functions of the reload hooks.

    Attributes:
        registry: The registry.
        models: Its staged change.
        commits: Functions that the hooks returned.
        served: Loaded versions after the change, by model name.
        error: Error of published folders; the change can be committed nevertheless.
    """

    registry: Registry
    models: StagedChange
    commits: Sequence[Callable[[], None]] = ()

    @property
    def served(self) -> dict[str, list[str]]:
        """Loaded versions after the change, by model name."""
        return self.models.served

    @property
    def error(self) -> ServiceError | None:
        """Error of published folders; None if there is none."""
        return self.models.error

    def commit(self) -> None:
        """Make the models visible as a whole, then put keys and certificates in force."""
        self.registry.commit(self.models)
        for commit in self.commits:
            commit()


class Stager:
    """Stages changes of the registry, and runs the reload hooks.

    Attributes:
        hooks: Called for `RELOAD` only, in order. Append to it before the service starts.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.hooks: list[ReloadHook] = []

    def __call__(
        self, kind: str, model: str, among: Container[tuple[str, str]] | None = None
    ) -> StagedReload:
        """Stage a change; nothing changes until it is committed.

        Args:
            kind: `LOAD`, `UNLOAD` or `RELOAD`.
            model: Model name; empty for `RELOAD`.
            among: Names and versions to consider; None considers everything published.

        Raises:
            ReloadRefused: A hook refuses the reload, or an unexpected error occurred; nothing may be
                committed.
        """
        try:
            if kind == LOAD:
                return StagedReload(self._registry, self._registry.stage_load(model, among))
            if kind == UNLOAD:
                return StagedReload(self._registry, self._registry.stage_unload(model))
            commits = [prepare() for prepare in self.hooks]
            return StagedReload(self._registry, self._registry.stage_reload(among), commits)
        except OSError as error:
            raise ReloadRefused(model, [f"{error.strerror or 'a file could not be read'}."]) from error
        except (ServiceError, ValueError) as error:
            raise ReloadRefused(model, [str(error)]) from error
        except Exception as error:  # MemoryError, for example
            log.exception("unexpected error")
            raise ReloadRefused(model, [f"{type(error).__name__}; see the log."]) from error


class LocalChanges:
    """Applies changes in this process, one after the other."""

    def __init__(self, stager: Stager, thread_pool: ThreadPool) -> None:
        """Create it.

        Args:
            stager: Stages the changes.
            thread_pool: Threads in which models are loaded.
        """
        self._stager = stager
        self._thread_pool = thread_pool
        self._lock = threading.Lock()

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change; as `Changes.apply`. Its error, if any, is raised after the commit."""
        await self._thread_pool.run(lambda: self._apply(kind, model))

    def _apply(self, kind: str, model: str) -> None:
        with self._lock:
            staged = self._stager(kind, model)
            staged.commit()
        if staged.error:
            raise staged.error


class ThreadsafeChanges:
    """Applies changes from the event loop of another thread."""

    def __init__(self, changes: Changes, loop: asyncio.AbstractEventLoop) -> None:
        """Create it.

        Args:
            changes: Applies the changes.
            loop: Event loop in which `changes` runs.
        """
        self._changes = changes
        self._loop = loop

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change; as `Changes.apply`."""
        applied = asyncio.run_coroutine_threadsafe(self._changes.apply(kind, model), self._loop)
        await asyncio.wrap_future(applied)


class Result(Protocol):
    """Result of a change in all workers.

    Attributes:
        outcome: "committed", "refused" or "busy".
        reasons: Why it was refused.
        error: Error that this worker itself found.
        queued: Number of changes that were waiting.
    """

    @property
    def outcome(self) -> str: ...  # noqa: D102 - described above

    @property
    def queued(self) -> int: ...  # noqa: D102 - described above

    @property
    def reasons(self) -> Sequence[str]: ...  # noqa: D102 - described above

    @property
    def error(self) -> Exception | None: ...  # noqa: D102 - described above


class ChangeRequester(Protocol):
    """Runs a change in all workers: every worker prepares it, then all commit it or all drop it."""

    async def request_change(self, kind: str, model: str = "") -> Result:
        """Return the result; raise ConnectionError if this worker is stopping."""


class SharedChanges:
    """Applies changes in all worker processes or in none."""

    def __init__(self, coordinator: ChangeRequester, timeout_s: float) -> None:
        """Create it.

        Args:
            coordinator: Runs changes in all workers.
            timeout_s: Maximum time that a request waits for the result, in seconds; the change goes on.
        """
        self._coordinator = coordinator
        self._timeout_s = timeout_s

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change; as `Changes.apply`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._coordinator.request_change(kind, model)
        except TimeoutError as error:
            raise DeadlineExceeded(self._timeout_s) from error
        except ConnectionError as error:
            raise Stopping from error
        if result.error:
            raise result.error
        if result.outcome == "busy":
            raise Overloaded(result.queued)
        if result.outcome != "committed":
            raise ReloadRefused(model, result.reasons)


class ReloadSignal:
    """Handler of SIGHUP in a service of one process: reloads models, keys and certificates.

    Signals that arrive during a reload cause one more reload after it.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._task: asyncio.Task[None] | None = None
        self._is_due = False

    def __call__(self) -> None:
        """Start a reload; for `loop.add_signal_handler(signal.SIGHUP, …)`."""
        self._is_due = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        try:
            while self._is_due:
                self._is_due = False
                try:
                    await self._changes.apply(RELOAD)
                except ServiceError as error:
                    log.error("reload refused", extra={"fields": {"reason": str(error)}})
                else:
                    log.info("reloaded")
        finally:
            self._task = None
