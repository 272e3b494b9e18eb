"""Models in memory, by name and version.

Finding and checking model folders on disk is `artifact`'s work; running one is `engine`'s.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.core import artifact, network
from service.core.engine import Engine
from service.core.errors import ArtifactError, ModelNotReady, UnknownModel, UnknownVersion
from service.core.manifest import Manifest
from service.core.network import Dense

log = logging.getLogger(__name__)


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
    layers: Mapping[str, Dense]

    @property
    def name(self) -> str:
        """Its name, as published."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Its version, as published."""
        return self.manifest.version

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.manifest.input.shape[1:]


class Registry:
    """The models that are served; of each the versions, oldest first."""

    def __init__(self, root: Path, engine_threads: int = 1) -> None:
        self._root = root
        self._engine_threads = engine_threads
        self._models: dict[str, dict[str, Model]] = {}
        self._refused: dict[str, dict[str, ArtifactError]] = {}

    def load(self) -> None:
        """Load everything that is published, and keep out what is refused.

        A refused folder is logged; the other versions of the model are served all the same.

        Raises:
            OSError: The models folder cannot be read.
        """
        for name, versions in artifact.versions(self._root).items():
            self._models[name] = {}
            for version in versions:
                try:
                    self._models[name][version] = self._load(name, version)
                except ArtifactError as error:
                    self._refused.setdefault(name, {})[version] = error
                    log.error("model refused", extra={"fields": {"reason": str(error)}})

    def _load(self, name: str, version: str) -> Model:
        published = artifact.read(self._root, name, version)
        engine = Engine.load(published, self._engine_threads)
        layers = network.read(published)
        network.check(published, layers, lambda images: engine.run(images).logits)
        model = Model(published.manifest, engine, layers)
        fields = {"model": name, "version": version, "threads": self._engine_threads}
        log.info("model ready", extra={"fields": fields})
        return model

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
            ModelNotReady: It is published but was refused.
        """
        versions = self._models.get(name)
        if versions is None:
            raise UnknownModel(name, list(self._models))
        if version is None:
            if not versions:
                raise ModelNotReady(name, "no published version can be served")
            return next(reversed(versions.values()))
        model = versions.get(version)
        if model is None:
            refused = self._refused.get(name, {})
            if version in refused:
                raise ModelNotReady(name, f"version {version} was refused")
            raise UnknownVersion(name, version, list(versions))
        return model

    def models(self) -> list[Model]:
        """Return every model that can answer: by name, and each name's versions oldest first."""
        return [model for versions in self._models.values() for model in versions.values()]

    def refused(self) -> list[ArtifactError]:
        """Return why folders were refused, by name and version."""
        return [error for versions in self._refused.values() for error in versions.values()]

    def check_ready(self) -> None:
        """Check that something is published and every published model can answer.

        Raises:
            ModelNotReady: One cannot, or there is none.
        """
        if not self._models:
            raise ModelNotReady("any", "nothing is published")
        for name in self._models:
            self.get(name)
