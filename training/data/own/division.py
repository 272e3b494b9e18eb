"""Division of preprocessed own data into parts, and what there is to say about them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.examples import Examples
from training.data.own import splitting
from training.data.own.records import TEST, TRAIN, VALID, WHOLE, RawPart
from training.data.own.splitting import Grouping
from training.errors import DataRefused

SMALL = 2000
"""With fewer training examples there is no valid part."""

_MAX_DONORS = 9
"""With at most so many donors in the test part, each has an evaluation part of its own."""


@dataclass(frozen=True)
class Part:
    """A preprocessed part.

    Attributes:
        pixels: (N, ...) uint8.
        labels: (N,) int64, class indices.
        raw: The part as it was read.
        rows: (N,) int64, rows of the examples in `raw`.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    raw: RawPart
    rows: NDArray[np.int64]

    def select(self, chosen: NDArray[np.bool_]) -> "Part":
        """Return some of the examples."""
        return Part(self.pixels[chosen], self.labels[chosen], self.raw, self.rows[chosen])

    def of(self, values: Sequence[str]) -> list[str]:
        """Return some values of the part as it was read, such as the writers, for its examples."""
        return [values[row] for row in self.rows] if values else []

    @property
    def examples(self) -> Examples:
        """The labelled images."""
        return Examples(self.pixels, self.labels)


def divide(
    parts: Mapping[str, Part], hold_out: Sequence[str], seed: int, remarks: list[str], name: str
) -> dict[str, Part]:
    """Return train, test and, of many examples, valid part: as given, or divided at random.

    Args:
        parts: The parts in the data.
        hold_out: Donors and writers of the test part; empty to choose at random.
        seed: Seed of the division.
        remarks: Receives how the parts were chosen.
        name: Name of the data, for messages.

    Raises:
        DataRefused: There is too little data, or nobody of a name in `hold_out`.
    """
    whole = parts.get(WHOLE) or parts[TRAIN]
    grouping = grouping_of(whole)
    if TEST in parts:
        train, test = whole, parts[TEST]
        remarks.append("The test part is the one in the data.")
    else:
        is_test = _test_rows(whole, grouping, hold_out, seed, name)
        train, test = whole.select(~is_test), whole.select(is_test)
        remarks.append(f"The test part is {_chosen(grouping, test, hold_out)}.")
    if not len(test.labels):
        raise DataRefused(name, "of at least three examples in some class", "fewer, so nothing can be tested")
    if VALID in parts:
        return {TRAIN: train, VALID: parts[VALID], TEST: test}
    if len(train.labels) < SMALL:
        return {TRAIN: train, TEST: test}
    # by writer even if the test part is by donor: the network should learn from every kind of writing left
    by_writer = splitting.group(splitting.digests(train.pixels), (), train.of(train.raw.writers))
    is_valid = splitting.hold_out(train.labels, by_writer, splitting.VALID_SHARE, splitting.MAX_VALID, seed)
    return {TRAIN: train.select(~is_valid), VALID: train.select(is_valid), TEST: test}


def grouping_of(part: Part) -> Grouping:
    """Group the examples of a part, see `splitting.group`."""
    donors, writers = part.of(part.raw.donors), part.of(part.raw.writers)
    return splitting.group(splitting.digests(part.pixels), donors, writers)


def _test_rows(
    whole: Part, grouping: Grouping, hold_out: Sequence[str], seed: int, name: str
) -> NDArray[np.bool_]:
    if not hold_out:
        return splitting.hold_out(whole.labels, grouping, splitting.TEST_SHARE, splitting.MAX_TEST, seed)
    donors, writers = whole.of(whole.raw.donors), whole.of(whole.raw.writers)
    if unknown := sorted(set(hold_out) - {*donors, *writers}):
        known = ", ".join(sorted({*donors} or {*writers})[:20]) or "none"
        raise DataRefused(
            "--hold-out", f"among the donors or writers of {name} ({known})", ", ".join(unknown)
        )
    return splitting.named(hold_out, donors, writers)


def _chosen(grouping: Grouping, test: Part, hold_out: Sequence[str]) -> str:
    """Return how the test part was chosen, in words."""
    if hold_out:
        return f"everything by {', '.join(hold_out)}, as asked for"
    if grouping.kind == "image":
        return "chosen at random, class by class; identical images are in one part"
    names = sorted(set(test.of(test.raw.donors if grouping.kind == "donor" else test.raw.writers)))
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"everything by {len(names):,} {grouping.kind}s chosen at random: {listed}"


def without_copies(parts: Mapping[str, Part], remarks: list[str]) -> Part:
    """Return the training part without images that another part has as well, and say what was found."""
    train = parts[TRAIN]
    own = splitting.digests(train.pixels)
    is_copy = np.zeros(len(own), np.bool_)
    for name, part in parts.items():
        if name == TRAIN:
            continue
        others = set(splitting.digests(part.pixels))
        found = np.array([digest in others for digest in own], np.bool_)
        if found.any():
            first = train.of(train.raw.names)[int(found.argmax())]
            remarks.append(
                f"{found.sum():,} training images are in the {name} part as well, {first} for example; "
                "they are not trained on."
            )
        is_copy |= found
    labels_of: dict[bytes, set[int]] = {}
    for digest, label in zip(own, train.labels.tolist(), strict=True):
        labels_of.setdefault(digest, set()).add(label)
    repeated = len(own) - len(labels_of)
    if repeated:
        contrary = sum(len(labels) > 1 for labels in labels_of.values())
        also = f"; {contrary:,} of them have more than one label" if contrary else ""
        remarks.append(f"{repeated:,} training images occur more than once{also}.")
    return train.select(~is_copy)


def by_donor(test: Part) -> tuple[tuple[str, ...], dict[str, Examples]]:
    """Return the donors of the test part, and of a few donors the examples of each."""
    names = test.of(test.raw.donors) or test.of(test.raw.writers)
    found = Counter(names)
    if not 2 <= len(found) <= _MAX_DONORS:
        return tuple(found), {}
    by = np.array(names)
    return tuple(found), {
        f"test, {name}": test.examples.select(np.flatnonzero(by == name)) for name in sorted(found)
    }
