"""Published networks of the preprocessing ablation, and their accuracy on image sets.

Digits of a donor are predicted by a network that was not fitted on that donor.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.drawing import mnist
from service.core.network import dense_layers
from service.core.network.engine import Engine
from training.evaluation.ablation.image_sets import ImageSet, Pixels

Predict = Callable[[Pixels], NDArray[np.floating]]
"""Maps (N, 28, 28) uint8 to one row of scores per image; the largest is the prediction."""

_BATCH_SIZE = 1000


@dataclass(frozen=True)
class AblationModel:
    """A published network.

    Attributes:
        name: Name with version.
        predict: The published network; used for MNIST's test images.
        held_out: By donor, a network that was not fitted on the donor's digits; may lack donors.
        sure_shares: Rows of a table of the manifest's shares of sure predictions; empty if it has none.
    """

    name: str
    predict: Predict
    held_out: Mapping[str, Predict]
    sure_shares: tuple[str, ...]


@dataclass(frozen=True)
class Accuracy:
    """Number of correct predictions, and number of images."""

    correct: int
    images: int

    @property
    def value(self) -> float:
        """Share of correct predictions, 0 to 1."""
        return self.correct / self.images

    def __str__(self) -> str:
        error = math.sqrt(self.value * (1 - self.value) / self.images)
        return f"{self.value:.1%}".replace("%", "") + f" ± {100 * error:.1f}"


def load_models(root: Path, folds: Path, donors: Sequence[str]) -> list[AblationModel]:
    """Load the published networks with inputs of 28 x 28 pixels.

    Args:
        root: Models folder.
        folds: Folder of `<donor>.onnx`, for the newest network in floats that was fitted on pen strokes: the
            same network fitted without that donor. Missing donors are not measured.
        donors: All donors.

    Raises:
        ArtifactError: The service would refuse a published folder.
        GraphRefused: A file in `folds` has other layers.
    """
    found = []
    for name, versions in artifact.versions(root).items():
        read = [artifact.read(root, name, version) for version in versions]
        newest = max((row for row, published in enumerate(read) if _is_float(published)), default=None)
        found += [
            load_model(published, folds if row == newest else None, donors)
            for row, published in enumerate(read)
            if published.manifest.input.shape[1:] == (mnist.SIDE, mnist.SIDE)
        ]
    return found


def load_model(published: Artifact, folds: Path | None, donors: Sequence[str]) -> AblationModel:
    """Load one published network, see `load_models`; None if its folds are not kept."""
    engine = Engine.load(published)

    def predict(pixels: Pixels) -> NDArray[np.floating]:
        return engine.run(pixels).logits

    held_out: dict[str, Predict]
    if published.manifest.recipe.get("data", "mnist") == "mnist":
        held_out = dict.fromkeys(donors, predict)
    else:
        paths = {donor: folds / f"{donor}.onnx" for donor in donors} if folds else {}
        held_out = {donor: fold for donor, path in paths.items() if (fold := _fold(published, path))}
    name = f"{published.manifest.name} {published.manifest.version}"
    return AblationModel(name, predict, held_out, sure_shares(published))


def _fold(published: Artifact, path: Path) -> Predict | None:
    """Return the network fitted without a donor, if its file exists; quantised networks have none."""
    if not path.is_file() or not _is_float(published):
        return None
    layers = dense_layers.read(replace(published, model=path.read_bytes()))
    return lambda pixels: dense_layers.logits(layers, pixels)


def _is_float(published: Artifact) -> bool:
    return not published.manifest.layers[0].rounding


def sure_shares(published: Artifact) -> tuple[str, ...]:
    """Return the shares of sure predictions in a manifest, as rows of a Markdown table."""
    certainty = published.manifest.certainty
    if certainty is None:
        return ()
    return tuple(
        f"| {share.images} | {share.examples:,} | {share.share:.1%} |"
        for share in (*certainty.kept, *certainty.passed)
    )


def accuracy(model: AblationModel, images: ImageSet, step: str, donor: str = "") -> Accuracy | None:
    """Measure one network on an image set after one step.

    Args:
        model: The network.
        images: The image set, of MNIST or of donors.
        step: A name in `images.by_step`.
        donor: Only this donor's images; empty for all.

    Returns:
        None if there is a donor among the images on whose digits every network was fitted.
    """
    pixels, labels = images.by_step[step], images.labels
    if not len(images.donors):
        return Accuracy(_correct(model.predict, pixels, labels), len(labels))
    wanted = (donor,) if donor else tuple(np.unique(images.donors))
    if not set(wanted) <= model.held_out.keys():
        return None
    correct = count = 0
    for each in wanted:
        rows = images.donors == each
        correct += _correct(model.held_out[each], pixels[rows], labels[rows])
        count += int(rows.sum())
    return Accuracy(correct, count)


def _correct(predict: Predict, pixels: Pixels, labels: NDArray[np.int64]) -> int:
    starts = range(0, len(pixels), _BATCH_SIZE)
    predicted = [predict(pixels[start : start + _BATCH_SIZE]).argmax(1) for start in starts]
    return int((np.concatenate(predicted) == labels).sum())
