"""Out-of-distribution detection: evaluation images that are no digits, and the energy threshold.

A prediction is called `sure` if its energy is at least the threshold.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.manifest import Certainty, Share
from service.core.drawing.mnist import from_strokes
from service.core.network.ood_score import negative_energy
from training.synthesis import nondigits

NONDIGITS = 3000
"""Number of non-digits in an evaluation; their kinds differ from those in training."""

NO_DIGIT = "no digit"
"""Name of all non-digits together in a manifest."""

KEPT = 0.99
"""Share of digits that should be above the threshold."""


def nondigit_images() -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Render the non-digits for evaluation, always the same.

    Returns:
        Images, (NONDIGITS, 28, 28), and the kind of each, (NONDIGITS,).
    """
    generator = np.random.default_rng(2)
    drawn = [nondigits.draw(generator, "evaluation") for _ in range(NONDIGITS)]
    return np.stack([from_strokes(strokes) for _, strokes in drawn]), np.array([kind for kind, _ in drawn])


def kind_masks(kinds: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    """Return boolean masks, (N,): all non-digits first, then each kind."""
    each = {f"{NO_DIGIT}: {kind}": kinds == kind for kind in sorted(set(kinds))}
    return {NO_DIGIT: np.full(len(kinds), True), **each}


def choose_threshold(
    digits: Mapping[str, NDArray[np.float32]], others: Mapping[str, NDArray[np.float32]], temperature: float
) -> Certainty:
    """Choose the energy threshold that 99 % of digits reach, with equal weight for each kind of image.

    Args:
        digits: (N, classes) logits of digits that the network was not fitted on, by kind of image.
        others: The same of non-digits.
        temperature: Temperature of the network.

    Returns:
        The threshold, and the share of each kind that reaches it.
    """
    kept = {name: negative_energy(logits, temperature) for name, logits in digits.items()}
    passed = {name: negative_energy(logits, temperature) for name, logits in others.items()}
    energies = np.concatenate(list(kept.values()))
    weights = np.concatenate([np.full(len(found), 1 / len(found)) for found in kept.values()])
    order = np.argsort(energies)
    below = np.cumsum(weights[order]) / len(kept)
    threshold = round(float(energies[order][np.searchsorted(below, 1 - KEPT)]), 4)
    return Certainty(
        score="energy",
        threshold=threshold,
        kept=tuple(_share(name, found, threshold) for name, found in kept.items()),
        passed=tuple(_share(name, found, threshold) for name, found in passed.items()),
    )


def _share(name: str, energies: NDArray[np.float64], threshold: float) -> Share:
    share = round(float((energies >= threshold).mean()), 5)
    return Share(images=name, examples=len(energies), share=share)
