"""Registry of the served models, by name and version.

A change is staged first (loaded and checked aside), then committed as a whole.
"""

import logging
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.errors import (
    ArtifactError,
    ModelNotReady,
    ReloadRefused,
    ServiceError,
    Stopping,
    UnknownModel,
)
from service.inference.models.model import Model, load_model
from service.inference.models.versions import ModelStatus, ModelVersions, load_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagedChange:
    """A change of the registry that is loaded and checked, but not visible yet.

    Attributes:
        before: The models when it was staged, by name.
        after: The models after the change; `before` if nothing changes.
        error: Error of published folders or of the request; None if there is none.
    """

    before: Mapping[str, ModelVersions]
    after: Mapping[str, ModelVersions]
    error: ServiceError | None

    @property
    def served(self) -> dict[str, list[str]]:
        """Loaded versions after the change, by model name."""
        return {name: [*versions.models] for name, versions in sorted(self.after.items()) if versions.models}


class Registry:
    """The served models. Thread-safe.

    Changes run one after the other. Readers see either the old or the new state, never a mix. A model that
    was returned by `get` still predicts after it was dropped.
    """

    def __init__(self, root: Path, engine_threads: int = 1) -> None:
        """Create an empty registry.

        Args:
            root: The models folder.
            engine_threads: Threads of one inference.
        """
        self._root = root
        self._engine_threads = engine_threads
        self._pins: Mapping[str, str] = {}
        self._models: Mapping[str, ModelVersions] = {}  # by name, in alphabetical order; replaced as a whole
        self._changing = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._is_stopping = False

    def load(
        self, among: Container[tuple[str, str]] | None = None, unloaded: Container[str] = frozenset()
    ) -> None:
        """Load every published version; log and skip folders that are refused.

        Args:
            among: Names and versions to load; None loads all.
            unloaded: Names of models that stay unloaded.

        Raises:
            OSError: The models folder cannot be read.
        """
        with self._changing:
            after = {}
            for name, found in artifact.versions(self._root).items():
                versions = [version for version in found if among is None or (name, version) in among]
                if found and not versions:
                    continue
                if name in unloaded:
                    after[name] = ModelVersions(unloaded=versions)
                    continue
                models, refused = load_versions(self._root, name, versions, {}, self._load)
                if models or refused or not versions:  # else the folders were deleted meanwhile
                    after[name] = ModelVersions(models, refused, is_expected=True)
            self._replace(after)

    def reload(self, name: str) -> None:
        """Serve the published versions of a model: load new ones, drop those whose folders were deleted.

        Versions in memory are kept as they are. If a folder is refused, no version is dropped, and new valid
        versions are served nevertheless.

        Args:
            name: Model name; the model may be unloaded.

        Raises:
            UnknownModel: No model of this name is published.
            ReloadRefused: A folder is not valid, or differs from the version in memory.
        """
        self._finish(lambda: self.stage_load(name))

    def unload(self, name: str) -> None:
        """Stop serving a model until it is reloaded.

        Args:
            name: Model name.

        Raises:
            UnknownModel: No model of this name is known.
        """
        self._finish(lambda: self.stage_unload(name))

    def stage_load(self, name: str, among: Container[tuple[str, str]] | None = None) -> StagedChange:
        """Stage what `reload` does.

        Args:
            name: Model name.
            among: Names and versions to consider; None considers everything published.

        Returns:
            The change, for `commit`; its error is what `reload` raises.
        """
        before = self._models
        after, error = self._load_model(before, name, among)
        return StagedChange(before, after, error)

    def stage_unload(self, name: str) -> StagedChange:
        """Stage what `unload` does."""
        before = self._models
        versions = before.get(name)
        if versions is None:
            return StagedChange(before, before, UnknownModel(name, list(before)))
        return StagedChange(before, {**before, name: ModelVersions(unloaded=versions.known())}, None)

    def stage_reload(self, among: Container[tuple[str, str]] | None = None) -> StagedChange:
        """Stage a reload of every model.

        Unloaded models stay unloaded. A model whose folders were all deleted is still served; this is no
        error here.

        Args:
            among: As for `stage_load`.

        Returns:
            The change, for `commit`; its error names every refused folder.
        """
        before = self._models
        try:
            found = artifact.versions(self._root)
        except OSError:
            error = ReloadRefused("models", ["the models folder cannot be read."])
            return StagedChange(before, before, error)
        after = before
        refused: list[str] = []
        for name, versions in found.items():
            if versions and not (name in before and before[name].unloaded):
                after, refusal = self._load_model(after, name, among)
                refused += refusal.refused if isinstance(refusal, ReloadRefused) else ()
        return StagedChange(before, after, ReloadRefused("models", refused) if refused else None)

    def commit(self, staged: StagedChange) -> None:
        """Make a staged change visible, as a whole.

        Raises:
            RuntimeError: Another change was committed since it was staged.
        """
        with self._changing:
            self._commit(staged)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call a listener now and after every change, one call at a time.

        Args:
            listener: Called in the thread that made the change; it may read the registry but not change it.
        """
        with self._changing:
            self._listeners.append(listener)
            listener()

    def get(self, name: str, version: str | None = None) -> Model:
        """Return a loaded model.

        Args:
            name: Model name.
            version: Version; None is the pinned version, or the newest that is loaded.

        Raises:
            UnknownModel: No model of this name is published.
            UnknownVersion: The model has no such version.
            ModelNotReady: The model is published but was refused or unloaded, or its pinned version is not
                loaded.
        """
        models = self._models
        versions = models.get(name)
        if versions is None:
            raise UnknownModel(name, list(models))
        return (
            versions.default(name, self._pins.get(name)) if version is None else versions.get(name, version)
        )

    def pin(self, pins: Mapping[str, str]) -> None:
        """Set the versions that answer requests without a version, in place of all pins before.

        Args:
            pins: Version by model name; the newest one answers for other models.
        """
        with self._changing:
            self._pins = dict(pins)
            for listener in self._listeners:
                listener()

    def defaults(self) -> list[Model]:
        """Return the model that answers requests without a version, for every name that has one."""
        found = []
        for name, versions in self._models.items():
            with suppress(ModelNotReady):
                found.append(versions.default(name, self._pins.get(name)))
        return found

    def models(self) -> list[Model]:
        """Return every loaded model: by name, and each name's versions oldest first."""
        return [model for versions in self._models.values() for model in versions.models.values()]

    def refused(self) -> list[ArtifactError]:
        """Return the errors of refused folders, by name and version."""
        return [error for versions in self._models.values() for error in versions.refused.values()]

    def index(self) -> list[ModelStatus]:
        """Return the status of every known version: by name, and each name's versions oldest first."""
        return [
            ModelStatus(name, version, version in versions.models, versions.reason(version))
            for name, versions in self._models.items()
            for version in versions.known()
        ]

    def begin_stopping(self) -> None:
        """Become unready, so that load balancers send no new requests. Models still predict."""
        self._is_stopping = True
        for listener in self._listeners:
            listener()

    def check_ready(self) -> None:
        """Check that models are published and that every expected model is loaded.

        Models that were unloaded, or first published after the start and never loaded since, are not
        expected: a reload never makes a service unready.

        Raises:
            ModelNotReady: An expected model is not loaded, or no model is published.
            Stopping: `begin_stopping` was called.
        """
        if self._is_stopping:
            raise Stopping
        models = self._models
        if not models:
            raise ModelNotReady("any", "nothing is published")
        for name, versions in models.items():
            if versions.is_expected:
                versions.default(name, self._pins.get(name))

    def _load(self, published: Artifact) -> Model:
        return load_model(published, self._engine_threads)

    def _load_model(
        self, models: Mapping[str, ModelVersions], name: str, among: Container[tuple[str, str]] | None
    ) -> tuple[Mapping[str, ModelVersions], ServiceError | None]:
        """Return the models with one of them read again from its folders, and the error of these folders."""
        others = {other: versions for other, versions in models.items() if other != name}
        old = models.get(name, ModelVersions())
        try:
            found = artifact.versions_of(self._root, name)
            versions = [version for version in found if among is None or (name, version) in among]
            loaded, refused = load_versions(self._root, name, versions, old.models, self._load)
        except OSError as error:
            return models, _refusal(name, [f"{name}: a folder that cannot be read."], error)
        if not loaded and not refused:
            return models if old.models else others, UnknownModel(name, [*others])
        if refused:
            loaded = dict(sorted({**old.models, **loaded}.items(), key=lambda item: int(item[0])))
        new = ModelVersions(loaded, refused, is_expected=old.is_expected or bool(loaded))
        errors = [*refused.values()]
        refusal = _refusal(name, [str(error) for error in errors], errors[0]) if refused else None
        return {**others, name: new}, refusal

    def _finish(self, stage: Callable[[], StagedChange]) -> None:
        """Stage and commit a change; raise its error."""
        with self._changing:
            staged = stage()
            self._commit(staged)
        if staged.error:
            raise staged.error

    def _commit(self, staged: StagedChange) -> None:
        if staged.before is not self._models:
            raise RuntimeError("another change was committed since this one was staged")
        if staged.after is not staged.before:
            self._replace(staged.after)

    def _replace(self, after: Mapping[str, ModelVersions]) -> None:
        """Make the new state visible, and call the listeners."""
        before = self.models()
        self._models = dict(sorted(after.items()))
        served = {(model.name, model.version) for model in self.models()}
        for model in before:
            if (model.name, model.version) not in served:
                fields = {"model": model.name, "version": model.version}
                log.info("model dropped", extra={"fields": fields})
        for listener in self._listeners:
            listener()


def _refusal(name: str, reasons: Sequence[str], cause: Exception) -> ReloadRefused:
    error = ReloadRefused(name, reasons)
    error.__cause__ = cause
    return error
