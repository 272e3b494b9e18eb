from dataclasses import replace

import pytest

from training.errors import NotSearchable
from training.recipes.recipe import Recipe
from training.recipes.registry import RECIPES
from training.sweep.search_space import (
    MAX_LOST,
    Point,
    State,
    Trial,
    counted_trials,
    differences,
    one_at_a_time,
    point_of,
    recipe_at,
    search_space,
    with_epochs,
)

START = Point(1, 128, 0.0, 0.2)

VALUES = {"layers": (1, 2, 3), "dropout": (0.0, 0.5)}


def trial(number: int, point: Point | None, accuracy: float = 0.5, state: State = "done") -> Trial:
    return Trial(number, point, state, (accuracy,), 1.0)


def test_the_search_space_has_the_lessons_values_and_the_recipes() -> None:
    """
    2 to 5 layers, powers of two, dropout of a quarter or a half, the rate halved step by step.
    """
    assert search_space(RECIPES["mlp-128"]) == {
        "layers": (1, 2, 3, 4, 5),
        "width": (64, 128, 256, 512),
        "dropout": (0.0, 0.25, 0.5),
        "learning_rate": (0.2, 0.1, 0.05, 0.025, 0.0125),
    }


def test_a_point_changes_its_hyperparameters_only() -> None:
    """
    At its own point a recipe is unchanged.
    """
    base = RECIPES["mlp-512x4"]

    changed = recipe_at(base, Point(2, 256, 0.25, 0.005))

    assert differences(base, changed) == {"hidden": (256, 256), "dropout": 0.25, "learning_rate": 0.005}
    assert recipe_at(base, point_of(base)) == base


def test_different_widths_are_kept_while_another_value_is_varied(recipe: Recipe) -> None:
    """
    Another dropout does not make the widths equal.
    """
    base = replace(recipe, hidden=(64, 32))

    assert recipe_at(base, replace(point_of(base), dropout=0.5)).hidden == (64, 32)
    assert recipe_at(base, replace(point_of(base), layers=3)).hidden == (64, 64, 64)


@pytest.mark.parametrize(("epochs", "drops"), [(15, (10,)), (30, (20,)), (6, (4,)), (5, (3,)), (1, ())])
def test_the_rate_drops_in_proportion_to_the_epochs(epochs: int, drops: tuple[int, ...]) -> None:
    """
    After two thirds of fifteen epochs, so after two thirds of any number.
    """
    assert with_epochs(RECIPES["mlp-128"], epochs).drop_epochs == drops


@pytest.mark.parametrize(("name", "why"), [("softmax", "has no such layers"), ("mlp-128-2", "has a teacher")])
def test_a_recipe_without_a_search_space_is_refused(name: str, why: str) -> None:
    """
    The message has the recipe and the reason.
    """
    with pytest.raises(NotSearchable, match=f"{name} {why}"):
        with_epochs(RECIPES[name], 3)


def test_of_two_trials_of_one_point_the_first_counts() -> None:
    """
    No point counts twice; lost, interrupted and surplus trials do not count.
    """
    other = replace(START, layers=2)
    trials = [
        trial(3, other, state="running"),
        trial(0, START, state="lost"),
        trial(4, other),
        trial(1, START),
        trial(2, START),
        trial(5, None, state="running"),
        trial(6, replace(START, layers=3), state="interrupted"),
        trial(7, replace(START, layers=4), state="surplus"),
    ]

    assert [each.number for each in counted_trials(trials, None)] == [1, 3, 5]
    assert [each.number for each in counted_trials(trials, 2)] == [1, 3]


def test_the_search_starts_at_the_recipe() -> None:
    """
    Its result is the reference.
    """
    found = one_at_a_time([], START, VALUES)

    assert (found.stages, found.missing) == ((), (START,))


def test_each_stage_starts_at_the_best_point() -> None:
    """
    Two layers were best, so dropout is varied with two layers; of equal points the current one is kept.
    """
    two, three = replace(START, layers=2), replace(START, layers=3)
    trials = [trial(0, START, 0.5), trial(1, two, 0.7), trial(2, three, 0.6)]

    second = one_at_a_time(trials, START, VALUES)
    end = one_at_a_time([*trials, trial(3, replace(two, dropout=0.5), 0.7)], START, VALUES)

    assert [step.name for step in second.stages] == ["layers", "dropout"]
    assert second.missing == (replace(two, dropout=0.5),)
    assert (end.missing, end.best) == ((), two)


def test_a_stage_waits_for_all_its_trials() -> None:
    """
    The next stage does not start while an alternative is running.
    """
    trials = [trial(0, START), trial(1, replace(START, layers=2), state="running")]

    found = one_at_a_time(trials, START, VALUES)

    assert found.missing == (replace(START, layers=2), replace(START, layers=3))


@pytest.mark.parametrize("losses", [MAX_LOST - 1, MAX_LOST])
def test_a_point_that_loses_workers_is_given_up(losses: int) -> None:
    """
    A network that is too large for every machine does not block the study; a diverged point is not the
    best.
    """
    two, three = replace(START, layers=2), replace(START, layers=3)
    trials = [trial(0, START), trial(1, two, 0.9, "diverged")]
    trials += [trial(2 + each, three, state="lost") for each in range(losses)]

    found = one_at_a_time(trials, START, VALUES)

    assert (three in found.missing) == (losses < MAX_LOST)
    assert found.best == START
