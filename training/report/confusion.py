"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.core.report import Confused, Confusion
from training.data.examples import Examples, Split

_NAMED = 5
"""Mistakes that a matrix names."""


def confusion(
    fit: str, split: Split, part: str, answers: Sequence[NDArray[np.int64]], seeds: Sequence[int]
) -> Confusion:
    """Count how often each class was taken for each.

    Args:
        fit: What the fits were for, `published` or `lesson`.
        split: That they were measured on.
        part: Which part of it.
        answers: For each fit (N,) int64, the classes it named.
        seeds: One a fit.

    Returns:
        The counts of all fits together, one row a class and one column an answer.
    """
    examples: Examples = split.parts[part]
    size = len(split.classes)
    counts = np.zeros((size, size), np.int64)
    for named in answers:
        np.add.at(counts, (examples.labels, named), 1)
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
    pairs = [divmod(int(place), len(classes)) for place in order]
    return tuple(
        Confused(truth=classes[truth], answer=classes[answer], count=int(wrong[truth, answer]))
        for truth, answer in pairs
        if wrong[truth, answer]
    )
