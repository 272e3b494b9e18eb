"""Construction of a recipe's network."""

import math

import torch
from torch import Generator

from training.model.cnn import CNN
from training.model.mlp import MLP
from training.recipes.recipe import Recipe

Network = MLP | CNN


def build(recipe: Recipe, image_shape: tuple[int, ...], classes: int, generator: Generator) -> Network:
    """Create a recipe's network with random weights.

    Args:
        recipe: Architecture, initialisation and dropout.
        image_shape: (H, W) or (H, W, colours).
        classes: Number of classes.
        generator: Source of randomness.
    """
    if recipe.network == "convolutional":
        return CNN(
            colours=math.prod(image_shape[2:]),
            channels=recipe.hidden,
            strides=recipe.strides,
            pooled=recipe.pooled,
            classes=classes,
            initialisation=recipe.initialisation,
            generator=generator,
            dropout=recipe.dropout,
        )
    net = MLP(
        math.prod(image_shape),
        recipe.hidden,
        classes,
        recipe.initialisation,
        generator,
        dropout=recipe.dropout,
        mean=recipe.input_mean,
        spread=recipe.input_spread,
        batch_norm=recipe.batch_norm,
    )
    with torch.no_grad():
        next(iter(net.dense.values())).weight.mul_(recipe.first_scale)
    return net
