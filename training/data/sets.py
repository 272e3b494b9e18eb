"""The data sets by the names that recipes call them, and which fits a recipe makes on each.

Reading one is the work of the file that bears its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from training.data import flowers, mnist
from training.data.examples import Split
from training.data.fetching import Progress
from training.recipes import Recipe

Role = Literal["published", "lesson"]


@dataclass(frozen=True)
class Turn:
    """Fits of one recipe on one split.

    Attributes:
        role: What they are for: `published` for the network that is published, `lesson` for the
            lesson's figures alone.
        split: What they learn from, and are measured on.
        seeds: One fit a seed.
    """

    role: Role
    split: Split
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class DataSet:
    """A data set as the trainer uses it.

    Attributes:
        folder: Its own, below the data folder.
        fetch: Fetches into the data folder what is not there; returns the names of those files.
        turns: Reads the data folder and says which fits a recipe makes; the published one is the last.
    """

    folder: str
    fetch: Callable[[Path, Progress], list[str]]
    turns: Callable[[Path, Recipe], tuple[Turn, ...]]


def digits(source: mnist.Source) -> DataSet:
    """Return a data set of digits: published on its official split, for the figures on the lesson's."""

    def turns(folder: Path, recipe: Recipe) -> tuple[Turn, ...]:
        official = mnist.official_split(folder, source)
        lesson = mnist.lesson_split(official, recipe.lesson_split_seed, source.lesson_counts)
        return (
            Turn("lesson", lesson, recipe.lesson_seeds),
            Turn("published", official, (recipe.seed,)),
        )

    return DataSet(source.folder, partial(mnist.fetch, source=source), turns)


def photographs(source: flowers.Source) -> DataSet:
    """Return a data set of photographs: published on the lesson's split, since it has no other.

    Published and lesson's fits of one seed are one fit; it learns from the train part alone.
    """

    def turns(folder: Path, recipe: Recipe) -> tuple[Turn, ...]:
        split = flowers.lesson_split(folder, source)
        return (
            Turn("lesson", split, recipe.lesson_seeds),
            Turn("published", split, (recipe.seed,)),
        )

    return DataSet(source.folder, partial(flowers.fetch, source=source), turns)


DATA_SETS: Mapping[str, DataSet] = {
    "mnist": digits(mnist.MNIST),
    "flowers17": photographs(flowers.FLOWERS17),
}
"""By the name that a recipe gives as its data."""
