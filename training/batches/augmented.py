"""The images that a fit meets: as they are, varied anew, or in stored versions with teachers' answers.

To vary every image in every epoch and to ask a convolutional teacher about it costs ten times as much
as a step of a small dense network. So a recipe may name a number of versions: epoch by epoch a fit goes
through them in turn, and each is made when its turn first comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from training.batches.source import Batch
from training.data.examples import Examples
from training.recipes.recipe import Recipe
from training.synthesis.augmentations import AUGMENTATIONS

_MADE_AT_ONCE = 500
"""Images; bounds memory, and keeps what is worked on in the processor's cache."""


@dataclass(frozen=True)
class _Version:
    """All training images, varied once.

    Attributes:
        pixels: (N, ...) uint8.
        answers: (N, classes) float32, the teachers' mean probabilities; None where there is no teacher.
    """

    pixels: Tensor
    answers: Tensor | None


class Versions:
    """What there is to learn from under one recipe.

    Stored version k comes of a generator that is seeded with k alone: it is the same for every seed
    of a fit, and whether or not the fit was interrupted.
    """

    def __init__(self, recipe: Recipe, train: Examples, teachers: Sequence[nn.Module] = ()) -> None:
        """Promise versions; none is made yet.

        Args:
            recipe: Names augmentation, strength, number of versions and the teachers' temperature.
            train: The images.
            teachers: In evaluation mode; asked about stored versions only.
        """
        self._recipe = recipe
        self._pixels = torch.tensor(train.pixels)
        self._labels = torch.tensor(train.labels)
        self._teachers = teachers
        self._made: dict[int, _Version] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, epoch: int, rows: Tensor, generator: Generator) -> Batch:
        """Return the images of these rows as an epoch meets them; see `Material`.

        Stored versions do not move the generator.
        """
        labels = self._labels[rows]
        if self._recipe.versions:
            version = self._version((epoch - 1) % self._recipe.versions)
            answers = None if version.answers is None else version.answers[rows]
            return Batch(version.pixels[rows], labels, answers)
        pixels = self._pixels[rows]
        if self._recipe.augmentation:
            augment = AUGMENTATIONS[self._recipe.augmentation]
            pixels = augment(pixels, generator, self._recipe.strength)
        return Batch(pixels, labels)

    def _version(self, number: int) -> _Version:
        if number not in self._made:
            self._made[number] = self._make(torch.Generator().manual_seed(number))
        return self._made[number]

    @torch.no_grad()
    def _make(self, generator: Generator) -> _Version:
        augment = AUGMENTATIONS[self._recipe.augmentation]
        pixels, answers = [], []
        for piece in torch.split(self._pixels, _MADE_AT_ONCE):
            varied = augment(piece, generator, self._recipe.strength).round_().to(torch.uint8)
            pixels.append(varied)
            if self._teachers:
                answers.append(answer(self._teachers, varied, self._recipe.teacher_temperature))
        return _Version(torch.cat(pixels), torch.cat(answers) if answers else None)


def answer(teachers: Sequence[nn.Module], pixels: Tensor, temperature: float) -> Tensor:
    """Ask teachers about images.

    Args:
        teachers: In evaluation mode, at least one.
        pixels: (B, ...) 0 to 255, uint8 or float32.
        temperature: That softens their answers.

    Returns:
        (B, classes) float32, the mean of their probabilities.
    """
    with torch.autocast("cpu", torch.bfloat16):  # an answer needs no more digits, and is quicker
        logits = torch.stack([teacher(pixels) for teacher in teachers])
    return (logits.to(torch.float32) / temperature).softmax(2).mean(0)
