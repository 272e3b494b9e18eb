"""Publication of a network: verify its exported file, then write the next version's folder.

`service.core.artifact.artifact` writes the folder.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.artifact import artifact, checksums, staging
from service.core.artifact.artifact import Artifact
from service.core.artifact.golden import Golden
from service.core.errors import ArtifactError
from service.core.network import dense_layers
from service.core.network.engine import Engine
from service.core.network.int8 import Int8Dense
from training.model.softmax import softmax
from training.publishing import golden
from training.publishing.manifest import FittedModel, manifest_of
from training.publishing.verification import torch_outputs, verify, verify_layers

GOLDEN_TOLERANCE = 1e-4
"""Largest difference with which another processor must reproduce the golden examples. Logits are compared
relatively; float32 sums of 12,288 terms in another order differ by up to about 1e-5."""

_COMPARED = 1000
"""Number of images on which the file is verified."""


@dataclass(frozen=True)
class QuantisedModel:
    """A quantised network and the contents of its folder.

    Attributes:
        manifest: As `artifact.publish` takes it.
        model: The ONNX file.
        layers: Layers of the file.
        images: (N, ...) uint8; the first are used for verification.
        temperature: Temperature in the file.
        report: Files for `report/`, by name.
    """

    manifest: Mapping[str, Any]
    model: bytes
    layers: Mapping[str, Int8Dense]
    images: NDArray[np.uint8]
    temperature: float
    report: Mapping[str, bytes]


@dataclass(frozen=True)
class _Folder:
    """Contents of a folder to write."""

    manifest: Mapping[str, Any]
    model: bytes
    golden: Golden
    report: Mapping[str, bytes]

    def write(self, root: Path) -> Artifact:
        return artifact.publish(root, self.manifest, self.model, self.golden, self.report)


@dataclass(frozen=True)
class Published:
    """Result of a publication.

    Attributes:
        artifact: The published folder, in memory.
        is_new: False if the same network had been published before.
    """

    artifact: Artifact
    is_new: bool


def publish(fitted: FittedModel, root: Path) -> Published:
    """Verify and publish a fitted network, unless the same network is published.

    Args:
        fitted: The network, its file and the contents of its folder.
        root: Models folder; it is created if it is missing.

    Returns:
        The folder, with its version.

    Raises:
        ExportMismatch: The exported file differs from the network.
        ArtifactError: The folder would break the contract; nothing is published.
        OSError: The folder cannot be written; nothing is published.
    """
    train = fitted.splits[0].train.pixels
    images = golden.images(train.shape[1:])
    logits, probabilities = torch_outputs(fitted.net, images, fitted.temperature)
    examples = Golden(images, logits, probabilities, GOLDEN_TOLERANCE)
    folder = _Folder(manifest_of(fitted), fitted.model, examples, fitted.report)
    return _publish(folder, root, lambda trial: verify(trial, fitted.net, train[:_COMPARED]))


def publish_quantised(quantised: QuantisedModel, root: Path) -> Published:
    """Verify and publish a quantised network, unless the same network is published.

    Args:
        quantised: The network, its file and the contents of its folder.
        root: Models folder.

    Returns:
        The folder, with its version.

    Raises:
        ExportMismatch: The file differs from its layers.
        ArtifactError, OSError: As for `publish`.
    """
    images = golden.images(quantised.images.shape[1:])
    logits = dense_layers.logits(quantised.layers, images)
    examples = Golden(
        images,
        logits.astype(np.float32),
        softmax(logits / quantised.temperature).astype(np.float32),
        GOLDEN_TOLERANCE,
    )
    folder = _Folder(quantised.manifest, quantised.model, examples, quantised.report)
    return _publish(folder, root, lambda trial: verify_layers(trial, quantised.images[:_COMPARED]))


def copy(
    finished: Artifact, manifest: Mapping[str, Any], report: Mapping[str, bytes], root: Path
) -> Published:
    """Publish a copy of a folder in another models folder, as the next version there.

    Args:
        finished: The folder, in memory.
        manifest: Its manifest, without version and digests.
        report: Files for `report/`, by name.
        root: Models folder to publish in.

    Returns:
        The folder, with its version; not new if the same network is published there.

    Raises:
        ArtifactError, OSError: As for `publish`.
    """
    folder = _Folder(manifest, finished.model, finished.golden, report)
    return _publish(folder, root, Engine.load)


def _publish(folder: _Folder, root: Path, check: Callable[[Artifact], object]) -> Published:
    with tempfile.TemporaryDirectory() as scratch:
        # written and read once before, so that the verified bytes have been on disk
        trial = folder.write(Path(scratch))
        check(trial)
    checksums.read(root)  # raises before anything is published if the list cannot be read
    staging.sweep(root)
    same = same_network(trial, root)
    published = same or folder.write(root)
    # also for an existing one: an earlier run may have been killed before this line
    checksums.add(root, published.manifest.name, published.manifest.version)
    return Published(published, is_new=same is None)


def same_network(trial: Artifact, root: Path) -> Artifact | None:
    """Find a published folder with the same file, recipe, data and OOD threshold.

    Args:
        trial: The folder to compare with.
        root: Models folder; it may be missing.
    """
    name = trial.manifest.name
    for version in artifact.versions(root).get(name, []) if root.is_dir() else []:
        try:
            found = artifact.read(root, name, version)
        except ArtifactError:
            continue  # a broken folder does not prevent the publication of another
        if _identity(found) == _identity(trial):
            return found
    return None


def _identity(published: Artifact) -> tuple[object, ...]:
    manifest = published.manifest
    return published.model, manifest.labels, manifest.recipe, manifest.data, manifest.certainty
