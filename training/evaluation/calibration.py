"""Calibration: temperature scaling and the expected calibration error."""

import numpy as np
from numpy.typing import NDArray

from training.model.softmax import softmax

BINS = 15
"""Bins of the expected calibration error."""

_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
_BISECTIONS = 60


def best_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the cross-entropy.

    The cross-entropy is convex in 1 / temperature, so the zero of its slope is found by bisection.

    Args:
        logits: (N, classes).
        labels: (N,), class indices.

    Returns:
        From 0.05 to 20, rounded to a thousandth.

    Source: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017.
    """
    scores = logits.astype(np.float64)
    label_scores = scores[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        return float(((softmax(scores * inverse) * scores).sum(1) - label_scores).mean())

    low, high = 1 / _MAX_TEMPERATURE, 1 / _MIN_TEMPERATURE
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return round(2 / (low + high), 3)


def calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    """Return the expected calibration error, 0 to 1.

    Predictions are sorted into bins of equal width by their confidence, the probability of the predicted
    class. The error is the mean difference between confidence and accuracy of the bins, weighted by their
    sizes.

    Args:
        logits: (N, classes).
        labels: (N,), class indices.
        temperature: Divisor of the logits before the softmax.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", 2015.
    """
    probabilities = softmax(logits.astype(np.float64) / temperature)
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(abs(np.bincount(bins, correct - confidence, BINS)).sum() / len(labels))
