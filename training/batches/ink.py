"""What `ink` learns from: MNIST, pen strokes drawn anew, prepared canvases, and drawings of no digit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from training.batches.augmented import answer
from training.batches.source import NONE, Batch
from training.data.ink import InkData
from training.recipes.recipe import Recipe
from training.synthesis.augmentations import augment_digits, degrade, vary_stroke_width
from training.synthesis.handwriting import add_variants, render, to_path

_CALM_AFTER = 0.8
"""Share of a run after which everything is varied less, so that it ends on what will be asked about."""

_CALM = 0.6
"""What all strengths are multiplied by then."""

_PREPARED = 0.45
"""Strength for images that were varied as canvases already."""

_THICKENED, _WORN = 0.3, 0.4
"""Shares of the MNIST images, and of all images."""


@dataclass(frozen=True)
class _Rows:
    """Where the kinds of an epoch's rows begin: MNIST, drawn, canvases, non-digits, in this order."""

    drawn: int
    canvases: int
    nondigits: int
    end: int


class Drawings:
    """A `Material` whose rows, but for MNIST's, are drawn by lot each time they are met.

    Donors weigh by the root of how much they wrote, so that one who gave half of all digits does not
    make half of an epoch.
    """

    def __init__(self, recipe: Recipe, ink: InkData, teachers: Sequence[nn.Module] = ()) -> None:
        """Lay everything out; nothing is varied yet.

        Args:
            recipe: Says how many of each kind there are in an epoch, and how strongly to vary them.
            ink: What there is to learn from.
            teachers: In evaluation mode; asked about every batch, their answers averaged.
        """
        self._recipe = recipe
        self._teachers = teachers
        self._mnist = torch.tensor(ink.mnist.pixels)
        self._mnist_labels = torch.tensor(ink.mnist.labels)
        self._trails = torch.tensor(np.stack([to_path(digit.strokes) for digit in ink.digits]))
        self._labels = torch.tensor([digit.label for digit in ink.digits])
        given = [digit.donor for digit in ink.digits]
        counts = {donor: given.count(donor) for donor in set(given)}
        self._weights = torch.tensor([counts[donor] ** -0.5 for donor in given])
        self._canvases = torch.tensor(ink.canvases.pixels)
        self._canvas_digits = torch.tensor(ink.canvas_digits)
        self._nondigits = torch.tensor(np.stack([to_path(strokes) for strokes in ink.nondigits]))
        drawn = len(self._mnist)
        canvases = drawn + recipe.drawn
        nondigits = canvases + recipe.canvases
        self._rows = _Rows(drawn, canvases, nondigits, nondigits + recipe.nondigits)

    def __len__(self) -> int:
        return self._rows.end

    @torch.no_grad()
    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the images of these rows as an epoch meets them; see `Material`."""
        calm = _CALM if epoch > _CALM_AFTER * self._recipe.epochs else 1.0
        strength = calm * self._recipe.strength
        parts = [
            self._of_mnist(rows[rows < self._rows.drawn], generator, strength),
            self._drawn(self._count(rows, self._rows.drawn, self._rows.canvases), generator, strength),
            self._on_canvas(
                self._count(rows, self._rows.canvases, self._rows.nondigits), generator, strength
            ),
            self._of_no_digit(self._count(rows, self._rows.nondigits, self._rows.end), generator, strength),
        ]
        images = degrade(torch.cat([images for images, _ in parts]), generator, _WORN)
        labels = torch.cat([labels for _, labels in parts])
        return Batch(images, labels, self._answers(images, labels))

    def _count(self, rows: Tensor, begin: int, end: int) -> int:
        return int(((rows >= begin) & (rows < end)).sum())

    def _of_mnist(self, rows: Tensor, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        images = augment_digits(self._mnist[rows], generator, strength)
        return vary_stroke_width(images, generator, _THICKENED), self._mnist_labels[rows]

    def _drawn(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        chosen = _lot(self._weights, count, generator)
        labels = self._labels[chosen]
        trails = add_variants(self._trails[chosen], labels, generator)
        return render(trails, generator, strength), labels

    def _on_canvas(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        chosen = _lot(self._weights[self._canvas_digits], count, generator)
        images = augment_digits(self._canvases[chosen], generator, _PREPARED * strength)
        return images, self._labels[self._canvas_digits[chosen]]

    def _of_no_digit(self, count: int, generator: Generator, strength: float) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(self._nondigits), (count,), generator=generator)
        return render(self._nondigits[chosen], generator, strength), torch.full((count,), NONE)

    def _answers(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """Return the teachers' probabilities; of no digit they are not asked, since that is known."""
        if not self._teachers:
            return None
        answers = answer(self._teachers, images, self._recipe.teacher_temperature)
        return torch.where(labels[:, None] == NONE, 1 / answers.shape[1], answers)


def _lot(weights: Tensor, count: int, generator: Generator) -> Tensor:
    """Draw rows by their weights, with replacement; (count,) int64."""
    if not count:  # multinomial refuses to draw none
        return torch.empty(0, dtype=torch.int64)
    return torch.multinomial(weights, count, replacement=True, generator=generator)
