"""Evaluation of a network on a person's own data: accuracy, temperature, out-of-distribution threshold.

Temperature and threshold are chosen on examples that the fits have not learnt from: the valid part, or all
folds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.manifest import Certainty, Measurement
from service.core.drawing.mnist import SIDE
from training.data.data_sets import Role
from training.evaluation import calibration, ood
from training.evaluation.measurements import concatenate, measure_parts, measurement, predict_parts
from training.fitting.jobs import JobResult
from training.fitting.scoring import predict

FOLDS_TOGETHER = "folds"
"""Name in a manifest of the examples of all folds, each predicted by the fit without it."""

_FEW = 500
"""With fewer examples to calibrate on, probabilities are never sharpened."""

_OTHERS = 400
"""Number of images of each kind that shows no class."""

_DRAWN_KINDS = ("walk", "spiral", "face", "hatching", "blot")
"""Kinds of `nondigits` that show neither a digit nor a letter."""


def measure(results: Sequence[JobResult]) -> tuple[list[Measurement], float, Certainty | None]:
    """Evaluate the fits on own data; arguments and result are those of `measurements.measure`."""
    predicted = [(result, predict_parts(result)) for result in results]
    published, published_parts = predicted[0]
    folds = [parts["held-out"][0] for result, parts in predicted if result.job.role == "held-out"]
    unseen = concatenate(folds) if folds else published_parts["valid"][0]
    temperature = calibration.best_temperature(unseen.logits, unseen.labels)
    if len(unseen.labels) < _FEW:
        temperature = max(temperature, 1.0)
    metrics = measure_parts(published, published_parts, temperature)
    if folds:
        names: tuple[Role, str, str] = ("held-out", published.job.split.data_set, FOLDS_TOGETHER)
        metrics.append(measurement(names, [unseen], published.job.seeds, temperature))
    shape = published.job.split.train.pixels.shape[1:]
    others = {
        f"no class: {kind}": predict(published.fits[-1].net, images)
        for kind, images in other_images(shape).items()
    }
    return metrics, temperature, ood.choose_threshold({"unseen examples": unseen.logits}, others, temperature)


def other_images(shape: tuple[int, ...]) -> dict[str, NDArray[np.uint8]]:
    """Generate images that show none of the classes, by kind.

    Args:
        shape: Shape of an image, (H, W) or (H, W, 3).

    Returns:
        (N, *shape) uint8 of each kind: for 28 x 28 drawings such as scribbles and faces, for others noise,
        gradients and stripes.
    """
    generator = np.random.default_rng(4)
    if shape == (SIDE, SIDE):
        images, kinds = ood.nondigit_images()
        return {kind: images[kinds == kind] for kind in _DRAWN_KINDS}
    size = (_OTHERS, *shape)
    height, width = shape[:2]
    angle = generator.uniform(0, 2 * np.pi, (_OTHERS, 1, 1))
    along = np.arange(height)[:, None] / height * np.sin(angle) + np.arange(width) / width * np.cos(angle)
    along = along.reshape((*along.shape, *(1 for _ in shape[2:])))
    tint = generator.uniform(0.2, 1, (_OTHERS, 1, 1, *shape[2:]))
    waves = np.sin(along * generator.uniform(15, 60, (_OTHERS, *(1 for _ in shape))))
    return {
        "noise": generator.integers(0, 256, size, np.uint8),
        "gradient": _bytes((along - along.min()) / np.ptp(along) * tint),
        "stripes": _bytes((waves + 1) / 2 * tint),
    }


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)
