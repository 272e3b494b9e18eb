"""Effect of quantisation on held-out donors and on non-digits.

The published network was fitted on all donors. So the fits that excluded some of them are quantised in the
same way, and compared on the excluded data.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.manifest import Certainty, Share
from service.core.network.dense_layers import Dense
from service.core.network.int8 import Int8Dense
from training.data.examples import Examples
from training.evaluation import ood
from training.fitting.jobs import JobResult
from training.model.mlp import MLP
from training.quantisation.comparison import (
    Comparison,
    EnergyThreshold,
    LogitPair,
    compare,
    concatenate,
    logit_pair,
)
from training.quantisation.gptq import quantise_layers

CALIBRATION = 10_000
"""Number of calibration images; all training images if there are fewer."""

SEED = 1
"""Seed of the choice of calibration images."""

STROKES = "strokes"
"""Held-out part that is a gate."""


def calibration_images(train: Examples) -> Examples:
    """Return a random subset of the training images, in their order."""
    rows = np.random.default_rng(SEED).permutation(len(train))[:CALIBRATION]
    return train.select(np.sort(rows))


def compare_held_out(
    results: Sequence[JobResult], title: str, threshold: EnergyThreshold | None
) -> tuple[list[Comparison], Certainty | None]:
    """Quantise fits with held-out donors, and compare them on these donors and on non-digits.

    Args:
        results: One fit per job; each is calibrated on its own training images.
        title: Description of the fits in the names of the comparisons.
        threshold: OOD threshold; None for networks without one.

    Returns:
        A comparison per kind of image, over all fits; and the shares above the threshold after
        quantisation, None without held-out donors or threshold.
    """
    if not results:
        return [], None
    pairs = [_quantise_fit(result) for result in results]
    comparisons = []
    kept: dict[str, NDArray[np.float32]] = {}
    for part in dict.fromkeys(name for result in results for name in result.job.split.extra):
        parts = [result.job.split.extra[part] for result in results]
        logits = concatenate(
            [logit_pair(*pair, each.pixels) for pair, each in zip(pairs, parts, strict=True)]
        )
        name = f"digits, not met: {part}, {title}"
        labels = np.concatenate([each.labels for each in parts])
        comparisons.append(compare(name, logits, labels, threshold, is_gate=part == STROKES))
        kept[name] = logits.after
    images, kinds = ood.nondigit_images()
    logits = concatenate([logit_pair(*pair, images) for pair in pairs])
    passed: dict[str, NDArray[np.float32]] = {}
    for kind, mask in ood.kind_masks(np.tile(kinds, len(pairs))).items():
        name = f"{kind}, {title}"
        chosen = LogitPair(logits.before[mask], logits.after[mask])
        comparisons.append(compare(name, chosen, None, threshold))
        passed[name] = chosen.after
    for kind in dict.fromkeys(kind for result in results for kind in result.job.nondigits):
        name = f"{ood.NO_DIGIT}: {kind}, {title}"
        written = [result.job.nondigits.get(kind) for result in results]
        chosen = concatenate(
            [logit_pair(*pair, each) for pair, each in zip(pairs, written, strict=True) if each is not None]
        )
        comparisons.append(compare(name, chosen, None, threshold))
        passed[name] = chosen.after
    if threshold is None:
        return comparisons, None
    certainty = Certainty(
        score="energy",
        threshold=threshold.threshold,
        kept=_shares(kept, threshold),
        passed=_shares(passed, threshold),
    )
    return comparisons, certainty


def _quantise_fit(result: JobResult) -> tuple[Mapping[str, Dense], Mapping[str, Int8Dense]]:
    """Return the layers of a job's fit before and after quantisation."""
    net = result.fits[0].net
    assert isinstance(net, MLP)
    layers = net.numpy_layers()
    return layers, quantise_layers(layers, calibration_images(result.job.split.train).pixels)


def _shares(logits: Mapping[str, NDArray[np.float32]], threshold: EnergyThreshold) -> tuple[Share, ...]:
    return tuple(
        Share(images=images, examples=len(each), share=round(threshold.share(each), 5))
        for images, each in logits.items()
    )
