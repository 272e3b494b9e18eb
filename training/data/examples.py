"""Labelled images as whole arrays, and their division into parts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.manifest import Manifest
from training.errors import DataMismatch


@dataclass(frozen=True)
class Examples:
    """Labelled images.

    Attributes:
        pixels: (N, ...) uint8, 0 background to 255 ink.
        labels: (N,) int64, class indices.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sha256(self) -> str:
        """Digest of the pixels, followed by the labels as one byte each."""
        digest = hashlib.sha256(self.pixels.tobytes())
        digest.update(self.labels.astype(np.uint8).tobytes())
        return digest.hexdigest()

    @property
    def summary(self) -> str:
        """One line of text: number of images, class counts, mean and deviation of the pixels, digest."""
        counts = np.bincount(self.labels)
        pixels = self.pixels / 255
        return (
            f"{len(self):>7,} images, {counts.min():,} to {counts.max():,} per class, "
            f"mean {pixels.mean():.4f}, deviation {pixels.std():.4f}, sha256 {self.sha256[:12]}"
        )

    def select(self, rows: NDArray[np.int64]) -> "Examples":
        """Return the examples with these row numbers, in their order."""
        return Examples(self.pixels[rows], self.labels[rows])


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Return the examples of all parts, in order."""
    return Examples(
        np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts])
    )


@dataclass(frozen=True)
class Split:
    """A data set divided into disjoint parts.

    Attributes:
        name: Name of the split, used in file names: `official`, `lesson`, ...
        data_set: Name of the data set.
        classes: Class names, by class index.
        train: Training part.
        valid: Validation part; None if the split has none.
        test: Test part; None if the split has none.
        extra: Further evaluation parts, by name.
    """

    name: str
    data_set: str
    classes: tuple[str, ...]
    train: Examples
    valid: Examples | None
    test: Examples | None
    extra: Mapping[str, Examples] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Examples]:
        """All existing parts, by name."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test, **self.extra}
        return {name: part for name, part in parts.items() if part is not None}

    def check_against(self, manifest: Manifest) -> None:
        """Check that the manifest of a published network lists every part.

        Raises:
            DataMismatch: The network was fitted or evaluated on other data.
        """
        known = {source.sha256 for source in manifest.data}
        for name, part in self.parts.items():
            if part.sha256 not in known:
                raise DataMismatch(
                    f"{manifest.name}/{manifest.version}",
                    f"{self.data_set}, {self.name} {name}",
                    part.sha256,
                )
