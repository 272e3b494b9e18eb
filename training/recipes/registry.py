"""The recipes that can be fitted and published, by name."""

from collections.abc import Mapping

from training.recipes.flowers17 import FLOWERS17_RECIPES
from training.recipes.ink import INK_RECIPES
from training.recipes.mnist import MNIST_RECIPES
from training.recipes.recipe import Recipe

_ORDER = (
    "softmax",
    "mlp-128",
    "mlp-512x4",
    "flowers17",
    "softmax-2",
    "mlp-128-2",
    "mlp-512x4-2",
    "flowers17-2",
    "ink",
)

_BY_NAME = {recipe.name: recipe for recipe in (*MNIST_RECIPES, *FLOWERS17_RECIPES, *INK_RECIPES)}

RECIPES: Mapping[str, Recipe] = {name: _BY_NAME[name] for name in _ORDER}
"""In the order in which `python -m training list` shows them: the lesson's recipes, then the others."""
