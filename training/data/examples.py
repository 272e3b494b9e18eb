"""Images with their classes, as whole arrays, and their parts.

These data sets fit in memory, so nothing here knows of batches; `fit` takes its batches by index.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """Images with their classes.

    Attributes:
        pixels: (N, ...) uint8, 0 background to 255 ink.
        labels: (N,) int64, the number of the class, from 0.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sha256(self) -> str:
        """Digest of the pixels, then of the labels as one byte each."""
        digest = hashlib.sha256(self.pixels.tobytes())
        digest.update(self.labels.astype(np.uint8).tobytes())
        return digest.hexdigest()

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        """Return the examples of these rows, in their order."""
        return Examples(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True)
class Split:
    """A data set in parts that share no example.

    Attributes:
        name: `official` or `lesson`.
        data_set: The data set's name.
        classes: Their names, in the order of their numbers.
        train: What the network learns from.
        valid: What choices are made by; None where the split has no such part.
        test: What is looked at once, for the claim.
    """

    name: str
    data_set: str
    classes: tuple[str, ...]
    train: Examples
    valid: Examples | None
    test: Examples

    @property
    def parts(self) -> dict[str, Examples]:
        """The parts there are, by name."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}
