"""Optimizer, learning rate schedule, and moving average of the weights."""

import math

import torch
from torch import nn

from training.recipes.recipe import Recipe


def make_optimizer(recipe: Recipe, net: nn.Module) -> torch.optim.Optimizer:
    """Create a recipe's optimizer; weight decay applies to matrices only, not to biases.

    Source of adamw: Loshchilov, Hutter, "Decoupled weight decay regularization", 2019.
    """
    weights = list(net.parameters())
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, recipe.learning_rate, fused=True)
    return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum)


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Return the learning rate of a step.

    Schedule `drops`: constant, with a drop after some epochs. Schedule `one-cycle`: a linear rise during the
    warm-up share of the run, then half a cosine down to a hundredth.

    Args:
        step: Number of the step from 0, over the whole run.
        steps_per_epoch: Steps of one epoch.
        recipe: The schedule and its parameters.

    Source of one-cycle: Smith, Topin, "Super-convergence", 2018, with the cosine of Loshchilov,
    Hutter, "SGDR", 2017.
    """
    if recipe.schedule == "one-cycle":
        return recipe.learning_rate * _one_cycle(step, recipe.epochs * steps_per_epoch, recipe.warm_up)
    drops = sum(step >= epoch * steps_per_epoch for epoch in recipe.drop_epochs)
    return recipe.learning_rate * recipe.drop_factor**drops


def _one_cycle(step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate relative to the highest one."""
    rising = warm_up * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    cosine = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
    return 0.01 + 0.99 * cosine


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Update the exponential moving average of a network's weights and running statistics."""
    for mean, current in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(current, 1 - decay)
        else:
            mean.copy_(current)  # BatchNorm's counter of batches
