"""Batch source of the model `ink`: MNIST, rendered pen strokes, preprocessed canvases, and non-digits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from training.batches.source import NO_CLASS, Batch
from training.batches.teacher import teacher_probabilities
from training.data.ink import InkData
from training.recipes.recipe import Recipe
from training.synthesis.augmentations import augment_digits, degrade, vary_stroke_width
from training.synthesis.handwriting import POINTS, add_variants, join, render, to_path, vary_shape
from training.synthesis.randomness import coin

_FINAL_PHASE = 0.8
"""Share of the epochs after which augmentation is weaker, so that a fit ends on realistic images."""

_FINAL_STRENGTH = 0.6
"""Factor of all strengths in the final phase."""

_CANVAS_STRENGTH = 0.45
"""Factor of the strength for canvases, which are random already."""

_NO_DIGIT_ON_ITS_SIDE = (2, 3, 4, 5, 6, 7, 9)
"""Digits that no reader takes for a digit when they lie on their side; an 8, a 0 and a 1 can be read."""

_STROKE_WIDTH_SHARE, _DEGRADED_SHARE = 0.3, 0.4
"""Share of the MNIST images with another stroke width; share of all images that are degraded."""


@dataclass(frozen=True)
class _RowRanges:
    """First row of each kind in an epoch; MNIST begins at 0."""

    drawn: int
    styled: int
    canvases: int
    nondigits: int
    letters: int
    joined: int
    turned: int
    end: int


class InkBatches:
    """A `BatchSource` in which only the MNIST rows are fixed images; the others are drawn at random.

    A donor's weight is the square root of its number of digits, so that the donor of half of the digits does
    not dominate an epoch.
    """

    def __init__(self, recipe: Recipe, ink: InkData, teachers: Sequence[nn.Module] = ()) -> None:
        """Create a batch source; nothing is rendered yet.

        Args:
            recipe: Number of rows of each kind, augmentation strength, and teacher temperature.
            ink: The training data.
            teachers: Networks in evaluation mode; their probabilities of every batch are averaged.
        """
        self._recipe = recipe
        self._teachers = teachers
        self._mnist = torch.tensor(ink.mnist.pixels)
        self._mnist_labels = torch.tensor(ink.mnist.labels)
        self._paths = torch.tensor(np.stack([to_path(digit.strokes) for digit in ink.digits]))
        self._labels = torch.tensor([digit.label for digit in ink.digits])
        donors = [digit.donor for digit in ink.digits]
        counts = {donor: donors.count(donor) for donor in set(donors)}
        self._weights = torch.tensor([counts[donor] ** -0.5 for donor in donors])
        self._canvases = torch.tensor(ink.canvases.pixels)
        self._canvas_digits = torch.tensor(ink.canvas_digits)
        self._nondigits = _paths(ink.nondigits)
        self._letters = _paths([letter.strokes for letter in ink.letters])
        self._styled = _paths([digit.strokes for digit in ink.styled])
        self._styled_labels = torch.tensor([digit.label for digit in ink.styled], dtype=torch.int64)
        counts_of_kinds = (
            len(self._mnist),
            recipe.drawn,
            recipe.styled,
            recipe.canvases,
            recipe.nondigits,
            recipe.letters,
            recipe.joined,
            recipe.turned,
        )
        self._ranges = _RowRanges(*(int(end) for end in np.cumsum(counts_of_kinds)))

    def __len__(self) -> int:
        return self._ranges.end

    @torch.no_grad()
    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the batch of some rows, see `BatchSource`."""
        factor = _FINAL_STRENGTH if epoch > _FINAL_PHASE * self._recipe.epochs else 1.0
        strength = factor * self._recipe.strength
        ranges = self._ranges
        parts = [
            self._mnist_images(rows[rows < ranges.drawn], generator, strength),
            self._drawn_images(_count(rows, ranges.drawn, ranges.styled), generator, strength),
            self._canvas_images(_count(rows, ranges.canvases, ranges.nondigits), generator, strength),
            self._nondigit_images(_count(rows, ranges.nondigits, ranges.letters), generator, strength),
        ]
        if self._recipe.styled:
            count = _count(rows, ranges.styled, ranges.canvases)
            parts.append(self._styled_images(count, generator, strength))
        if self._recipe.letters:
            count = _count(rows, ranges.letters, ranges.joined)
            parts.append(_nondigits(self._letters, count, generator, strength))
        if self._recipe.joined:
            parts.append(self._joined_images(_count(rows, ranges.joined, ranges.turned), generator, strength))
        if self._recipe.turned:
            parts.append(self._turned_images(_count(rows, ranges.turned, ranges.end), generator, strength))
        images = degrade(torch.cat([images for images, _ in parts]), generator, _DEGRADED_SHARE)
        labels = torch.cat([labels for _, labels in parts])
        return Batch(images, labels, self._teacher(images, labels))

    def _mnist_images(self, rows: Tensor, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        images = augment_digits(self._mnist[rows], generator, strength)
        return vary_stroke_width(images, generator, _STROKE_WIDTH_SHARE), self._mnist_labels[rows]

    def _drawn_images(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        chosen = _sample(self._weights, count, generator)
        labels = self._labels[chosen]
        paths = vary_shape(self._paths[chosen], labels, generator)
        paths = add_variants(paths, labels, generator)
        return render(paths, generator, strength), labels

    def _canvas_images(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        chosen = _sample(self._weights[self._canvas_digits], count, generator)
        images = augment_digits(self._canvases[chosen], generator, _CANVAS_STRENGTH * strength)
        return images, self._labels[self._canvas_digits[chosen]]

    def _nondigit_images(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        return _nondigits(self._nondigits, count, generator, strength)

    def _styled_images(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(self._styled), (count,), generator=generator)
        return render(self._styled[chosen], generator, strength), self._styled_labels[chosen]

    def _joined_images(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        """Return drawings of digits side by side: two, in a third of the drawings three.

        Ones, and round digits above each other, are side by side only: stacked they can look like one digit.
        """
        first, second, third = (_sample(self._weights, count, generator) for _ in range(3))
        pair = torch.stack((self._labels[first], self._labels[second]))
        may_stack = (pair != 1).all(0) & torch.isin(pair, torch.tensor([2, 4, 5, 7])).any(0)
        paths = join(self._paths[first], self._paths[second], may_stack, generator)
        longer = join(paths, self._paths[third], torch.zeros(count, dtype=torch.bool), generator)
        paths = torch.where(coin(generator, 1 / 3, count, 1, 1), longer, paths)
        return render(paths, generator, strength), torch.full((count,), NO_CLASS)

    def _turned_images(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        """Return digits that lie on their side, without those that look like a digit then."""
        weights = self._weights * torch.isin(self._labels, torch.tensor(_NO_DIGIT_ON_ITS_SIDE))
        chosen = _sample(weights, count, generator)
        sign = torch.where(coin(generator, 0.5, count, 1), 1.0, -1.0)
        paths = self._paths[chosen]
        turned = torch.stack((paths[..., 1] * sign, -paths[..., 0] * sign), 2)
        return render(turned, generator, strength), torch.full((count,), NO_CLASS)

    def _teacher(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """Return the teachers' probabilities; for non-digits the uniform distribution."""
        if not self._teachers:
            return None
        probabilities = teacher_probabilities(self._teachers, images, self._recipe.teacher_temperature)
        return torch.where(labels[:, None] == NO_CLASS, 1 / probabilities.shape[1], probabilities)


def _paths(drawings: Sequence[Sequence[NDArray[np.float64]]]) -> Tensor:
    """Return drawings as (N, POINTS, 2) float32 paths."""
    if not drawings:
        return torch.empty(0, POINTS, 2)
    return torch.tensor(np.stack([to_path(strokes) for strokes in drawings]))


def _nondigits(paths: Tensor, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
    chosen = torch.randint(len(paths), (count,), generator=generator)
    return render(paths[chosen], generator, strength), torch.full((count,), NO_CLASS)


def _count(rows: Tensor, begin: int, end: int) -> int:
    return int(((rows >= begin) & (rows < end)).sum())


def _sample(weights: Tensor, count: int, generator: Generator) -> Tensor:
    """Draw row numbers in proportion to their weights, with replacement; (count,) int64."""
    if not count:  # multinomial does not accept 0
        return torch.empty(0, dtype=torch.int64)
    return torch.multinomial(weights, count, replacement=True, generator=generator)
