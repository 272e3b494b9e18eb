"""Batch source of labelled pen strokes, rendered anew in each epoch, and of drawings that show no class."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from training.batches.source import NO_CLASS, Batch
from training.recipes.recipe import Recipe
from training.synthesis import nondigits
from training.synthesis.augmentations import degrade
from training.synthesis.handwriting import render, to_path

STROKES = "strokes"
"""Name of this source in a recipe's `augmentation`."""

_DEGRADED_SHARE = 0.3
"""Share of the images that are blurred, sharpened or noisy."""

_FINAL_PHASE, _FINAL_STRENGTH = 0.8, 0.6
"""Share of the epochs after which the distortion is weaker, and its factor then, as for `ink`."""


_OTHERS = 4_000
"""Number of different drawings that show no class."""

_OTHER_KINDS = ("scribble", "lines", "zigzag", "wave", "lissajous", "coil", "dots")
"""Kinds of `nondigits` that show neither a digit nor a letter."""


class StrokeBatches:
    """A `BatchSource` in which each drawing is rendered once per epoch, with another pen and distortion.

    The rows after the drawings, as many as the recipe's `nondigits`, are scribbles and the like.
    """

    def __init__(
        self, recipe: Recipe, strokes: Sequence[Sequence[NDArray[np.float64]]], labels: NDArray[np.int64]
    ) -> None:
        """Create a batch source; nothing is rendered yet.

        Args:
            recipe: Strength of the distortion, number of epochs, and of rows without a class.
            strokes: One drawing per example.
            labels: (N,) class indices.
        """
        self._recipe = recipe
        self._paths = torch.tensor(np.stack([to_path(drawing) for drawing in strokes]))
        self._labels = torch.tensor(labels)
        self._others = _other_paths() if recipe.nondigits else torch.empty(0)

    def __len__(self) -> int:
        return len(self._labels) + self._recipe.nondigits

    @torch.no_grad()
    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the batch of some rows, see `BatchSource`."""
        factor = _FINAL_STRENGTH if epoch > _FINAL_PHASE * self._recipe.epochs else 1.0
        own = rows[rows < len(self._labels)]
        paths, labels = self._paths[own], self._labels[own]
        if others := len(rows) - len(own):
            chosen = torch.randint(len(self._others), (others,), generator=generator)
            paths = torch.cat((paths, self._others[chosen]))
            labels = torch.cat((labels, torch.full((others,), NO_CLASS)))
        images = render(paths, generator, factor * self._recipe.strength)
        return Batch(degrade(images, generator, _DEGRADED_SHARE), labels)


def _other_paths() -> Tensor:
    """Return drawings that show no class, always the same: (_OTHERS, POINTS, 2)."""
    generator = np.random.default_rng(5)
    paths: list[NDArray[np.float32]] = []
    while len(paths) < _OTHERS:
        kind, strokes = nondigits.draw(generator, "training")
        if kind in _OTHER_KINDS:
            paths.append(to_path(strokes))
    return torch.tensor(np.stack(paths))
