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
from service.core.network import dense_layers, ood_score
from service.core.network.engine import Engine
from training.data.pen_digits import CLASSES
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
        is_sure: Maps scores to whether each prediction is sure; None if the manifest has no threshold.
        sure_shares: Rows of a table of the manifest's shares of sure predictions; empty if it has none.
    """

    name: str
    predict: Predict
    held_out: Mapping[str, Predict]
    sure_shares: tuple[str, ...]
    is_sure: Callable[[NDArray[np.floating]], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on some images.

    Attributes:
        correct: Number of correct predictions.
        images: Number of images.
        wrong_and_sure: Number of wrong predictions that are sure; None if the network does not state it.
    """

    correct: int
    images: int
    wrong_and_sure: int | None = None

    @property
    def value(self) -> float:
        """Share of correct predictions, 0 to 1."""
        return self.correct / self.images

    def __str__(self) -> str:
        error = math.sqrt(self.value * (1 - self.value) / self.images)
        text = f"{self.value:.1%}".replace("%", "") + f" ± {100 * error:.1f}"
        return (
            text if self.wrong_and_sure is None else f"{text} ({100 * self.wrong_and_sure / self.images:.1f})"
        )


def load_models(root: Path, folds: Path, donors: Sequence[str]) -> list[AblationModel]:
    """Load the published networks of digits of 28 x 28 pixels.

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
            and tuple(published.manifest.labels) == CLASSES
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
    return AblationModel(name, predict, held_out, sure_shares(published), _sureness(published))


def _sureness(published: Artifact) -> Callable[[NDArray[np.floating]], NDArray[np.bool_]] | None:
    """Return the rule of a manifest for sure predictions; None if it has none."""
    rule, temperature = published.manifest.certainty, published.manifest.temperature
    if rule is None:
        return None
    return lambda logits: np.asarray(ood_score.negative_energy(logits, temperature) >= rule.threshold)


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
    clear = np.ones(len(labels), np.bool_) if step not in images.clear else images.clear[step]
    if not len(images.donors):
        return _measured(model, model.predict, pixels, labels, clear)
    wanted = (donor,) if donor else tuple(np.unique(images.donors))
    if not set(wanted) <= model.held_out.keys():
        return None
    parts = []
    for each in wanted:
        rows = images.donors == each
        parts.append(_measured(model, model.held_out[each], pixels[rows], labels[rows], clear[rows]))
    sure = [part.wrong_and_sure for part in parts if part.wrong_and_sure is not None]
    return Accuracy(
        sum(part.correct for part in parts),
        sum(part.images for part in parts),
        sum(sure) if len(sure) == len(parts) else None,
    )


def _measured(
    model: AblationModel,
    predict: Predict,
    pixels: Pixels,
    labels: NDArray[np.int64],
    clear: NDArray[np.bool_],
) -> Accuracy:
    """Measure one network on images; `clear` is whether the segmentation of each was."""
    starts = range(0, len(pixels), _BATCH_SIZE)
    scores = np.concatenate([predict(pixels[start : start + _BATCH_SIZE]) for start in starts])
    is_right = scores.argmax(1) == labels
    wrong = None if model.is_sure is None else int((~is_right & model.is_sure(scores) & clear).sum())
    return Accuracy(int(is_right.sum()), len(labels), wrong)
