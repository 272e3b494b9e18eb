"""Models in memory, by name and version.

Finding and checking model folders on disk is `artifact`'s work; running one is `engine`'s.
"""

import logging
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import Manifest
from service.core.errors import (
    ArtifactError,
    ManifestInvalid,
    ModelNotReady,
    ReloadRefused,
    ServiceError,
    Stopping,
    UnknownModel,
    UnknownVersion,
)
from service.core.network import dense_layers
from service.core.network.dense_layers import Layer
from service.core.network.engine import Engine

log = logging.getLogger(__name__)

_UNLOADED = "it was unloaded"


@dataclass(frozen=True)
class Model:
    """One published network, loaded and ready.

    Attributes:
        manifest: Everything about it that is not its weights.
        engine: Runs it.
        layers: Its layers by name, from input to output.
    """

    manifest: Manifest
    engine: Engine
    layers: Mapping[str, Layer]

    @cached_property
    def name(self) -> str:
        """Its name, as published."""
        return self.manifest.name

    @cached_property
    def version(self) -> str:
        """Its version, as published."""
        return self.manifest.version

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.manifest.input.shape[1:]


@dataclass(frozen=True)
class ModelStatus:
    """How one published version stands.

    Attributes:
        name: Of the model.
        version: As published.
        is_ready: Whether it can answer.
        reason: Why it cannot, or what is wrong with its folder though it can; empty if all is well.
    """

    name: str
    version: str
    is_ready: bool
    reason: str


@dataclass(frozen=True)
class _Shelf:
    """What is known of one name; replaced when that changes, as a whole.

    Attributes:
        models: What can answer, oldest first.
        refused: Why folders are refused, by version; perhaps of one in `models`, whose folder has changed.
        unloaded: Versions that were known when it was unloaded.
        is_expected: Whether the service is not ready while none of it can answer.
    """

    models: dict[str, Model] = field(default_factory=dict)
    refused: Mapping[str, ArtifactError] = field(default_factory=dict)
    unloaded: Sequence[str] = ()
    is_expected: bool = False

    def versions(self) -> list[str]:
        """Return every version that is known, oldest first."""
        return sorted({*self.models, *self.refused, *self.unloaded}, key=int)

    def reason(self, version: str) -> str:
        """Say what is wrong with a version; empty if nothing is."""
        if version in self.unloaded:
            return _UNLOADED.capitalize() + "."
        return str(self.refused.get(version, ""))


@dataclass(frozen=True)
class StagedChange:
    """A change of the registry that is loaded and checked, but not visible yet.

    Attributes:
        base: What was served when it was staged.
        shelves: What is served after it; `base` if nothing changes.
        error: What is wrong with published folders, or with the request; None if all is well.
    """

    base: Mapping[str, _Shelf]
    shelves: Mapping[str, _Shelf]
    error: ServiceError | None

    @property
    def served(self) -> dict[str, list[str]]:
        """Versions by model name, of what is served after it."""
        return {name: [*shelf.models] for name, shelf in sorted(self.shelves.items()) if shelf.models}


