"""Predictions of a published network on a part, with the figures derived from them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.report import Bin, Extremes, Seen
from service.core.network.engine import Engine
from training.data.examples import Examples, Split

BINS = 15
"""Bins of the calibration error."""

_SHOWN = 10
"""Number of typical and of troublesome images per class."""

_BATCH_SIZE = 1000
"""Bounds memory."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of a network on a part.

    Attributes:
        probabilities: (N, classes) float32.
        predicted: (N,) int64, the class with the highest probability.
        true_probability: (N,) float32, the probability of the image's own class.
        odds: (N,) float64, the sum of exp(logit - own logit) over the other classes; it distinguishes images
            whose probability is rounded to 1 or to 0.
    """

    probabilities: NDArray[np.float32]
    predicted: NDArray[np.int64]
    true_probability: NDArray[np.float32]
    odds: NDArray[np.float64]


def predict_part(engine: Engine, examples: Examples) -> Predictions:
    """Return the predictions of a network; raises as `Engine.run` does."""
    scores = [
        engine.run(examples.pixels[start : start + _BATCH_SIZE])
        for start in range(0, len(examples), _BATCH_SIZE)
    ]
    probabilities = np.concatenate([score.probabilities for score in scores])  # (N, classes)
    logits = np.concatenate([score.logits for score in scores]).astype(np.float64)
    rows = np.arange(len(examples))
    distances = logits - logits[rows, examples.labels][:, None]
    distances[rows, examples.labels] = -np.inf
    with np.errstate(over="ignore"):  # overflow to infinity is correct here
        odds = np.exp(distances).sum(axis=1)
    return Predictions(
        probabilities, probabilities.argmax(axis=1), probabilities[rows, examples.labels], odds
    )


def calibration_bins(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> tuple[float, tuple[Bin, ...]]:
    """Compare confidence with accuracy, in bins of equal width.

    Args:
        confidence: (N,) from 0 to 1, the probability of the predicted class.
        correct: (N,) whether the prediction is correct.

    Returns:
        The expected calibration error, the sum over the bins of images / N * |accuracy - confidence|; and
        the `BINS` bins.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017, section 2.
    """
    positions = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for position in range(BINS):
        is_here = positions == position
        count = int(is_here.sum())
        mean, accuracy = (float(each[is_here].mean()) if count else None for each in (confidence, correct))
        if mean is not None and accuracy is not None:
            error += count / len(confidence) * abs(accuracy - mean)
        bins.append(
            Bin(
                lower=round(position / BINS, 6),
                upper=round((position + 1) / BINS, 6),
                images=count,
                confidence=None if mean is None else round(mean, 6),
                accuracy=None if accuracy is None else round(accuracy, 6),
            )
        )
    return error, tuple(bins)


def extremes(split: Split, part: str, label: int, predictions: Predictions) -> Extremes:
    """Return the images of a class with the highest and the lowest probability of that class.

    Args:
        split: The data.
        part: Name of the part.
        label: Class index.
        predictions: Predictions on that part.
    """
    rows = np.flatnonzero(split.parts[part].labels == label)
    order = rows[np.lexsort((predictions.odds[rows], -predictions.true_probability[rows]))]

    def seen(row: np.int64) -> Seen:
        probability = round(float(np.clip(predictions.true_probability[row], 0, 1)), 6)
        return Seen(row=int(row), probability=probability, answer=split.classes[predictions.predicted[row]])

    return Extremes(
        data=split.data_set,
        split=part,
        label=split.classes[label],
        typical=tuple(seen(row) for row in order[:_SHOWN]),
        troublesome=tuple(seen(row) for row in order[::-1][:_SHOWN]),
    )
