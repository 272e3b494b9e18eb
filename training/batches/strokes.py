"""Batch source of labelled pen strokes, rendered anew in each epoch."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from training.batches.source import Batch
from training.recipes.recipe import Recipe
from training.synthesis.augmentations import degrade
from training.synthesis.handwriting import render, to_path

STROKES = "strokes"
"""Name of this source in a recipe's `augmentation`."""

_DEGRADED_SHARE = 0.3
"""Share of the images that are blurred, sharpened or noisy."""

_FINAL_PHASE, _FINAL_STRENGTH = 0.8, 0.6
"""Share of the epochs after which the distortion is weaker, and its factor then, as for `ink`."""


class StrokeBatches:
    """A `BatchSource` in which each drawing is rendered once per epoch, with another pen and distortion."""

    def __init__(
        self, recipe: Recipe, strokes: Sequence[Sequence[NDArray[np.float64]]], labels: NDArray[np.int64]
    ) -> None:
        """Create a batch source; nothing is rendered yet.

        Args:
            recipe: Strength of the distortion, and number of epochs.
            strokes: One drawing per example.
            labels: (N,) class indices.
        """
        self._recipe = recipe
        self._paths = torch.tensor(np.stack([to_path(drawing) for drawing in strokes]))
        self._labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self._labels)

    @torch.no_grad()
    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the batch of some rows, see `BatchSource`."""
        factor = _FINAL_STRENGTH if epoch > _FINAL_PHASE * self._recipe.epochs else 1.0
        images = render(self._paths[rows], generator, factor * self._recipe.strength)
        return Batch(degrade(images, generator, _DEGRADED_SHARE), self._labels[rows])
