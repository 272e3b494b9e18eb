from dataclasses import replace

import numpy as np
import pytest
import torch

from training.batches.augmented import AugmentedBatches
from training.data.examples import Examples, Split
from training.model.build import build
from training.recipes.recipe import Recipe


@pytest.fixture
def square() -> Split:
    """Two classes of 8 x 8 images; augmentation needs squares."""
    generator = np.random.default_rng(4)
    pixels = generator.integers(0, 256, (40, 8, 8), np.uint8)
    labels = np.arange(40) % 2
    pixels[labels == 1, :4] //= 4
    examples = Examples(pixels, labels)
    return Split("lesson", "made up", ("all", "below"), examples, examples, examples)


def test_cached_augmentations_are_used_in_turn(recipe: Recipe, square: Split) -> None:
    """
    With two of them the third epoch uses the first again, with the same teacher probabilities.
    """
    two = replace(recipe, augmentation="digits", strength=1.0, versions=2)
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    versions = AugmentedBatches(
        two, square.train, [build(recipe, (8, 8), 2, torch.Generator().manual_seed(9)).eval()]
    )
    rows = torch.tensor([3, 1, 2, 30])

    first, second, third = (versions.batch(epoch, rows, generator) for epoch in (1, 2, 3))

    assert first.teacher is not None
    assert third.teacher is not None
    assert torch.equal(first.images, third.images)
    assert torch.equal(first.teacher, third.teacher)
    assert not torch.equal(first.images, second.images)
    assert first.images.dtype == torch.uint8
    assert first.labels.tolist() == square.train.labels[rows].tolist()
    torch.testing.assert_close(first.teacher.sum(1), torch.ones(4))
    assert torch.equal(state, generator.get_state())


def test_images_are_augmented_anew_without_a_cache(recipe: Recipe, square: Split) -> None:
    """
    Two epochs have different images; without an augmentation the images are unchanged.
    """
    rows, generator = torch.arange(40), torch.Generator().manual_seed(1)
    varying = AugmentedBatches(replace(recipe, augmentation="digits", strength=1.0), square.train)

    once, again = (varying.batch(epoch, rows, generator).images for epoch in (1, 2))
    plain = AugmentedBatches(recipe, square.train).batch(1, rows, generator)

    assert not torch.equal(once, again)
    assert torch.equal(plain.images, torch.tensor(square.train.pixels))
    assert plain.teacher is None


def test_probabilities_of_two_teachers_are_averaged(recipe: Recipe, square: Split) -> None:
    """
    The result of two teachers is the mean of their single results.
    """
    stored = replace(recipe, augmentation="digits", strength=1.0, versions=1, teacher_temperature=2.0)
    teachers = [build(recipe, (8, 8), 2, torch.Generator().manual_seed(seed)).eval() for seed in (8, 9)]
    rows, generator = torch.arange(40), torch.Generator()

    first, second, both = (
        AugmentedBatches(stored, square.train, some).batch(1, rows, generator).teacher
        for some in (teachers[:1], teachers[1:], teachers)
    )

    assert first is not None
    assert second is not None
    assert both is not None
    assert not torch.allclose(first, second)
    torch.testing.assert_close(both, (first + second) / 2)
