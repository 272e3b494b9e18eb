"""Batch source of a labelled data set: original images, fresh augmentation, or cached augmentations.

Augmenting every image in every epoch and predicting it with a convolutional teacher costs ten times as much
as a step of a small dense network. A recipe can therefore set a number of cached augmentations of the whole
data set. Epochs use them in turn; each is computed at its first use.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from training.batches.source import Batch
from training.batches.teacher import teacher_probabilities
from training.data.examples import Examples
from training.recipes.recipe import Recipe
from training.synthesis.augmentations import AUGMENTATIONS

_CHUNK = 500
"""Images that are augmented at once; bounds memory and fits the processor's cache."""


@dataclass(frozen=True)
class _Cached:
    """One augmentation of all training images.

    Attributes:
        pixels: (N, ...) uint8.
        teacher: (N, classes) float32, mean probabilities of the teachers; None without a teacher.
    """

    pixels: Tensor
    teacher: Tensor | None


class AugmentedBatches:
    """A `BatchSource` of labelled images under a recipe's augmentation.

    Cached augmentation k is computed from a generator with seed k. It depends neither on the seed of the fit
    nor on interruptions.
    """

    def __init__(self, recipe: Recipe, train: Examples, teachers: Sequence[nn.Module] = ()) -> None:
        """Create a batch source; nothing is augmented yet.

        Args:
            recipe: Augmentation, strength, number of cached augmentations, and teacher temperature.
            train: The images.
            teachers: Networks in evaluation mode; used for cached augmentations only.
        """
        self._recipe = recipe
        self._pixels = torch.tensor(train.pixels)
        self._labels = torch.tensor(train.labels)
        self._teachers = teachers
        self._cache: dict[int, _Cached] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the batch of some rows, see `BatchSource`.

        Cached augmentations do not use the generator.
        """
        labels = self._labels[rows]
        if self._recipe.versions:
            cached = self._cached((epoch - 1) % self._recipe.versions)
            teacher = None if cached.teacher is None else cached.teacher[rows]
            return Batch(cached.pixels[rows], labels, teacher)
        pixels = self._pixels[rows]
        if self._recipe.augmentation:
            augment = AUGMENTATIONS[self._recipe.augmentation]
            pixels = augment(pixels, generator, self._recipe.strength)
        return Batch(pixels, labels)

    def _cached(self, number: int) -> _Cached:
        if number not in self._cache:
            self._cache[number] = self._compute(torch.Generator().manual_seed(number))
        return self._cache[number]

    @torch.no_grad()
    def _compute(self, generator: Generator) -> _Cached:
        augment = AUGMENTATIONS[self._recipe.augmentation]
        pixels, teacher = [], []
        for chunk in torch.split(self._pixels, _CHUNK):
            augmented = augment(chunk, generator, self._recipe.strength).round_().to(torch.uint8)
            pixels.append(augmented)
            if self._teachers:
                temperature = self._recipe.teacher_temperature
                teacher.append(teacher_probabilities(self._teachers, augmented, temperature))
        return _Cached(torch.cat(pixels), torch.cat(teacher) if teacher else None)