class Registry:
    """The models that are served; of each the versions, oldest first.

    Any thread may ask it. Changes are made one after the other; whoever asks meanwhile sees all of one or
    nothing of it, and a model that was got answers on after it was dropped.
    """

    def __init__(self, root: Path, engine_threads: int = 1) -> None:
        self._root = root
        self._engine_threads = engine_threads
        self._shelves: Mapping[str, _Shelf] = {}  # by name, in alphabetical order; replaced as a whole
        self._changing = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._is_stopping = False

    def load(
        self, among: Container[tuple[str, str]] | None = None, unloaded: Container[str] = frozenset()
    ) -> None:
        """Load every published version, and log and skip every folder that is refused.

        The other versions of a model with a refused folder are served all the same.

        Args:
            among: Names and versions; others are skipped. None loads everything.
            unloaded: Names of models that were unloaded before, and stay so.

        Raises:
            OSError: The models folder cannot be read.
        """
        with self._changing:
            shelves = {}
            for name, found in artifact.versions(self._root).items():
                versions = [version for version in found if among is None or (name, version) in among]
                if found and not versions:
                    continue
                if name in unloaded:
                    shelves[name] = _Shelf(unloaded=versions)
                    continue
                models, refused = self._read(name, versions, {})
                if models or refused or not versions:  # else it went meanwhile
                    shelves[name] = _Shelf(models, refused, is_expected=True)
            self._replace(shelves)

    def reload(self, name: str) -> None:
        """Serve what is published of one model now: load new versions, drop those whose folders are gone.

        Versions in memory are kept as they are. New ones have reproduced their golden examples before
        anything changes. A reload that raises takes nothing away: what was served goes on, and new versions
        that are sound are served beside it.

        Args:
            name: Model name, as published; of a model that was unloaded, too.

        Raises:
            UnknownModel: Nothing of that name is published.
            ReloadRefused: A folder is not what it should be, or holds another network than the one that was
                loaded from it.
        """
        self._finish(lambda: self.stage_load(name))

    def unload(self, name: str) -> None:
        """Serve a model no longer, until it is reloaded.

        Args:
            name: Model name, as published.

        Raises:
            UnknownModel: Nothing of that name is known.
        """
        self._finish(lambda: self.stage_unload(name))

    def stage_load(self, name: str, among: Container[tuple[str, str]] | None = None) -> StagedChange:
        """Load aside what `reload` would serve, without changing anything yet.

        Args:
            name: Model name.
            among: Names and versions; others are ignored. None considers everything published.

        Returns:
            The change, for `commit`; its error is what `reload` raises.
        """
        base = self._shelves
        shelves, error = self._read_shelf(base, name, among)
        return StagedChange(base, shelves, error)

    def stage_unload(self, name: str) -> StagedChange:
        """Return the change that `unload` makes, without changing anything yet."""
        base = self._shelves
        shelf = base.get(name)
        if shelf is None:
            return StagedChange(base, base, UnknownModel(name, list(base)))
        return StagedChange(base, {**base, name: _Shelf(unloaded=shelf.versions())}, None)

    def stage_reload(self, among: Container[tuple[str, str]] | None = None) -> StagedChange:
        """Load aside what is published of every model, without changing anything yet.

        Every model is treated as by `reload`. Models that were unloaded stay so; a model of which no folder
        is left is served on, which is no error here.

        Args:
            among: As for `stage_load`.

        Returns:
            The change, for `commit`; its error names every folder that is refused.
        """
        base = self._shelves
        try:
            found = artifact.versions(self._root)
        except OSError:
            return StagedChange(base, base, ReloadRefused("models", ["the models folder cannot be read."]))
        shelves = base
        refused: list[str] = []
        for name, versions in found.items():
            if versions and not (name in base and base[name].unloaded):
                shelves, error = self._read_shelf(shelves, name, among)
                refused += error.refused if isinstance(error, ReloadRefused) else ()
        return StagedChange(base, shelves, ReloadRefused("models", refused) if refused else None)

    def commit(self, staged: StagedChange) -> None:
        """Make a staged change visible, as a whole.

        Raises:
            RuntimeError: Another change was committed since it was staged.
        """
        with self._changing:
            self._commit(staged)

    def _finish(self, stage: Callable[[], StagedChange]) -> None:
        """Stage and commit a change; raise its error."""
        with self._changing:
            staged = stage()
            self._commit(staged)
        if staged.error:
            raise staged.error

    def _commit(self, staged: StagedChange) -> None:
        if staged.base is not self._shelves:
            raise RuntimeError("another change was committed since this one was staged")
        if staged.shelves is not staged.base:
            self._replace(staged.shelves)

    def _read_shelf(
        self, shelves: Mapping[str, _Shelf], name: str, among: Container[tuple[str, str]] | None
    ) -> tuple[Mapping[str, _Shelf], ServiceError | None]:
        """Return the shelves with that of one model read anew, and what is wrong with its folders."""
        others = {known: shelf for known, shelf in shelves.items() if known != name}
        old = shelves.get(name, _Shelf())
        try:
            found = artifact.versions_of(self._root, name)
            versions = [version for version in found if among is None or (name, version) in among]
            models, refused = self._read(name, versions, old.models)
        except OSError as error:
            return shelves, _refusal(name, [f"{name}: a folder that cannot be read."], error)
        if not models and not refused:
            return shelves if old.models else others, UnknownModel(name, [*others])
        if refused:
            models = dict(sorted({**old.models, **models}.items(), key=lambda item: int(item[0])))
        shelf = _Shelf(models, refused, is_expected=old.is_expected or bool(models))
        reasons = [*refused.values()]
        refusal = _refusal(name, [str(reason) for reason in reasons], reasons[0]) if refused else None
        return {**others, name: shelf}, refusal

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call a listener now and after every change, one call at a time.

        Args:
            listener: Called by the thread that made the change; it may ask the registry but not change it.
        """
        with self._changing:
            self._listeners.append(listener)
            listener()

    def get(self, name: str, version: str | None = None) -> Model:
        """Find a model that can answer.

        Args:
            name: Model name, as published.
            version: Published version, or None for the newest that is ready.

        Returns:
            The model.

        Raises:
            UnknownModel: Nothing of that name is published.
            UnknownVersion: The model has no such version.
            ModelNotReady: It is published but was refused, or unloaded.
        """
        shelves = self._shelves
        shelf = shelves.get(name)
        if shelf is None:
            raise UnknownModel(name, list(shelves))
        if version is None:
            return _newest(name, shelf)
        if version in shelf.models:
            return shelf.models[version]
        if version in shelf.unloaded:
            raise ModelNotReady(name, _UNLOADED)
        if version in shelf.refused:
            raise ModelNotReady(name, f"version {version} was refused")
        raise UnknownVersion(name, version, list(shelf.models))

    def models(self) -> list[Model]:
        """Return every model that can answer: by name, and each name's versions oldest first."""
        return [model for shelf in self._shelves.values() for model in shelf.models.values()]

    def refused(self) -> list[ArtifactError]:
        """Return why folders were refused, by name and version."""
        return [error for shelf in self._shelves.values() for error in shelf.refused.values()]

    def index(self) -> list[ModelStatus]:
        """Return how every version stands that is known: by name, and each name's versions oldest first."""
        return [
            ModelStatus(name, version, version in shelf.models, shelf.reason(version))
            for name, shelf in self._shelves.items()
            for version in shelf.versions()
        ]

    def begin_stopping(self) -> None:
        """Be ready no longer: load balancers are to send no new requests. Models answer as before."""
        self._is_stopping = True
        for listener in self._listeners:
            listener()

    def check_ready(self) -> None:
        """Check that something is published, and every model can answer that is not kept out on purpose.

        Not counted is a model that was unloaded, or first published after the start, until it has answered:
        a reload never makes a service unready.

        Raises:
            ModelNotReady: One cannot, or there is none.
            Stopping: `begin_stopping` was called.
        """
        if self._is_stopping:
            raise Stopping
        shelves = self._shelves
        if not shelves:
            raise ModelNotReady("any", "nothing is published")
        for name, shelf in shelves.items():
            if shelf.is_expected:
                _newest(name, shelf)

    def _read(
        self, name: str, versions: Sequence[str], known: Mapping[str, Model]
    ) -> tuple[dict[str, Model], dict[str, ArtifactError]]:
        """Return what can answer, and why other folders are refused; nothing of one that goes meanwhile."""
        models: dict[str, Model] = {}
        refused: dict[str, ArtifactError] = {}
        for version in versions:
            try:
                published = artifact.read(self._root, name, version)
                if version in known:
                    _check_unchanged(published, known[version])
                models[version] = known.get(version) or self._start(published)
            except ArtifactError as error:
                if version not in artifact.versions_of(self._root, name):
                    continue
                refused[version] = error
                log.error("model refused", extra={"fields": {"reason": str(error)}})
        return models, refused

    def _start(self, published: Artifact) -> Model:
        engine = Engine.load(published, self._engine_threads)
        layers = dense_layers.read(published)
        dense_layers.check(published, layers, lambda images: engine.run(images).logits)
        model = Model(published.manifest, engine, layers)
        fields = {"model": model.name, "version": model.version, "threads": self._engine_threads}
        log.info("model ready", extra={"fields": fields})
        return model

    def _replace(self, shelves: Mapping[str, _Shelf]) -> None:
        """Show a change to everybody."""
        was = self.models()
        self._shelves = dict(sorted(shelves.items()))
        served = {(model.name, model.version) for model in self.models()}
        for model in was:
            if (model.name, model.version) not in served:
                fields = {"model": model.name, "version": model.version}
                log.info("model dropped", extra={"fields": fields})
        for listener in self._listeners:
            listener()


def _refusal(name: str, reasons: Sequence[str], cause: Exception) -> ReloadRefused:
    error = ReloadRefused(name, reasons)
    error.__cause__ = cause
    return error


def _newest(name: str, shelf: _Shelf) -> Model:
    if not shelf.models:
        raise ModelNotReady(name, _UNLOADED if shelf.unloaded else "no published version can be served")
    return next(reversed(shelf.models.values()))


def _check_unchanged(published: Artifact, model: Model) -> None:
    if published.manifest != model.manifest:
        raise ManifestInvalid(published.identity, "a published version should never change; got another one.")
