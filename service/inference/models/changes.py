"""Changes of what is served: load or unload a model, or reload everything that SIGHUP reloads.

A change is first staged (loaded and checked aside) and then committed. With one process `LocalChanges` does
both; with several workers `SharedChanges` commits in all of them or in none.
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

Prepare = Callable[[], Callable[[], None]]
"""A reload hook: reads and checks new keys or certificates, and returns the function that makes them current.

It runs in a thread, and may raise `OSError`, `ValueError` or `ServiceError` to refuse the whole reload; the
message of the last two is returned to the requester, so it must hold no path and no secret. The function that
it returns runs in a thread (one process) or in the event loop (several workers), and must not raise or block.
"""


class Changes(Protocol):
    """Applies changes; what `Management` needs."""

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change in every process, or in none.

        Args:
            kind: `LOAD`, `UNLOAD` or `RELOAD`.
            model: Name of the model; empty for `RELOAD`.

        Raises:
            UnknownModel: As `Registry.reload` and `Registry.unload`.
            ReloadRefused: A published folder is refused (what is sound was loaded, in every process), or a
                process could not prepare the change (nothing has changed in any).
            Overloaded, DeadlineExceeded, Stopping: As for any request.
        """


@dataclass(frozen=True)
class StagedReload:
    """A staged change of the registry, with what the reload hooks have prepared.

    Attributes:
        served: Versions by model name that are served after it.
        error: What is wrong with published folders; the change can be committed all the same.
    """

    registry: Registry
    models: StagedChange
    commits: Sequence[Callable[[], None]] = ()

    @property
    def served(self) -> dict[str, list[str]]:
        """Versions by model name that are served after it."""
        return self.models.served

    @property
    def error(self) -> ServiceError | None:
        """What is wrong with published folders."""
        return self.models.error

    def commit(self) -> None:
        """Make the models visible as a whole, then the keys and certificates."""
        self.registry.commit(self.models)
        for commit in self.commits:
            commit()


class Stager:
    """Stages changes of the registry, and of what the hooks reload.

    Attributes:
        hooks: Called for `RELOAD` alone, in this order. Append to it before the service starts.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.hooks: list[Prepare] = []

    def __call__(
        self, kind: str, model: str, among: Container[tuple[str, str]] | None = None
    ) -> StagedReload:
        """Load and check a change aside; nothing changes until it is committed.

        Args:
            kind: `LOAD`, `UNLOAD` or `RELOAD`.
            model: Name of the model.
            among: Names and versions; other folders are ignored. None considers everything published.

        Raises:
            ReloadRefused: A hook refuses the reload, or something unforeseen went wrong; nothing may be
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
        except Exception as error:  # no memory, for example
            log.exception("unforeseen")
            raise ReloadRefused(model, [f"{type(error).__name__}; the log says more."]) from error


class LocalChanges:
    """Applies changes in this process, one after the other."""

    def __init__(self, stager: Stager, workers: ThreadPool) -> None:
        """Apply nothing yet.

        Args:
            stager: Stages them.
            workers: Threads in which models are loaded.
        """
        self._stager = stager
        self._workers = workers
        self._lock = threading.Lock()

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change, as described in `Changes`; its error, if any, is raised after the commit."""
        await self._workers.run(lambda: self._apply(kind, model))

    def _apply(self, kind: str, model: str) -> None:
        with self._lock:
            staged = self._stager(kind, model)
            staged.commit()
        if staged.error:
            raise staged.error


class ChangesOfLoop:
    """Applies changes from another thread's event loop, in the loop they belong to."""

    def __init__(self, changes: Changes, loop: asyncio.AbstractEventLoop) -> None:
        self._changes = changes
        self._loop = loop

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change, as described in `Changes`."""
        applied = asyncio.run_coroutine_threadsafe(self._changes.apply(kind, model), self._loop)
        await asyncio.wrap_future(applied)


class Result(Protocol):
    """What became of a change in all workers.

    Attributes:
        outcome: "committed", "refused" or "busy".
        reasons: Why it was refused.
        error: What this worker found wrong itself.
        queued: How many changes were waiting.
    """

    @property
    def outcome(self) -> str: ...  # noqa: D102 - described above

    @property
    def queued(self) -> int: ...  # noqa: D102 - described above

    @property
    def reasons(self) -> Sequence[str]: ...  # noqa: D102 - described above

    @property
    def error(self) -> Exception | None: ...  # noqa: D102 - described above


class Coordinator(Protocol):
    """Has every worker prepare a change, then commit it or drop it."""

    async def request_change(self, kind: str, model: str = "") -> Result:
        """Return the result; raise ConnectionError if this worker is stopping."""


class SharedChanges:
    """Applies changes in all workers or in none."""

    def __init__(self, coordinator: Coordinator, timeout_s: float) -> None:
        """Apply nothing yet.

        Args:
            coordinator: Reaches the other workers.
            timeout_s: How long a request waits for the result, in seconds; the change goes on after it.
        """
        self._coordinator = coordinator
        self._timeout_s = timeout_s

    async def apply(self, kind: str, model: str = "") -> None:
        """Apply a change, as described in `Changes`."""
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
    """Reloads everything when SIGHUP arrives in a service of one process.

    Signals that arrive during a reload are followed by one more.
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
