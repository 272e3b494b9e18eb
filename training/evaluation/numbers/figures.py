"""How many digits and numbers are read right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.numbers.samples import Sample

SAME_BOX = 0.7
"""Intersection of a box with the true one, relative to their union, from which on a digit is cut right."""


@dataclass(frozen=True)
class Figures:
    """Figures of one set of numbers.

    Attributes:
        numbers: How many numbers.
        digits_right: 1 less the edit distances over the number of digits.
        numbers_right: Share of numbers read right.
        three_right: The same, of numbers of three digits.
        cut_right: Share of numbers with as many boxes as digits, each near the true one.
    """

    numbers: int
    digits_right: float
    numbers_right: float
    three_right: float
    cut_right: float


def measure(samples: Iterable[Sample], weights: Sequence[float]) -> Figures:
    """Read numbers, and compare text and boxes with the truth."""
    digits = errors = 0
    right, three, cut = [], [], []
    for sample in samples:
        lines = sample.read(weights)
        text = sample.text_of(lines)
        errors += min(edit_distance(text, sample.text), len(sample.text))
        digits += len(sample.text)
        right.append(text == sample.text)
        if len(sample.text) == 3 and sample.text.isdigit():
            three.append(right[-1])
        boxes = np.array([sample.lattice.candidates[row].box for line in lines for row in line])
        cut.append(
            len(boxes) == len(sample.boxes) and bool((_overlaps(boxes, sample.boxes) >= SAME_BOX).all())
        )
    return Figures(
        numbers=len(right),
        digits_right=1 - errors / max(digits, 1),
        numbers_right=float(np.mean(right)) if right else float("nan"),
        three_right=float(np.mean(three)) if three else float("nan"),
        cut_right=float(np.mean(cut)) if cut else float("nan"),
    )


def _overlaps(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return intersection over union of boxes, pair by pair: (N,)."""
    sides = np.minimum(one[:, 2:], two[:, 2:]) - np.maximum(one[:, :2], two[:, :2])
    common = np.maximum(sides, 0).prod(axis=1)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3).prod(axis=1) for boxes in (one, two)]
    return np.asarray(common / np.maximum(areas[0] + areas[1] - common, 1e-9), np.float64)


def edit_distance(one: str, two: str) -> int:
    """Return the least number of characters to insert, delete or replace (Levenshtein)."""
    before = list(range(len(two) + 1))
    for row, character in enumerate(one, 1):
        after = [row]
        for column, other in enumerate(two):
            replaced = before[column] + (character != other)
            after.append(min(replaced, before[column + 1] + 1, after[column] + 1))
        before = after
    return before[-1]
