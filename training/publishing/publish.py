"""Prove that the exported file computes what the network computes, and publish it.

The proof uses the loader that will serve the file. How a folder is written is `artifact`'s work.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.core import artifact, checksums, network, staging
from service.core.artifact import Artifact
from service.core.engine import Engine
from service.core.errors import ArtifactError
from service.core.golden import Golden
from service.core.manifest import (
    INPUT_NAME,
    LOGITS_NAME,
    PROBABILITIES_NAME,
    Certainty,
    DataSource,
    Making,
    Measurement,
    Tensor,
)
from service.core.rounded import Rounded
from training.data.examples import Split
from training.errors import ExportMismatch
from training.model.mlp import Net
from training.publishing import golden
from training.publishing import onnx_float as export
from training.recipes.recipe import Recipe

AGREEMENT = 1e-5
"""Largest allowed difference of a probability between network, file and the layers' plain sums:
room for float32 sums in another order, and for nothing else."""

GOLDEN_TOLERANCE = 1e-4
"""What another processor may differ by when it reproduces the golden examples. Logits are compared
relatively, and float32 sums of 12,288 terms in another order differ by up to about 1e-5."""

_COMPARED = 1000
"""Examples that the file and the network are compared on."""


@dataclass(frozen=True)
class Product:
    """What is to be published.

    Attributes:
        recipe: That it was made by.
        net: In evaluation mode.
        model: The ONNX file it was exported to.
        splits: The data it was fitted and measured on; the first gives shape, classes and the
            examples for the comparison.
        making: How it was made.
        metrics: What was measured.
        report: Files for `report/`, by name.
        temperature: That the file was exported with.
        certainty: From where on an answer is sure, in the energy at this temperature; None for a network
            that cannot tell.
    """

    recipe: Recipe
    net: Net
    model: bytes
    splits: tuple[Split, ...]
    making: Making
    metrics: tuple[Measurement, ...]
    report: Mapping[str, bytes]
    temperature: float = 1.0
    certainty: Certainty | None = None


@dataclass(frozen=True)
class Derived:
    """A network in whole numbers that is to be published.

    Attributes:
        manifest: As `artifact.publish` takes it.
        model: The ONNX file.
        layers: That the file was made of.
        images: (N, ...) uint8 of the data, of which some are compared.
        temperature: That the file was made with.
        report: Files for `report/`, by name.
    """

    manifest: Mapping[str, Any]
    model: bytes
    layers: Mapping[str, Rounded]
    images: NDArray[np.uint8]
    temperature: float
    report: Mapping[str, bytes]


@dataclass(frozen=True)
class _Folder:
    """What a folder will hold."""

    manifest: Mapping[str, Any]
    model: bytes
    golden: Golden
    report: Mapping[str, bytes]

    def write(self, root: Path) -> Artifact:
        return artifact.publish(root, self.manifest, self.model, self.golden, self.report)


@dataclass(frozen=True)
class Published:
    """Where a product is found.

    Attributes:
        artifact: The folder, in memory.
        is_new: False where an earlier run had published the very same network.
    """

    artifact: Artifact
    is_new: bool


def publish(product: Product, root: Path) -> Published:
    """Verify and publish a network, unless it is published already.

    Args:
        product: The network, its file and all that is known of it.
        root: The models folder; it is made where it is missing.

    Returns:
        The folder, with its version.

    Raises:
        ExportMismatch: The exported file does not compute what the network computes.
        ArtifactError: The folder would break the contract; nothing is published.
        OSError: The folder cannot be written; nothing is published.
    """
    shape = product.splits[0].train.pixels.shape[1:]
    folder = _Folder(
        _manifest(product), product.model, _golden(product, golden.images(shape)), product.report
    )
    images = product.splits[0].train.pixels[:_COMPARED]
    return _publish(folder, root, lambda trial: verify(trial, product.net, images))


def publish_derived(derived: Derived, root: Path) -> Published:
    """Verify and publish a network in whole numbers, unless it is published already.

    Args:
        derived: The network, its file and all that is known of it.
        root: The models folder.

    Returns:
        The folder, with its version.

    Raises:
        ExportMismatch: The file does not compute what its layers say.
        ArtifactError, OSError: As for `publish`.
    """
    images = golden.images(derived.images.shape[1:])
    logits = network.logits(derived.layers, images)
    examples = Golden(
        images,
        logits.astype(np.float32),
        _probabilities(logits / derived.temperature).astype(np.float32),
        GOLDEN_TOLERANCE,
    )
    folder = _Folder(derived.manifest, derived.model, examples, derived.report)
    return _publish(folder, root, lambda trial: verify_layers(trial, derived.images[:_COMPARED]))


def _publish(folder: _Folder, root: Path, check: Callable[[Artifact], None]) -> Published:
    with tempfile.TemporaryDirectory() as scratch:
        # published aside first, so that what is verified has gone through the disk as well
        trial = folder.write(Path(scratch))
        check(trial)
    checksums.read(root)  # raises before anything is published, if it cannot be read
    staging.sweep(root)
    twin = _twin(trial, root)
    published = twin or folder.write(root)
    # a twin too: an earlier run may have been killed before this line
    checksums.add(root, published.manifest.name, published.manifest.version)
    return Published(published, is_new=twin is None)


def verify(published: Artifact, net: Net, images: NDArray[np.uint8]) -> None:
    """Check that a file loads in the service and computes what its network and its layers say.

    Args:
        published: The folder in question.
        net: What it was exported from, with the manifest's temperature.
        images: (B, ...) uint8 to compare on.

    Raises:
        ExportMismatch: It differs from the network, or from the sums over the manifest's layers.
        ArtifactError: It does not load.
    """
    expected = _answers(net, images, published.manifest.temperature)[1]
    _compare(
        published,
        images,
        {"its network": expected, "the sums over its layers": _layer_sums(published, images)},
    )


def verify_layers(published: Artifact, images: NDArray[np.uint8]) -> None:
    """Check that a file loads in the service and computes what its layers say, as `verify` does."""
    _compare(published, images, {"the sums over its layers": _layer_sums(published, images)})


def _compare(
    published: Artifact, images: NDArray[np.uint8], expected: Mapping[str, NDArray[np.floating]]
) -> None:
    served = Engine.load(published).run(images).probabilities
    for what, probabilities in expected.items():
        worst = float(np.max(np.abs(served - probabilities)))
        if not worst <= AGREEMENT:  # written so that NaN fails too
            raise ExportMismatch(published.manifest.name, what, AGREEMENT, worst)


def _answers(
    net: Net, images: NDArray[np.uint8], temperature: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return logits as the layers give them, and probabilities at a temperature."""
    with torch.inference_mode():
        logits = net(torch.tensor(images))
        return logits.numpy(), torch.softmax(logits / temperature, 1).numpy()


