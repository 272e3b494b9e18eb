"""What recipes do beyond plain descent: teachers, averages, versions, schedules, precision."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import precision
from training.batches.augmented import Versions
from training.data.examples import Examples, Split
from training.fitting.checkpoint import Checkpoint
from training.fitting.loop import Epoch, Watch, build, fit, mixed, objective
from training.recipes.recipe import Recipe

_EVERYTHING: dict[str, Any] = {
    "initialisation": "glorot-normal",
    "input_mean": 0.2,
    "input_spread": 0.3,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "one-cycle",
    "warm_up": 0.1,
    "dropout": 0.25,
    "average": 0.9,
    "augmentation": "digits",
    "strength": 0.5,
}

_CONVOLUTIONAL: dict[str, Any] = {
    "network": "convolutional",
    "initialisation": "he-normal",
    "hidden": (4, 4),
    "strides": (1, 2),
    "pooled": 2,
    "dropout": 0.1,
    "average": 0.9,
    "precision": "bfloat16",
}


@pytest.fixture
def square() -> Split:
    """Two kinds of images of 8 x 8: augmentation needs squares."""
    generator = np.random.default_rng(4)
    pixels = generator.integers(0, 256, (40, 8, 8), np.uint8)
    labels = np.arange(40) % 2
    pixels[labels == 1, :4] //= 4
    examples = Examples(pixels, labels)
    return Split("lesson", "made up", ("all", "below"), examples, examples, examples)


def _stop(epoch: Epoch) -> None:
    if epoch.number == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "numbers",
    [
        _EVERYTHING,
        _EVERYTHING | {"versions": 2},
        _EVERYTHING | {"precision": "bfloat16"},
        {"momentum": 0.9},
        _EVERYTHING | {"mixup": 0.3},
        _CONVOLUTIONAL,
    ],
    ids=["everything", "versions", "bfloat16", "momentum", "mixup", "convolutional"],
)
def test_a_fit_goes_on_with_the_same_bits_whatever_it_uses(
    recipe: Recipe, square: Split, watch: Watch, tmp_path: Path, numbers: dict[str, Any]
) -> None:
    """
    An interrupted fit and one in a single go end in the same weights.
    """
    full = replace(recipe, **numbers)
    checkpoint = Checkpoint(tmp_path / "toy.pt", "key", pytest.fail)

    whole = fit(full, 1, 2, square.train, None, watch=watch)
    with pytest.raises(KeyboardInterrupt):
        fit(full, 1, 2, square.train, None, watch=replace(watch, epoch=_stop), checkpoint=checkpoint)
    resumed = fit(full, 1, 2, square.train, None, watch=watch, checkpoint=checkpoint)

    assert whole.history == resumed.history
    state, other = whole.net.state_dict(), resumed.net.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("numbers", [_EVERYTHING, _CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_a_fit_learns_whatever_it_uses(
    recipe: Recipe, square: Split, watch: Watch, numbers: dict[str, Any]
) -> None:
    """
    After some epochs the two kinds of images are told apart.
    """
    longer = replace(recipe, **numbers | {"learning_rate": 0.1, "epochs": 15})

    history = fit(longer, 1, 2, square.train, square.valid, watch=watch).history

    assert history[-1].valid_accuracy is not None
    assert history[-1].valid_accuracy > 0.9


def test_a_fit_draws_nothing_from_the_global_generator(recipe: Recipe, square: Split, watch: Watch) -> None:
    """
    Dropout, augmentation and fresh weights come of the fit's own seed.
    """
    torch.manual_seed(1)
    before = torch.get_rng_state()

    fit(replace(recipe, **_EVERYTHING), 1, 2, square.train, None, watch=watch)
    fit(replace(recipe, **_CONVOLUTIONAL), 1, 2, square.train, None, watch=watch)

    assert torch.equal(before, torch.get_rng_state())


def test_versions_are_met_in_turn(recipe: Recipe, square: Split) -> None:
    """
    With two of them the third epoch meets the first again, with the teacher's answers to it.
    """
    two = replace(recipe, augmentation="digits", strength=1.0, versions=2)
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    versions = Versions(
        two, square.train, [build(recipe, (8, 8), 2, torch.Generator().manual_seed(9)).eval()]
    )
    rows = torch.tensor([3, 1, 2, 30])

    first, second, third = (versions.batch(epoch, rows, generator) for epoch in (1, 2, 3))

    assert first.answers is not None
    assert third.answers is not None
    assert torch.equal(first.images, third.images)
    assert torch.equal(first.answers, third.answers)
    assert not torch.equal(first.images, second.images)
    assert first.images.dtype == torch.uint8
    assert first.labels.tolist() == square.train.labels[rows].tolist()
    torch.testing.assert_close(first.answers.sum(1), torch.ones(4))
    assert torch.equal(state, generator.get_state())


def test_images_are_varied_anew_without_versions(recipe: Recipe, square: Split) -> None:
    """
    Two epochs meet different images; without an augmentation they meet the images themselves.
    """
    rows, generator = torch.arange(40), torch.Generator().manual_seed(1)
    varying = Versions(replace(recipe, augmentation="digits", strength=1.0), square.train)

    once, again = (varying.batch(epoch, rows, generator).images for epoch in (1, 2))
    plain = Versions(recipe, square.train).batch(1, rows, generator)

    assert not torch.equal(once, again)
    assert torch.equal(plain.images, torch.tensor(square.train.pixels))
    assert plain.answers is None


def test_a_teacher_that_is_agreed_with_asks_for_nothing(recipe: Recipe) -> None:
    """
    Where learner and teacher agree, the gradient is that of the labels' part alone.
    """
    taught = replace(recipe, teacher_share=0.75, teacher_temperature=3.0)
    logits = torch.tensor([[1.0, -2.0, 0.5]], requires_grad=True)
    labels = torch.tensor([1])

    # torch leaves `backward` untyped
    objective(logits, labels, (logits.detach() / 3).softmax(1), taught).backward()  # type: ignore[no-untyped-call]

    expected = 0.25 * (logits.detach().softmax(1) - torch.eye(3)[labels])
    assert logits.grad is not None
    few = precision.gamma(32)  # two softmaxes of three logits, and their mean
    torch.testing.assert_close(logits.grad, expected, atol=few, rtol=0)


def test_a_mixture_is_of_two_images_and_their_aims_alike() -> None:
    """
    Each keeps most of itself, and its aim says how much.
    """
    images = torch.eye(6).view(6, 2, 3) * 255  # image n is white at pixel n alone
    aims = torch.eye(6)

    blend, shares = mixed(images, aims, 0.4, torch.Generator().manual_seed(3))

    torch.testing.assert_close(blend.view(6, 6) / 255, shares)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert (shares.diagonal() >= 0.6).all()
    assert (shares.diagonal() < 1).any()


def test_photographs_are_learned_in_colour(recipe: Recipe, watch: Watch) -> None:
    """
    Dense and convolutional networks tell apart what differs by colour alone, mixed and varied.
    """
    generator = np.random.default_rng(4)
    pixels = generator.integers(0, 100, (40, 8, 8, 3), np.uint8)
    labels = np.arange(40) % 2
    pixels[np.arange(40), :, :, labels * 2] += 100
    examples = Examples(pixels, labels)
    numbers = _EVERYTHING | {"augmentation": "photographs", "mixup": 0.3, "learning_rate": 0.02, "epochs": 10}

    for network in ({}, _CONVOLUTIONAL):
        longer = replace(recipe, **numbers | network)
        history = fit(longer, 1, 2, examples, examples, watch=watch).history
        assert history[-1].valid_accuracy is not None
        assert history[-1].valid_accuracy > 0.9


def test_two_teachers_are_believed_alike(recipe: Recipe, square: Split) -> None:
    """
    What two of them answer together is the mean of what each answers alone.
    """
    stored = replace(recipe, augmentation="digits", strength=1.0, versions=1, teacher_temperature=2.0)
    teachers = [build(recipe, (8, 8), 2, torch.Generator().manual_seed(seed)).eval() for seed in (8, 9)]
    rows, generator = torch.arange(40), torch.Generator()

    first, second, both = (
        Versions(stored, square.train, some).batch(1, rows, generator).answers
        for some in (teachers[:1], teachers[1:], teachers)
    )

    assert first is not None
    assert second is not None
    assert both is not None
    assert not torch.allclose(first, second)
    torch.testing.assert_close(both, (first + second) / 2)
