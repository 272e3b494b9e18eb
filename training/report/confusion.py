"""Confusion matrices."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.report import Confused, Confusion
from training.data.examples import Split

_NAMED = 5
"""Number of most frequent mistakes in a matrix's summary."""


def confusion(
    fit: str, split: Split, part: str, predictions: Sequence[NDArray[np.int64]], seeds: Sequence[int]
) -> Confusion:
    """Return the confusion matrix of one or several fits, summed.

    Args:
        fit: Role of the fits, `published` or `lesson`.
        split: The evaluation data.
        part: Name of the part.
        predictions: (N,) int64 for each fit, the predicted classes.
        seeds: One per fit.

    Returns:
        The counts, one row per class and one column per predicted class.
    """
    examples = split.parts[part]
    size = len(split.classes)
    counts = np.zeros((size, size), np.int64)
    for predicted in predictions:
        np.add.at(counts, (examples.labels, predicted), 1)
    return Confusion(
        fit=fit,
        data=split.data_set,
        split=part,
        seeds=tuple(seeds),
        examples=len(examples),
        counts=tuple(map(tuple, counts.tolist())),
        confused=_most_confused(counts, split.classes),
    )


def _most_confused(counts: NDArray[np.int64], classes: Sequence[str]) -> tuple[Confused, ...]:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_NAMED]
    pairs = [divmod(int(position), len(classes)) for position in order]
    return tuple(
        Confused(truth=classes[truth], answer=classes[answer], count=int(wrong[truth, answer]))
        for truth, answer in pairs
        if wrong[truth, answer]
    )