def _layer_sums(published: Artifact, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return probabilities computed without torch and without a runtime, in double precision."""
    return _probabilities(network.logits(network.read(published), images) / published.manifest.temperature)


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _golden(product: Product, images: NDArray[np.uint8]) -> Golden:
    logits, probabilities = _answers(product.net, images, product.temperature)
    return Golden(images, logits, probabilities, GOLDEN_TOLERANCE)


def _twin(trial: Artifact, root: Path) -> Artifact | None:
    """Find a published folder with the same network from the same recipe and data, as certain."""
    name = trial.manifest.name
    for version in artifact.versions(root).get(name, []) if root.is_dir() else []:
        try:
            found = artifact.read(root, name, version)
        except ArtifactError:
            continue  # a broken folder is no reason not to publish a whole one beside it
        if _substance(found) == _substance(trial):
            return found
    return None


def _substance(published: Artifact) -> tuple[object, ...]:
    manifest = published.manifest
    return published.model, manifest.recipe, manifest.data, manifest.certainty


def _manifest(product: Product) -> dict[str, Any]:
    classes = product.splits[0].classes
    layers = export.layers(product.net)
    image = Tensor(
        name=INPUT_NAME,
        dtype="uint8",
        shape=(-1, *product.splits[0].train.pixels.shape[1:]),
    )
    scores = (
        Tensor(name=name, dtype="float32", shape=(-1, len(classes)))
        for name in (LOGITS_NAME, PROBABILITIES_NAME)
    )
    sources = [
        DataSource(
            name=split.data_set,
            split=f"{split.name} {name}",
            examples=len(part),
            sha256=part.sha256,
        )
        for split in product.splits
        for name, part in split.parts.items()
    ]
    return {
        "format": 1,
        "name": product.recipe.model_name,
        "description": product.recipe.description,
        "input": image.model_dump(),
        "outputs": [tensor.model_dump() for tensor in scores],
        "labels": classes,
        "layers": [layer.model_dump(exclude_unset=True) for layer in layers],
        "parameters": sum(layer.parameters for layer in layers),
        "temperature": product.temperature,
        "certainty": product.certainty and product.certainty.model_dump(),
        "opset": export.OPSET,
        "recipe": product.recipe.to_dict(),
        "data": [source.model_dump() for source in sources],
        "making": product.making.model_dump(),
        "metrics": [measurement.model_dump() for measurement in product.metrics],
    }
