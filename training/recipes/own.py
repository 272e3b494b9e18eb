"""Recipes for a person's own data: by the number and kind of the examples, or like another recipe."""

from dataclasses import dataclass, replace
from typing import Any

from training.recipes.lesson import LESSON_SPLIT_SEED
from training.recipes.recipe import Recipe

DATA = "own"
"""`data` of a recipe for own data."""

_INK_ONLY = {
    "drawn": 0,
    "canvases": 0,
    "nondigits": 0,
    "styled": 0,
    "letters": 0,
    "joined": 0,
    "turned": 0,
    "held_out_epochs": 0,
}
"""Rows of an epoch that exist for the model `ink` alone."""

_SIZES = ((500, (64,)), (5_000, (128,)), (20_000, (256, 256)))
"""Up to so many examples, these hidden layers; more of each for more examples."""

_LARGEST = (512, 512)

_MANY = 2_000
"""From so many examples on, batches are larger and the moving average is longer."""

_STEPS = 7_000
"""Approximate steps of a fit on many examples: 15 epochs of MNIST in batches of 128."""

_STEPS_OF_FEW = 2_000

_OTHERS = 10
"""Pen strokes of classes for each drawing that shows no class."""


@dataclass(frozen=True)
class OwnDataFacts:
    """What a recipe depends on.

    Attributes:
        name: Name of the model.
        description: One sentence about the model.
        examples: Number of training examples.
        shape: Shape of an image.
        is_drawn: Whether they are drawings, prepared as the MNIST images.
        has_strokes: Whether they are pen strokes.
        mean: Mean of the pixels, 0 to 1.
        spread: Standard deviation of the pixels, 0 to 1.
    """

    name: str
    description: str
    examples: int
    shape: tuple[int, ...]
    is_drawn: bool
    has_strokes: bool
    mean: float
    spread: float


def recommended(facts: OwnDataFacts) -> Recipe:
    """Return a recipe for own data: larger layers for more examples, more epochs for fewer."""
    is_many = facts.examples >= _MANY
    batch_size, steps = (128, _STEPS) if is_many else (32, _STEPS_OF_FEW)
    steps_per_epoch = -(-facts.examples // batch_size)
    augmentation, strength = _augmentation(facts)
    return Recipe(
        name=facts.name,
        description=facts.description,
        hidden=next((hidden for most, hidden in _SIZES if facts.examples <= most), _LARGEST),
        initialisation="he-normal",
        batch_size=batch_size,
        epochs=min(max(round(steps / steps_per_epoch), 12), 200),
        learning_rate=0.002,
        drop_epochs=(),
        drop_factor=1.0,
        seed=1,
        lesson_seeds=(),
        lesson_split_seed=LESSON_SPLIT_SEED,
        data=DATA,
        input_mean=round(facts.mean, 2),
        input_spread=max(round(facts.spread, 2), 0.05),
        dropout=0.1 if facts.examples > _SIZES[-1][0] else 0.2,
        optimizer="adamw",
        weight_decay=0.02,
        schedule="one-cycle",
        warm_up=0.1,
        average=0.998 if is_many else 0.99,
        augmentation=augmentation,
        strength=strength,
        nondigits=facts.examples // _OTHERS if facts.has_strokes else 0,
    )


def like(recipe: Recipe, facts: OwnDataFacts) -> Recipe:
    """Return another recipe for own data; what exists for its own data alone is left out.

    Its teacher is fitted on the own data as well. Its augmentation is the recommended one if it is of
    another kind of images.
    """
    augmentation, strength = _augmentation(facts)
    is_augmented = bool(recipe.augmentation or recipe.drawn)
    changes: dict[str, Any] = {
        **_INK_ONLY,
        "name": facts.name,
        "description": facts.description,
        "model": "",
        "data": DATA,
    }
    if recipe.augmentation != augmentation and is_augmented:
        versions = recipe.versions if augmentation in ("digits", "photographs") else 0
        changes |= {"augmentation": augmentation, "strength": strength, "versions": versions}
        if recipe.teacher and not versions:
            changes |= {"teacher": None, "teacher_seeds": (), "teacher_share": 0.0}
    return replace(recipe, **changes, lesson_seeds=())


def _augmentation(facts: OwnDataFacts) -> tuple[str, float]:
    """Return name and strength of the augmentation of a kind of images; empty for none."""
    if facts.has_strokes:
        return "strokes", 1.0
    is_square = facts.shape[0] == facts.shape[1]
    if not is_square:
        return "", 0.0
    if len(facts.shape) == 3:
        return "photographs", 1.0
    return "digits", 1.0 if facts.is_drawn else 0.5
