"""Fits with every optional feature of a recipe: averages, augmentation, schedules, precision, networks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.data.examples import Examples, Split
from training.fitting.checkpoint import Checkpoint
from training.fitting.loop import Epoch, FitCallbacks, fit
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
    """Two classes of 8 x 8 images; augmentation needs squares."""
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
def test_a_fit_resumes_with_the_same_bits_with_any_feature(
    recipe: Recipe, square: Split, callbacks: FitCallbacks, tmp_path: Path, numbers: dict[str, Any]
) -> None:
    """
    An interrupted fit and an uninterrupted one end with the same weights.
    """
    full = replace(recipe, **numbers)
    checkpoint = Checkpoint(tmp_path / "toy.pt", "key", pytest.fail)

    whole = fit(full, 1, 2, square.train, None, callbacks=callbacks)
    with pytest.raises(KeyboardInterrupt):
        fit(
            full,
            1,
            2,
            square.train,
            None,
            callbacks=replace(callbacks, on_epoch=_stop),
            checkpoint=checkpoint,
        )
    resumed = fit(full, 1, 2, square.train, None, callbacks=callbacks, checkpoint=checkpoint)

    assert whole.history == resumed.history
    state, other = whole.net.state_dict(), resumed.net.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("numbers", [_EVERYTHING, _CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_a_fit_learns_with_any_feature(
    recipe: Recipe, square: Split, callbacks: FitCallbacks, numbers: dict[str, Any]
) -> None:
    """
    After some epochs the valid accuracy is above 90 %.
    """
    longer = replace(recipe, **numbers | {"learning_rate": 0.1, "epochs": 15})

    history = fit(longer, 1, 2, square.train, square.valid, callbacks=callbacks).history

    assert history[-1].valid_accuracy is not None
    assert history[-1].valid_accuracy > 0.9


def test_a_fit_draws_nothing_from_the_global_generator(
    recipe: Recipe, square: Split, callbacks: FitCallbacks
) -> None:
    """
    Dropout, augmentation and initialisation use the fit's generator.
    """
    torch.manual_seed(1)
    before = torch.get_rng_state()

    fit(replace(recipe, **_EVERYTHING), 1, 2, square.train, None, callbacks=callbacks)
    fit(replace(recipe, **_CONVOLUTIONAL), 1, 2, square.train, None, callbacks=callbacks)

    assert torch.equal(before, torch.get_rng_state())


def test_photographs_are_learned_in_colour(recipe: Recipe, callbacks: FitCallbacks) -> None:
    """
    Dense and convolutional networks separate classes that differ by colour alone, with mixup and
    augmentation.
    """
    generator = np.random.default_rng(4)
    pixels = generator.integers(0, 100, (40, 8, 8, 3), np.uint8)
    labels = np.arange(40) % 2
    pixels[np.arange(40), :, :, labels * 2] += 100
    examples = Examples(pixels, labels)
    numbers = _EVERYTHING | {"augmentation": "photographs", "mixup": 0.3, "learning_rate": 0.02, "epochs": 10}

    for network in ({}, _CONVOLUTIONAL):
        longer = replace(recipe, **numbers | network)
        history = fit(longer, 1, 2, examples, examples, callbacks=callbacks).history
        assert history[-1].valid_accuracy is not None
        assert history[-1].valid_accuracy > 0.9
