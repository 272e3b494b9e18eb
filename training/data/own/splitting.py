"""Division of own data into parts: by class, and by donor or writer where there are any.

Identical images are never divided between two parts.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEST_SHARE, VALID_SHARE = 0.2, 0.1
"""Shares of the examples in the test part, and of the others in the valid part."""

MAX_TEST, MAX_VALID = 10_000, 10_000
"""Largest parts: the standard error of an accuracy of 90 % on 10,000 examples is 0.3 points."""

MIN_DONORS, MIN_WRITERS = 5, 10
"""Fewer of them cannot be divided: one is too large a share."""

_SLACK = 1.3
"""A part may be larger than its share by this factor, since donors and writers are kept whole."""


@dataclass(frozen=True)
class Grouping:
    """Examples that must be in one part, by number.

    Attributes:
        groups: (N,) int64, number of the group of each example.
        kind: What a group is: donor, writer, or image.
    """

    groups: NDArray[np.int64]
    kind: str


def digests(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Return a digest of each image: (N, ...) uint8."""
    return [hashlib.sha256(image.tobytes()).digest() for image in pixels]


def group(images: Sequence[bytes], donors: Sequence[str], writers: Sequence[str]) -> Grouping:
    """Group examples by donor if there are at least five, else by writer if there are ten, else by image.

    Args:
        images: Digest of each image.
        donors: Donor of each example; empty if unknown.
        writers: Writer of each example; empty if unknown.
    """
    for kind, names, least in (("donor", donors, MIN_DONORS), ("writer", writers, MIN_WRITERS)):
        if len(set(names)) >= least:
            return Grouping(_numbers(names), kind)
    return Grouping(_numbers(images), "image")


def hold_out(
    labels: NDArray[np.int64], grouping: Grouping, share: float, most: int, seed: int
) -> NDArray[np.bool_]:
    """Choose whole groups at random for another part.

    Donors and writers are added until the part has its share; images are chosen class by class, at least one
    of each class with three. Every class keeps an example outside the part.

    Args:
        labels: (N,) class indices.
        grouping: Groups of the examples.
        share: Share of the examples to choose.
        most: Largest number of examples to choose.
        seed: Seed of the choice.

    Returns:
        (N,) bool, True for the chosen examples.
    """
    generator = np.random.default_rng(seed)
    wanted = min(share * len(labels), most)
    if grouping.kind == "image":
        return _by_class(labels, grouping.groups, wanted / max(len(labels), 1), generator)
    chosen = np.zeros(len(labels), np.bool_)
    left = Counter(labels.tolist())
    for number in generator.permutation(np.unique(grouping.groups)):
        members = grouping.groups == number
        counts = Counter(labels[members].tolist())
        if chosen.sum() + members.sum() > _SLACK * wanted or any(
            left[label] <= count for label, count in counts.items()
        ):
            continue
        chosen |= members
        left -= counts
        if chosen.sum() >= wanted:
            break
    return chosen


def folds(labels: NDArray[np.int64], grouping: Grouping, count: int, seed: int) -> NDArray[np.int64]:
    """Divide examples into folds of about equal size and class counts.

    Args:
        labels: (N,) class indices.
        grouping: Groups of the examples; a group is in one fold.
        count: Number of folds.
        seed: Seed of the division.

    Returns:
        (N,) int64, number of the fold of each example.
    """
    generator = np.random.default_rng(seed)
    numbers = np.zeros(len(labels), np.int64)
    order = generator.permutation(np.unique(grouping.groups))
    first = np.array([labels[grouping.groups == number][0] for number in order])
    order = order[np.argsort(first, kind="stable")]  # class by class, so that each fold gets its share
    for place, number in enumerate(order):
        numbers[grouping.groups == number] = place % count
    return numbers


def named(names: Collection[str], donors: Sequence[str], writers: Sequence[str]) -> NDArray[np.bool_]:
    """Return which examples are of some donors or writers: (N,) bool."""
    by = [set(pair) for pair in zip(donors or writers, writers or donors, strict=True)]
    return np.array([bool(each & set(names)) for each in by], np.bool_)


def _by_class(
    labels: NDArray[np.int64], groups: NDArray[np.int64], share: float, generator: np.random.Generator
) -> NDArray[np.bool_]:
    chosen = np.zeros(len(labels), np.bool_)
    _, firsts = np.unique(groups, return_index=True)  # one image of each group of copies
    for label in np.unique(labels):
        rows = generator.permutation(firsts[labels[firsts] == label])
        count = round(share * len(rows)) if len(rows) < 3 else max(1, round(share * len(rows)))
        chosen |= np.isin(groups, groups[rows[: min(count, len(rows) - 1)]])
    return chosen


def _numbers(names: Sequence[str] | Sequence[bytes]) -> NDArray[np.int64]:
    known: dict[str | bytes, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)
