"""Images with their classes, as whole arrays, and their parts.

These data sets fit in memory, so nothing here knows of batches; `fit` takes its batches by index.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

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

    @property
    def described(self) -> str:
        """Say in a line what there is: how many, of how many a class, how bright, and which."""
        counts = np.bincount(self.labels)
        pixels = self.pixels / 255
        return (
            f"{len(self):>7,} images, {counts.min():,} to {counts.max():,} a class, "
            f"mean {pixels.mean():.4f}, deviation {pixels.std():.4f}, sha256 {self.sha256[:12]}"
        )

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        """Return the examples of these rows, in their order."""
        return Examples(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True)
class Split:
    """A data set in parts that share no example.

    Attributes:
        name: What it is called in file names: `official`, `lesson`, ...
        data_set: The data set's name.
        classes: Their names, in the order of their numbers.
        train: What the network learns from.
        valid: What choices are made by; None where the split has no such part.
        test: What is looked at once, for the claim; None where the split has no such part.
        further: Whatever else is measured, by name.
    """

    name: str
    data_set: str
    classes: tuple[str, ...]
    train: Examples
    valid: Examples | None
    test: Examples | None
    further: Mapping[str, Examples] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Examples]:
        """The parts there are, by name."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test, **self.further}
        return {name: part for name, part in parts.items() if part is not None}
