"""Interface of a batch source: the training data of a fit, batch by batch."""

from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor

NO_CLASS = -1
"""Label of an out-of-distribution image; its target is the uniform distribution."""


@dataclass(frozen=True)
class Batch:
    """Training data of one step.

    Attributes:
        images: (B, ...) 0 to 255, uint8 or float32.
        labels: (B,) int64, class indices or NO_CLASS.
        teacher: (B, classes) float32, probabilities of the teachers; None without a teacher.
    """

    images: Tensor
    labels: Tensor
    teacher: Tensor | None = None


class BatchSource(Protocol):
    """Training images by row number; the fit shuffles the rows in every epoch."""

    def __len__(self) -> int:
        """Return the number of rows of an epoch."""
        ...

    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the batch of some rows.

        Args:
            epoch: Number of the epoch, from 1.
            rows: (B,) int64.
            generator: Source of randomness of augmentation.
        """
        ...
