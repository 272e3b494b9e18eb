"""Search space of a sweep, and the lesson's tuning rule: vary one hyperparameter at a time.

Pure functions of recipes and trials; `strategies` chooses the next point, `study` stores trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from training.errors import NotSearchable
from training.recipes.recipe import Recipe

LAYERS = (2, 3, 4, 5)
WIDTHS = (64, 128, 256, 512)
"""Powers of two up to the lesson's widest layer."""

DROPOUTS = (0.25, 0.5)
HALVINGS = 4
"""Largest number of halvings of the learning rate."""

MAX_LOST = 3
"""Number of lost workers after which a point is not tried again."""

State = Literal["running", "done", "stopped", "diverged", "interrupted", "lost", "surplus"]
"""`stopped`: pruned before its last epoch. `lost`: its worker stopped sending heartbeats. `surplus`: another
worker had started the same point, or the last wanted trial, a moment before."""


@dataclass(frozen=True)
class Point:
    """A point of the search space; all hidden layers have the same width."""

    layers: int
    width: int
    dropout: float
    learning_rate: float


Space = Mapping[str, tuple[Any, ...]]
"""Values of each hyperparameter, in the order in which they are varied."""


@dataclass(frozen=True)
class Trial:
    """A finished or running trial.

    Attributes:
        number: From 0, in the order of the study.
        point: The point tried; None until it is chosen.
        state: State of the trial.
        curve: Valid accuracy after each epoch.
        seconds: Wall-clock time of its epochs; 0 before the end.
    """

    number: int
    point: Point | None
    state: State
    curve: tuple[float, ...]
    seconds: float

    @property
    def accuracy(self) -> float | None:
        """Valid accuracy after the last epoch; None if the trial did not finish."""
        return self.curve[-1] if self.state == "done" else None


@dataclass(frozen=True)
class Stage:
    """Variation of one hyperparameter, with the others fixed.

    Attributes:
        name: The hyperparameter.
        start: Best point of the stages before.
        alternatives: Points that differ from it in this hyperparameter.
    """

    name: str
    start: Point
    alternatives: tuple[Point, ...]


@dataclass(frozen=True)
class SearchProgress:
    """Progress of the one-at-a-time search.

    Attributes:
        stages: Finished stages, and the current one.
        best: Best point of the finished stages.
        missing: Points of the current stage without a result; empty at the end.
    """

    stages: tuple[Stage, ...]
    best: Point
    missing: tuple[Point, ...]


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return a recipe with another number of epochs, and its learning rate drops in proportion.

    Raises:
        NotSearchable: The recipe has no hyperparameter that a sweep could vary.
        ValueError: `epochs` is below 1.
    """
    if recipe.network != "dense" or not recipe.hidden:
        raise NotSearchable(recipe.name, "has no such layers")
    if recipe.teacher:
        raise NotSearchable(recipe.name, "has a teacher")
    if recipe.drawn:
        raise NotSearchable(recipe.name, "renders its images anew")
    drops = {max(1, round(drop * epochs / recipe.epochs)) for drop in recipe.drop_epochs}
    return replace(recipe, epochs=epochs, drop_epochs=tuple(sorted(drop for drop in drops if drop < epochs)))


def point_of(recipe: Recipe) -> Point:
    """Return the point of a recipe."""
    return Point(len(recipe.hidden), recipe.hidden[0], recipe.dropout, recipe.learning_rate)


def search_space(recipe: Recipe) -> Space:
    """Return the search space: the values of the lesson's rules, and the recipe's own."""
    own = point_of(recipe)
    rates = tuple(own.learning_rate / 2**halvings for halvings in range(HALVINGS + 1))
    return {
        "layers": tuple(sorted({*LAYERS, own.layers})),
        "width": tuple(sorted({*WIDTHS, own.width})),
        "dropout": tuple(sorted({*DROPOUTS, own.dropout})),
        "learning_rate": rates,
    }


def recipe_at(recipe: Recipe, point: Point) -> Recipe:
    """Return the recipe with the hyperparameters of a point."""
    own = point_of(recipe)
    is_same = (point.layers, point.width) == (own.layers, own.width)
    return replace(
        recipe,
        hidden=recipe.hidden if is_same else (point.width,) * point.layers,
        dropout=point.dropout,
        learning_rate=point.learning_rate,
    )


def differences(base: Recipe, recipe: Recipe) -> dict[str, object]:
    """Return the fields in which a recipe differs from another, as arguments of `dataclasses.replace`."""
    return {
        name: getattr(recipe, name) for name in asdict(recipe) if getattr(recipe, name) != getattr(base, name)
    }


def counted_trials(trials: Sequence[Trial], limit: int | None) -> list[Trial]:
    """Return the trials that count: running or finished, the first of each point, up to a limit.

    If two workers start the same point at the same moment, the trial with the lower number counts.

    Args:
        trials: In any order.
        limit: Number of wanted trials; None for no limit.
    """
    first: dict[object, Trial] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.state in ("running", "done", "stopped", "diverged"):
            first.setdefault(trial.point or trial.number, trial)
    return list(first.values())[:limit]


def lost_points(trials: Sequence[Trial]) -> dict[Point, int]:
    """Return the points whose workers were lost, with the number of lost workers, earliest first."""
    losses: dict[Point, int] = {}
    for trial in trials:
        if trial.state == "lost" and trial.point:
            losses[trial.point] = losses.get(trial.point, 0) + 1
    return losses


def one_at_a_time(trials: Sequence[Trial], start: Point, values: Space) -> SearchProgress:
    """Return the progress of the search that varies one hyperparameter after another, from the best point.

    Args:
        trials: All trials of the study.
        start: First point.
        values: Search space.
    """
    found = {point: None for point, losses in lost_points(trials).items() if losses >= MAX_LOST} | {
        trial.point: trial.accuracy
        for trial in counted_trials(trials, None)
        if trial.point and trial.state != "running"
    }
    if start not in found:
        return SearchProgress((), start, (start,))
    best, stages = start, []
    for name, choices in values.items():
        others = (value for value in choices if value != getattr(best, name))
        alternatives = tuple(replace(best, **{name: value}) for value in others)
        stages.append(Stage(name, best, alternatives))
        if missing := tuple(point for point in alternatives if point not in found):
            return SearchProgress(tuple(stages), best, missing)
        best = max((best, *alternatives), key=lambda point: found[point] or 0.0)  # the first of equals
    return SearchProgress(tuple(stages), best, ())
