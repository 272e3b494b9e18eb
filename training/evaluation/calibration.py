"""How far a network's probabilities can be believed, and from where on its answers are sure.

Everything here is measured on what the network has not learnt from.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.core.certainty import energy
from service.core.manifest import Certainty, Share

KEPT = 0.99
"""Share of digits that should be sure."""

BINS = 15
"""Of the expected calibration error."""

_COLDEST, _HOTTEST = 0.05, 20.0
_HALVINGS = 60


def best_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature at which the labels are most probable.

    The cross-entropy is convex in 1 / temperature, so its slope has one zero, which halving finds.

    Args:
        logits: (N, classes).
        labels: (N,), the right classes.

    Returns:
        From 0.05 to 20, rounded to a thousandth.

    Source: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017.
    """
    sums = logits.astype(np.float64)
    right = sums[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        return float(((_softmax(sums * inverse) * sums).sum(1) - right).mean())

    low, high = 1 / _HOTTEST, 1 / _COLDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return round(2 / (low + high), 3)


def calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    """Return the expected calibration error, 0 to 1.

    Answers are sorted into bins of equal width by the probability of the class they name; the error
    is the mean difference between that probability and the share of right answers, weighted by how
    many answers a bin holds.

    Args:
        logits: (N, classes).
        labels: (N,), the right classes.
        temperature: What logits are divided by before the softmax.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", 2015.
    """
    probabilities = _softmax(logits.astype(np.float64) / temperature)
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(abs(np.bincount(bins, right - confidence, BINS)).sum() / len(labels))


def measure(
    digits: Mapping[str, NDArray[np.float32]], others: Mapping[str, NDArray[np.float32]], temperature: float
) -> Certainty:
    """Find the threshold of the energy at which 99 % of digits are sure, each kind counting alike.

    Args:
        digits: By what they show, (N, classes) logits of digits that the network has not met.
        others: The same for drawings of no digit.
        temperature: Of the network.

    Returns:
        The threshold with the shares that it keeps and lets pass.
    """
    kept = {name: energy(logits, temperature) for name, logits in digits.items()}
    passed = {name: energy(logits, temperature) for name, logits in others.items()}
    scores = np.concatenate(list(kept.values()))
    weights = np.concatenate([np.full(len(found), 1 / len(found)) for found in kept.values()])
    order = np.argsort(scores)
    below = np.cumsum(weights[order]) / len(kept)
    threshold = round(float(scores[order][np.searchsorted(below, 1 - KEPT)]), 4)
    return Certainty(
        score="energy",
        threshold=threshold,
        kept=tuple(_share(name, found, threshold) for name, found in kept.items()),
        passed=tuple(_share(name, found, threshold) for name, found in passed.items()),
    )


def _share(name: str, scores: NDArray[np.float64], threshold: float) -> Share:
    share = round(float((scores >= threshold).mean()), 5)
    return Share(images=name, examples=len(scores), share=share)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))
