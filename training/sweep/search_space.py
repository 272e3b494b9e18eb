"""The lesson's tuning rules: what may be varied, in which order, and what trials say about it.

Running trials is `sweep`'s work; keeping them is `study`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from training.errors import NotSearchable
from training.recipes.recipe import Recipe

LAYERS = (2, 3, 4, 5)
WIDTHS = (64, 128, 256, 512)
"""Powers of two; 512 is the lesson's widest, and as long a wait as a sweep should be."""

DROPOUTS = (0.25, 0.5)
HALVINGS = 4
"""How often the learning rate is halved at most."""

LIVES = 3
"""So many workers may be lost with one and the same trial; then it is left alone."""

State = Literal["running", "done", "stopped", "diverged", "interrupted", "lost", "surplus"]
"""`stopped`: hopeless, before its last epoch; `lost`: its worker fell silent; `surplus`: another worker
had begun the same, or the last one that was wanted, a moment earlier."""


@dataclass(frozen=True)
class Point:
    """One choice of what may be varied; every hidden layer has the same width."""

    layers: int
    width: int
    dropout: float
    learning_rate: float


Space = Mapping[str, tuple[Any, ...]]
"""By the name of what is varied, in the order in which it is: the values it may take."""


@dataclass(frozen=True)
class Trial:
    """One point that was tried, or is being tried.

    Attributes:
        number: From 0, in the order of the study.
        point: What is tried; None in the first moments.
        state: How far it came.
        curve: Valid accuracy after each epoch.
        seconds: Wall-clock time of its epochs; 0 before its end.
    """

    number: int
    point: Point | None
    state: State
    curve: tuple[float, ...]
    seconds: float

    @property
    def accuracy(self) -> float | None:
        """Valid accuracy of the whole trial; None where it did not come to its last epoch."""
        return self.curve[-1] if self.state == "done" else None


@dataclass(frozen=True)
class Step:
    """One thing that is varied while the others stay as they are.

    Attributes:
        name: Of what is varied.
        start: The best point before.
        alternatives: Those that differ from it in this one thing.
    """

    name: str
    start: Point
    alternatives: tuple[Point, ...]


@dataclass(frozen=True)
class Walk:
    """How far one thing at a time came.

    Attributes:
        steps: Those that are done and, as the last, the one under way.
        best: The best point of the steps that are done.
        missing: Points that have to be tried before it can go on; empty at the end.
    """

    steps: tuple[Step, ...]
    best: Point
    missing: tuple[Point, ...]


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """Return a recipe with fewer or more epochs, its drops of the learning rate in proportion.

    Raises:
        NotSearchable: The recipe has nothing that a sweep could vary.
        ValueError: Epochs are below 1.
    """
    if recipe.network != "dense" or not recipe.hidden:
        raise NotSearchable(recipe.name, "has no such layers")
    if recipe.teacher:
        raise NotSearchable(recipe.name, "has a teacher")
    if recipe.drawn:
        raise NotSearchable(recipe.name, "draws its images anew")
    drops = {max(1, round(drop * epochs / recipe.epochs)) for drop in recipe.drop_epochs}
    return replace(recipe, epochs=epochs, drop_epochs=tuple(sorted(drop for drop in drops if drop < epochs)))


def origin(recipe: Recipe) -> Point:
    """Return the point that a recipe itself is."""
    return Point(len(recipe.hidden), recipe.hidden[0], recipe.dropout, recipe.learning_rate)


def space(recipe: Recipe) -> Space:
    """Return the values to try: those of the lesson's rules, and the recipe's own."""
    own = origin(recipe)
    rates = tuple(own.learning_rate / 2**halvings for halvings in range(HALVINGS + 1))
    return {
        "layers": tuple(sorted({*LAYERS, own.layers})),
        "width": tuple(sorted({*WIDTHS, own.width})),
        "dropout": tuple(sorted({*DROPOUTS, own.dropout})),
        "learning_rate": rates,
    }


def recipe_at(recipe: Recipe, point: Point) -> Recipe:
    """Return the recipe with a point's numbers in place of its own."""
    own = origin(recipe)
    same = (point.layers, point.width) == (own.layers, own.width)
    return replace(
        recipe,
        hidden=recipe.hidden if same else (point.width,) * point.layers,
        dropout=point.dropout,
        learning_rate=point.learning_rate,
    )


def replaced(base: Recipe, recipe: Recipe) -> dict[str, object]:
    """Return what `dataclasses.replace` needs to make a recipe from another."""
    return {
        name: getattr(recipe, name) for name in asdict(recipe) if getattr(recipe, name) != getattr(base, name)
    }


def counted(trials: Sequence[Trial], limit: int | None) -> list[Trial]:
    """Return the trials that count: alive or at their end, of each point the first, up to a limit.

    Two workers may begin the same at the same moment; the trial with the lower number is the one.

    Args:
        trials: In any order.
        limit: How many are wanted; None for all.
    """
    first: dict[object, Trial] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.state in ("running", "done", "stopped", "diverged"):
            first.setdefault(trial.point or trial.number, trial)
    return list(first.values())[:limit]


def lost_points(trials: Sequence[Trial]) -> dict[Point, int]:
    """Return the points whose workers were lost, each with how often, the earliest first."""
    losses: dict[Point, int] = {}
    for trial in trials:
        if trial.state == "lost" and trial.point:
            losses[trial.point] = losses.get(trial.point, 0) + 1
    return losses


def walk(trials: Sequence[Trial], start: Point, values: Space) -> Walk:
    """Vary one thing after another, each time going on from the best.

    Args:
        trials: All of the study.
        start: What to begin with.
        values: To try, by the name of what is varied.
    """
    found = {point: None for point, losses in lost_points(trials).items() if losses >= LIVES} | {
        trial.point: trial.accuracy
        for trial in counted(trials, None)
        if trial.point and trial.state != "running"
    }
    if start not in found:
        return Walk((), start, (start,))
    best, steps = start, []
    for name, choices in values.items():
        others = (value for value in choices if value != getattr(best, name))
        alternatives = tuple(replace(best, **{name: value}) for value in others)
        steps.append(Step(name, best, alternatives))
        if missing := tuple(point for point in alternatives if point not in found):
            return Walk(tuple(steps), best, missing)
        best = max((best, *alternatives), key=lambda point: found[point] or 0.0)  # of equals the first
    return Walk(tuple(steps), best, ())
