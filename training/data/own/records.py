"""Own data as it was read: labelled examples, not yet preprocessed, and what was left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Strokes = tuple[NDArray[np.float64], ...]
"""One (points, 2) array per stroke."""

PictureFile = Path | bytes
"""A picture file, on disk or in memory."""

Content = NDArray[np.uint8] | Sequence[PictureFile] | Sequence[Strokes]
"""Examples of one kind: (N, H, W) or (N, H, W, 3) uint8, picture files, or drawings as strokes."""

WHOLE, TRAIN, VALID, TEST = "", "train", "valid", "test"
"""Names of parts; WHOLE is data that is not divided yet."""


@dataclass(frozen=True)
class LeftOut:
    """An example that could not be read.

    Attributes:
        name: File, and row within it.
        reason: What was expected, and what was found.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class RawPart:
    """Labelled examples of one part.

    Attributes:
        content: The examples.
        labels: Label of each example, any text.
        names: Name of each example for messages: its file, and its row within it.
        donors: Contributor of each example; empty if unknown.
        writers: Writer of each example; empty if unknown.
    """

    content: Content
    labels: Sequence[str]
    names: Sequence[str]
    donors: Sequence[str] = ()
    writers: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Found:
    """What was found at a path.

    Attributes:
        form: The form, in words.
        parts: Examples by part: WHOLE alone, or TRAIN with or without VALID and TEST.
        left_out: Examples that could not be read.
        remarks: What else a person should know, one sentence each.
    """

    form: str
    parts: Mapping[str, RawPart]
    left_out: Sequence[LeftOut] = ()
    remarks: Sequence[str] = field(default=())


def row_names(file: str, count: int, first: int = 1) -> list[str]:
    """Return names of the rows of a file: `file, row 1` and so on."""
    return [f"{file}, row {row}" for row in range(first, first + count)]


def part_of(name: str) -> str:
    """Return the part that a file's or folder's name stands for; WHOLE if it names none."""
    words = name.lower().replace("-", " ").replace("_", " ").replace(".", " ").split()
    for part, aliases in _ALIASES.items():
        if any(word in aliases for word in words):
            return part
    return WHOLE


_ALIASES: Mapping[str, frozenset[str]] = {
    TRAIN: frozenset({"train", "training"}),
    VALID: frozenset({"valid", "val", "validation", "dev"}),
    TEST: frozenset({"test", "testing", "t10k"}),
}
