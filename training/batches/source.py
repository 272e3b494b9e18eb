"""What a fit learns from, batch by batch."""

from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor

NONE = -1
"""The label of an image that shows none of the classes: all of them should be equally likely."""


@dataclass(frozen=True)
class Batch:
    """Images of one step, with what should be said of them.

    Attributes:
        images: (B, ...) 0 to 255, uint8 or float32.
        labels: (B,) int64, the number of the class, or NONE.
        answers: (B, classes) float32, a teacher's probabilities; None without a teacher.
    """

    images: Tensor
    labels: Tensor
    answers: Tensor | None = None


class Material(Protocol):
    """Images in rows, met in another order in each epoch."""

    def __len__(self) -> int:
        """Return the rows of an epoch."""
        ...

    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the images of these rows as an epoch meets them.

        Args:
            epoch: Its number, from 1.
            rows: (B,) int64.
            generator: Source of what is varied anew.
        """
        ...
