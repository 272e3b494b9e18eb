import re
from dataclasses import replace
from typing import Any

import pytest

from training.recipes import LESSON_FIGURES, RECIPES, Recipe


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"epochs": 0}, "epochs should be at least 1; got 0"),
        ({"batch_size": -1}, "batch_size should be at least 1; got -1"),
        ({"seed": -1}, "seed should be at least 0; got -1"),
        ({"learning_rate": 0.0}, "learning_rate should be above 0; got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate should be above 0; got nan"),
        ({"drop_factor": float("inf")}, "drop_factor should be above 0; got inf"),
    ],
)
def test_a_number_out_of_its_range_is_refused(
    recipe: Recipe, numbers: dict[str, Any], complaint: str
) -> None:
    """
    A recipe that cannot be followed cannot be written.
    """
    with pytest.raises(ValueError, match=re.escape(complaint)):
        replace(recipe, **numbers)


def test_a_digest_changes_with_every_number(recipe: Recipe) -> None:
    """
    Two recipes that differ in anything have different digests.
    """
    others = [replace(recipe, seed=12), replace(recipe, hidden=(5,)), replace(recipe, epochs=5)]

    assert len({recipe.digest, *(other.digest for other in others)}) == 4


def test_every_recipe_of_the_lesson_has_its_figures() -> None:
    """
    Recipes carry their own names, and what the lesson reports stands beside them.
    """
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert set(LESSON_FIGURES) == {"softmax", "mlp-128"} <= set(RECIPES)
