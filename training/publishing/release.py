"""Release of a finished network into the models folder: compared with what is served, and refused if worse.

A finished network is a published folder in the runs folder. Releasing it copies it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.core.artifact import artifact, pins
from service.core.artifact.artifact import REPORT_FOLDER, Artifact
from service.core.errors import ArtifactError
from service.core.network.engine import Engine
from training.data.data_sets import FitJob
from training.data.examples import Examples, Split
from training.errors import ChanceLevel, WorseThanServed
from training.publishing.publish import Published, copy
from training.recipes.recipe import Recipe

_BATCH = 1000
"""Images that are predicted at once; bounds memory."""


@dataclass(frozen=True)
class Comparison:
    """A finished network beside the version that answers today, on the same images.

    Attributes:
        part: Name of the part: test, or valid if there is no test part.
        examples: Number of images.
        right: Correct predictions of the finished network.
        chance: Largest share of one class: the accuracy of a constant prediction.
        served: Name and version of the network that answers today; empty if there is none.
        served_right: Its correct predictions; None if it cannot be compared.
        reason: Why it cannot be compared; empty if it can.
    """

    part: str
    examples: int
    right: int
    chance: float
    served: str = ""
    served_right: int | None = None
    reason: str = ""

    @property
    def is_worse(self) -> bool:
        """Whether it has fewer correct predictions than what is served, or cannot be compared with it."""
        return bool(self.served) and (self.served_right is None or self.right < self.served_right)

    @property
    def is_chance(self) -> bool:
        """Whether its accuracy is within one standard error of a constant prediction's."""
        error = np.sqrt(self.chance * (1 - self.chance) / self.examples)
        return bool(self.right / self.examples <= self.chance + error)


def compare(finished: Artifact, split: Split, models: Path) -> Comparison:
    """Compare a finished network with the version of its name that answers today.

    Args:
        finished: The finished network.
        split: Its data; compared on the test part, or the valid part if there is none.
        models: Models folder.

    Raises:
        ArtifactError: The finished network, or the list of pins, is not valid.
    """
    part = "test" if split.test is not None else "valid"
    examples = split.parts[part]
    right = _right(finished, examples)
    chance = np.bincount(examples.labels).max() / len(examples)
    begun = Comparison(part, len(examples), right, float(chance))
    name = finished.manifest.name
    versions = artifact.versions_of(models, name) if models.is_dir() else []
    if not versions:
        return begun
    version = pins.read(models).get(name, versions[-1])
    served = f"{name}/{version}"
    try:
        other = artifact.read(models, name, version)
    except ArtifactError as error:
        return _incomparable(begun, served, f"it cannot be served: {error}")
    manifest = finished.manifest
    if other.manifest.labels != manifest.labels:
        return _incomparable(begun, served, "it has other classes")
    if other.manifest.input != manifest.input:
        return _incomparable(begun, served, "it takes images of another shape")
    return Comparison(part, len(examples), right, float(chance), served, _right(other, examples))


def check(finished: Artifact, comparison: Comparison, anyway: bool) -> None:
    """Check that a finished network may be released.

    Args:
        finished: The finished network.
        comparison: As `compare` returns it.
        anyway: Release it although it is worse; never if it is at chance.

    Raises:
        ChanceLevel: It is no better than a constant prediction.
        WorseThanServed: It is worse than what is served, or cannot be compared with it.
    """
    name = finished.manifest.name
    if comparison.is_chance:
        got = comparison.right / comparison.examples
        raise ChanceLevel(name, comparison.chance, got, comparison.part)
    if comparison.is_worse and not anyway:
        raise WorseThanServed(name, comparison.served, comparison.reason)


def release(finished: Artifact, finished_root: Path, models: Path) -> Published:
    """Copy a finished network into the models folder, as the next version.

    Args:
        finished: The finished network.
        finished_root: Folder that it was published in.
        models: Models folder.

    Returns:
        The folder, with its version; not new if the same network is in the models folder.

    Raises:
        ArtifactError: The list of digests cannot be read.
        OSError: The folder cannot be written.
    """
    manifest: dict[str, Any] = finished.manifest.model_dump(exclude={"version", "sha256"}, exclude_unset=True)
    folder = finished_root / finished.manifest.name / finished.manifest.version / REPORT_FOLDER
    report = {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}
    return copy(finished, manifest, report, models)


def find_finished(root: Path, recipe: Recipe, jobs: Sequence[FitJob]) -> Artifact | None:
    """Find the finished network of a recipe on its data, the newest one.

    Args:
        root: Folder of finished networks.
        recipe: The recipe.
        jobs: Its fit jobs; the last one is the published one.
    """
    name = recipe.model_name
    digests = {part.sha256 for job in jobs if job.seeds for part in job.split.parts.values()}
    wanted = recipe.to_dict(), jobs[-1].split.classes, digests
    for version in reversed(artifact.versions_of(root, name) if root.is_dir() else []):
        try:
            manifest = (found := artifact.read(root, name, version)).manifest
        except ArtifactError:
            continue  # a broken folder is fitted again
        if (manifest.recipe, manifest.labels, {each.sha256 for each in manifest.data}) == wanted:
            return found
    return None


def _incomparable(begun: Comparison, served: str, reason: str) -> Comparison:
    return Comparison(begun.part, begun.examples, begun.right, begun.chance, served, None, reason)


def _right(network: Artifact, examples: Examples) -> int:
    """Return the number of correct predictions."""
    engine = Engine.load(network)
    return sum(
        int((engine.run(examples.pixels[start : start + _BATCH]).probabilities.argmax(1) == labels).sum())
        for start in range(0, len(examples), _BATCH)
        for labels in (examples.labels[start : start + _BATCH],)
    )
