import json
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from training.recipes import toml_file
from training.recipes.lesson import LESSON_FIGURES
from training.recipes.recipe import Recipe
from training.recipes.registry import FOLDER, RECIPES

MNIST_TEACHER = toml_file.read(FOLDER / "mnist-teacher.toml")


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"epochs": 0}, "epochs should be at least 1; got 0"),
        ({"batch_size": -1}, "batch_size should be at least 1; got -1"),
        ({"seed": -1}, "seed should be at least 0; got -1"),
        ({"learning_rate": 0.0}, "learning_rate should be above 0; got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate should be above 0; got nan"),
        ({"drop_factor": float("inf")}, "drop_factor should be above 0; got inf"),
        ({"input_spread": 0.0}, "input_spread should be above 0; got 0.0"),
        ({"strength": -1.0}, "strength should be at least 0; got -1.0"),
        ({"dropout": 1.0}, "dropout should be from 0 to below 1; got 1.0"),
        ({"versions": 2}, "versions should be 0 without an augmentation; got 2"),
        (
            {"teacher": MNIST_TEACHER, "augmentation": "digits", "versions": 1, "mixup": 0.2},
            "mixup should be 0 with a teacher; got 0.2",
        ),
        ({"nondigits": 5, "mixup": 0.2}, "mixup should be 0 with nondigits; got 0.2"),
        ({"label_smoothing": 1.0}, "label_smoothing should be from 0 to below 1; got 1.0"),
        ({"drawn": -1}, "drawn should be at least 0; got -1"),
        ({"teacher": MNIST_TEACHER}, "versions should be at least 1 with a teacher; got 0"),
    ],
)
def test_a_value_out_of_range_is_refused(recipe: Recipe, numbers: dict[str, Any], complaint: str) -> None:
    """
    The message names the field.
    """
    with pytest.raises(ValueError, match=re.escape(complaint)):
        replace(recipe, **numbers)


def test_a_digest_changes_with_every_field(recipe: Recipe) -> None:
    """
    Different recipes have different digests.
    """
    others = [replace(recipe, seed=12), replace(recipe, hidden=(5,)), replace(recipe, epochs=5)]

    assert len({recipe.digest, *(other.digest for other in others)}) == 4


def test_every_recipe_of_the_lesson_has_its_figures() -> None:
    """
    Recipes are registered by name; the lesson's accuracies are those of existing models.
    """
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert {recipe.model_name for recipe in RECIPES.values()} == {*LESSON_FIGURES, "ink"}
    assert set(LESSON_FIGURES) == {"softmax", "mlp-128", "mlp-512x4", "flowers17"} <= set(RECIPES)


def test_defaults_are_omitted(recipe: Recipe) -> None:
    """
    An unused field changes neither digest nor manifest; a teacher is included with its fields.
    """
    taught = replace(recipe, augmentation="digits", versions=1, teacher=recipe, dropout=0.5)

    assert list(recipe.to_dict())[-1] == "lesson_split_seed"
    assert taught.to_dict() == recipe.to_dict() | {
        "dropout": 0.5,
        "augmentation": "digits",
        "versions": 1,
        "teacher": recipe.to_dict(),
    }
    assert replace(taught, teacher=replace(recipe, epochs=5)).digest != taught.digest


@pytest.mark.parametrize("name", ["softmax", "mlp-128"])
def test_the_first_recipes_equal_their_manifests(name: str) -> None:
    """
    New fields do not change them.
    """
    manifest = json.loads((REPOSITORY / "models" / name / "1" / "manifest.json").read_text("utf-8"))

    assert RECIPES[name].to_dict() == manifest["recipe"]


def test_a_second_recipe_has_the_architecture_of_the_first() -> None:
    """
    All versions of a model have one architecture.
    """
    for recipe in RECIPES.values():
        assert recipe.hidden == RECIPES[recipe.model_name].hidden


def test_held_out_fits_have_a_length_of_their_own(recipe: Recipe) -> None:
    """
    Without one, theirs is the published fit's. Neither fit's digest depends on the other's length.
    """
    shorter = replace(recipe, epochs=9, held_out_epochs=3)

    assert shorter.of_held_out_fits() == replace(recipe, epochs=3)
    assert shorter.of_published_fit() == replace(recipe, epochs=9)
    assert recipe.of_held_out_fits() == recipe.of_published_fit() == recipe
