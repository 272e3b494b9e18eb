"""How weights move from step to step: the optimizer, its learning rate, and the average of weights."""

import math

import torch
from torch import nn

from training.recipes.recipe import Recipe


def make_optimizer(recipe: Recipe, net: nn.Module) -> torch.optim.Optimizer:
    """Make a recipe's optimizer; weight decay is for matrices, not for biases and the like.

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

    With `drops` it is constant, but for a drop after some epochs. With `one-cycle` it rises in a
    straight line over the share of the run that is for warming up, and falls along half a cosine to
    a hundredth.

    Args:
        step: From 0, counted over the whole run.
        steps_per_epoch: Steps of one epoch.
        recipe: Gives the schedule and its numbers.

    Source of one-cycle: Smith, Topin, "Super-convergence", 2018, with the cosine of Loshchilov,
    Hutter, "SGDR", 2017.
    """
    if recipe.schedule == "one-cycle":
        return recipe.learning_rate * _one_cycle(step, recipe.epochs * steps_per_epoch, recipe.warm_up)
    drops = sum(step >= epoch * steps_per_epoch for epoch in recipe.drop_epochs)
    return recipe.learning_rate * recipe.drop_factor**drops


def _one_cycle(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the highest rate."""
    rising = warm_up * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    cosine = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
    return 0.01 + 0.99 * cosine


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step use this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move an average of a network's weights, and of its running statistics, towards their present."""
    for mean, now in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)  # BatchNorm's count of batches
