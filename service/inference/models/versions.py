"""Versions of one model: which are loaded, which were refused and why."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.errors import ArtifactError, ManifestInvalid, ModelNotReady, UnknownVersion
from service.inference.models.model import Model

log = logging.getLogger(__name__)

_UNLOADED = "it was unloaded"


@dataclass(frozen=True)
class ModelStatus:
    """Status of one published version.

    Attributes:
        name: Model name.
        version: Version.
        is_ready: Whether it can predict.
        reason: Why it cannot, or why its folder was refused although it can; empty otherwise.
    """

    name: str
    version: str
    is_ready: bool
    reason: str


@dataclass(frozen=True)
class ModelVersions:
    """All known versions of one model; immutable.

    Attributes:
        models: Loaded versions, oldest first.
        refused: Errors of refused folders, by version; also of versions in `models` whose folder has changed.
        unloaded: Versions that were known when the model was unloaded.
        is_expected: Whether the service is unready while no version is loaded.
    """

    models: dict[str, Model] = field(default_factory=dict)
    refused: Mapping[str, ArtifactError] = field(default_factory=dict)
    unloaded: Sequence[str] = ()
    is_expected: bool = False

    def known(self) -> list[str]:
        """Return every known version, oldest first."""
        return sorted({*self.models, *self.refused, *self.unloaded}, key=int)

    def reason(self, version: str) -> str:
        """Return what is wrong with a version; empty if nothing is."""
        if version in self.unloaded:
            return _UNLOADED.capitalize() + "."
        return str(self.refused.get(version, ""))

    def newest(self, name: str) -> Model:
        """Return the newest loaded version.

        Raises:
            ModelNotReady: No version is loaded.
        """
        if not self.models:
            raise ModelNotReady(name, _UNLOADED if self.unloaded else "no published version can be served")
        return next(reversed(self.models.values()))

    def default(self, name: str, pinned: str | None) -> Model:
        """Return the version that answers requests without a version: the pinned one, or the newest.

        Args:
            name: Model name, for messages.
            pinned: The pinned version; None if there is none.

        Raises:
            ModelNotReady: No version is loaded, or the pinned one is not.
        """
        if pinned is None or not self.models:
            return self.newest(name)
        if pinned not in self.models:
            raise ModelNotReady(name, f"version {pinned} is pinned and is not served")
        return self.models[pinned]

    def get(self, name: str, version: str) -> Model:
        """Return a loaded version.

        Raises:
            ModelNotReady: The version was unloaded or refused.
            UnknownVersion: There is no such version.
        """
        if version in self.models:
            return self.models[version]
        if version in self.unloaded:
            raise ModelNotReady(name, _UNLOADED)
        if version in self.refused:
            raise ModelNotReady(name, f"version {version} was refused")
        raise UnknownVersion(name, version, list(self.models))


def load_versions(
    root: Path,
    name: str,
    versions: Sequence[str],
    loaded: Mapping[str, Model],
    load: Callable[[Artifact], Model],
) -> tuple[dict[str, Model], dict[str, ArtifactError]]:
    """Load versions of a model; log folders that are refused, and skip folders that are deleted meanwhile.

    Args:
        root: The models folder.
        name: Model name.
        versions: Versions to load.
        loaded: Versions that are in memory; they are kept, and only compared with their folders.
        load: Loads a published folder.

    Returns:
        The models by version, and the errors of refused folders by version.
    """
    models: dict[str, Model] = {}
    refused: dict[str, ArtifactError] = {}
    for version in versions:
        try:
            published = artifact.read(root, name, version)
            if version in loaded:
                _check_unchanged(published, loaded[version])
            models[version] = loaded.get(version) or load(published)
        except ArtifactError as error:
            if version not in artifact.versions_of(root, name):
                continue
            refused[version] = error
            log.error("model refused", extra={"fields": {"reason": str(error)}})
    return models, refused


def _check_unchanged(published: Artifact, model: Model) -> None:
    if published.manifest != model.manifest:
        raise ManifestInvalid(published.identity, "a published version should never change; got another one.")
