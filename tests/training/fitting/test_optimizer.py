from dataclasses import replace

import pytest
import torch

from training.fitting.optimizer import learning_rate, make_optimizer, update_average
from training.model.mlp import MLP
from training.recipes.recipe import Recipe


def _net(seed: int) -> MLP:
    return MLP(3, (), 2, "glorot-normal", torch.Generator().manual_seed(seed))


def test_the_learning_rate_drops_after_the_named_epochs(recipe: Recipe) -> None:
    """
    10 steps per epoch, drops to a tenth after epochs 2 and 3, calculated by hand.
    """
    table = {0: 0.5, 1: 0.5, 19: 0.5, 20: 0.05, 29: 0.05, 30: 0.005, 39: 0.005}
    dropping = replace(recipe, learning_rate=0.5, drop_epochs=(2, 3), drop_factor=0.1)

    rates = {step: learning_rate(step, 10, dropping) for step in table}

    assert rates == pytest.approx(table)


def test_one_cycle_rises_and_falls(recipe: Recipe) -> None:
    """
    The rate rises during the warm-up, and ends near a hundredth of its maximum.
    """
    cycle = replace(recipe, schedule="one-cycle", warm_up=0.25, epochs=4)

    rates = [learning_rate(step, 10, cycle) for step in range(40)]

    assert rates[:11] == sorted(rates[:11])
    assert rates[10] == max(rates) == recipe.learning_rate
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * recipe.learning_rate, rel=0.3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_shrinks_matrices_and_leaves_biases(recipe: Recipe, optimizer: str) -> None:
    """
    Without a gradient, a step subtracts rate times decay from the matrix and nothing from the bias.
    """
    net = _net(1)
    torch.nn.init.ones_(net.dense["output"].bias)
    before = net.dense["output"].weight.detach().clone()
    decaying = replace(recipe, optimizer=optimizer, learning_rate=0.1, weight_decay=0.5)
    for weight in net.parameters():
        weight.grad = torch.zeros_like(weight)

    make_optimizer(decaying, net).step()

    torch.testing.assert_close(net.dense["output"].weight.detach(), 0.95 * before)
    assert torch.equal(net.dense["output"].bias.detach(), torch.ones(2))


def test_an_average_moves_by_its_decay() -> None:
    """
    One step at decay 0.9 moves it by a tenth.
    """
    average, now = _net(1), _net(2)
    expected = [0.9 * a + 0.1 * b for a, b in zip(average.parameters(), now.parameters(), strict=True)]

    update_average(average, now, 0.9)

    for weight, due in zip(average.parameters(), expected, strict=True):
        torch.testing.assert_close(weight, due)
