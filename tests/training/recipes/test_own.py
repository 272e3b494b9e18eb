"""Recipes for own data: by its size and kind, or like another recipe."""

from dataclasses import replace

import pytest

from training.recipes.own import OwnDataFacts, like, recommended
from training.recipes.registry import RECIPES

LETTERS = OwnDataFacts("letters", "Letters.", 30_000, (28, 28), True, True, 0.13, 0.3)
LEAVES = OwnDataFacts("leaves", "Leaves.", 24, (64, 64, 3), False, False, 0.6, 0.2)
CLOTHES = OwnDataFacts("clothes", "Clothes.", 54_000, (28, 28), False, False, 0.3, 0.35)
STAMPS = OwnDataFacts("stamps", "Stamps.", 900, (20, 30), False, False, 0.3, 0.35)


def test_more_examples_have_larger_layers_and_fewer_epochs() -> None:
    """
    A fit takes about the same number of steps.
    """
    recipes = [recommended(replace(LEAVES, examples=count)) for count in (24, 2_000, 10_000, 60_000)]

    sizes = [sum(recipe.hidden) for recipe in recipes]
    assert sizes == sorted(sizes)
    epochs = [recipe.epochs for recipe in recipes]
    assert epochs == sorted(epochs, reverse=True)


@pytest.mark.parametrize(
    ("facts", "augmentation"),
    [(LETTERS, "strokes"), (LEAVES, "photographs"), (CLOTHES, "digits"), (STAMPS, "")],
)
def test_the_augmentation_suits_the_kind_of_images(facts: OwnDataFacts, augmentation: str) -> None:
    """
    Strokes are rendered anew; images that are not square are not varied.
    """
    assert recommended(facts).augmentation == augmentation
    assert recommended(facts).data == "own"


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("facts", [LETTERS, LEAVES, CLOTHES, STAMPS], ids=lambda facts: facts.name)
def test_every_recipe_of_ours_can_be_used(name: str, facts: OwnDataFacts) -> None:
    """
    With its layers and optimizer, and nothing that exists for its own data alone.
    """
    recipe = like(RECIPES[name], facts)

    assert (recipe.hidden, recipe.optimizer) == (RECIPES[name].hidden, RECIPES[name].optimizer)
    assert (recipe.name, recipe.model_name, recipe.data) == (facts.name, facts.name, "own")
    assert not (recipe.drawn)
    assert not (recipe.canvases)
    assert not (recipe.nondigits)
    assert not (recipe.lesson_seeds)
    assert recipe.augmentation in ("", recommended(facts).augmentation)
