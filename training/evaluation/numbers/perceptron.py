"""Weights of a candidate's score, by an averaged structured perceptron on numbers whose text is known.

Source: M. Collins, "Discriminative training methods for hidden Markov models: theory and experiments with
perceptron algorithms", EMNLP 2002. The segmentation that the text is compared with is the best one by the
present weights among those that read the text with boxes near the true ones.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.core.reading.lattice import Sizes, Weights, best_path, log_sizes
from training.data.pen_digits import CLASSES
from training.evaluation.numbers.samples import Sample

EPOCHS, RATE, MARGIN = 20, 0.02, 0.5
"""Passes over the samples; step of an update; score by which a wrong candidate must be worse."""

NEAR = 0.5
"""Overlap in x of a candidate with a true digit, relative to their union, from which on it may be it."""


def learn(samples: Sequence[Sample], start: Weights, seed: int) -> Weights:
    """Return the mean of the weights over the last two thirds of the passes.

    Samples of several lines, and those whose text no sequence of candidates reads, are left out.

    Args:
        samples: Numbers of training writers.
        start: Weights to begin with.
        seed: Seed of the order of the samples.
    """
    generator = np.random.default_rng(seed)
    used = [(sample, _near(sample)) for sample in samples if len(sample.lattice.cuts) == 1]
    weights = np.array(start)
    total, steps = np.zeros_like(weights), 0
    for epoch in range(EPOCHS):
        for row in generator.permutation(len(used)).tolist():
            sample, near = used[row]
            scores = sample.terms @ weights
            right = true_path(sample, scores, near)
            if right is None:
                continue
            wrong = np.ones(len(scores))
            wrong[right] = 0
            (cuts,) = sample.lattice.cuts
            found = best_path(sample.lattice.candidates, scores + MARGIN * wrong, cuts)
            weights = weights + RATE * (sample.terms[right].sum(axis=0) - sample.terms[found].sum(axis=0))
            if epoch >= EPOCHS // 3:
                total, steps = total + weights, steps + 1
    return Weights(*(total / max(steps, 1)).round(3).tolist())


def usual_sizes(samples: Iterable[Sample], weights: Sequence[float]) -> dict[str, Sizes]:
    """Return the usual sizes of each digit, over the candidates that `true_path` chooses by some weights."""
    found: dict[str, list[NDArray[np.float64]]] = {label: [] for label in CLASSES}
    for sample in samples:
        if len(sample.lattice.cuts) != 1:
            continue
        path = true_path(sample, sample.terms @ np.asarray(weights))
        sizes = log_sizes(sample.lattice.candidates)
        for row in path or ():
            found[sample.labels[row]].append(sizes[row])
    result = {}
    for label, logs in found.items():
        if logs:
            mean, deviation = np.mean(logs, axis=0), np.std(logs, axis=0)
            pairs = np.stack((mean, deviation), axis=1).round(2).tolist()
            result[label] = Sizes(*((pair[0], pair[1]) for pair in pairs))
    return result


def true_path(
    sample: Sample, scores: NDArray[np.float64], near: NDArray[np.bool_] | None = None
) -> list[int] | None:
    """Return the best candidates of a line that read the text with boxes near the true ones; None without.

    Args:
        sample: A number in one line.
        scores: (N,) score of each candidate.
        near: (N, digits): whether a candidate's box is near a digit's; computed if it is not given.
    """
    near = _near(sample) if near is None else near
    candidates, text = sample.lattice.candidates, sample.text
    total = {(0, 0): 0.0}
    chosen: dict[tuple[int, int], int] = {}
    for index in sorted(range(len(candidates)), key=lambda number: candidates[number].end):
        one = candidates[index]
        for digit in np.flatnonzero(near[index]).tolist():
            before = total.get((one.start, digit))
            if before is None or sample.labels[index] != text[digit]:
                continue
            place = one.end, digit + 1
            if before + scores[index] > total.get(place, -np.inf):
                total[place], chosen[place] = before + scores[index], index
    place = sample.lattice.cuts[0], len(text)
    if place not in chosen:
        return None
    path: list[int] = []
    while place != (0, 0):
        path.append(chosen[place])
        place = candidates[path[-1]].start, place[1] - 1
    return path[::-1]


def _near(sample: Sample) -> NDArray[np.bool_]:
    """Return whether each candidate overlaps each digit in x: (N, digits)."""
    boxes = np.array([one.box for one in sample.lattice.candidates])
    common = np.minimum(boxes[:, None, 2], sample.boxes[:, 2]) - np.maximum(
        boxes[:, None, 0], sample.boxes[:, 0]
    )
    union = np.maximum(boxes[:, None, 2], sample.boxes[:, 2]) - np.minimum(
        boxes[:, None, 0], sample.boxes[:, 0]
    )
    return np.asarray(common >= NEAR * union)
