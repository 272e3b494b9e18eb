"""The data sets by the names that recipes call them, and which fits a recipe makes on each.

Reading one is the work of the file that bears its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from training.data import flowers17 as flowers
from training.data import ink, mnist
from training.data import pen_digits as strokes
from training.data.download import Progress
from training.data.examples import Examples, Split
from training.data.ink import Ink
from training.recipes.lesson import LESSON_SPLIT_SEED
from training.recipes.recipe import Recipe

Role = Literal["published", "lesson", "held-out"]


Notice = Callable[[str], None]
"""Takes a line for the person at the terminal."""


@dataclass(frozen=True)
class Turn:
    """Fits of one recipe on one split.

    Attributes:
        role: What they are for: `published` for the network that is published, `lesson` for the
            lesson's figures alone, `held-out` for figures on people whom no fit has met.
        split: What they learn from, and are measured on.
        seeds: One fit a seed.
        held_out: Donors whom these fits have not met.
        ink: What is drawn anew in each epoch, in place of the split's train part; None for the others.
    """

    role: Role
    split: Split
    seeds: tuple[int, ...]
    held_out: tuple[str, ...] = ()
    ink: Ink | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set as the trainer uses it.

    Attributes:
        folder: Its own, below the data folder.
        fetch: Fetches into the data folder what is not there; returns the names of those files.
        turns: Reads the data folder and says which fits a recipe makes; the published one is the last.
            What takes long to make it keeps in a scratch folder, and says so.
        measured: Reads the data folder and returns what published networks learned from and are
            measured on: the split of the last turn.
        unseen: Reads the data folder and returns by name what such networks have met nothing of and are
            to read all the same; nothing where turns hold it out.
        describe: Reads the data folder and says in lines what is there.
    """

    folder: str
    fetch: Callable[[Path, Progress], list[str]]
    turns: Callable[[Path, Recipe, Path, Notice], tuple[Turn, ...]]
    measured: Callable[[Path], Split]
    unseen: Callable[[Path], Mapping[str, Examples]]
    describe: Callable[[Path], list[str]]


def _nothing(_: Path) -> Mapping[str, Examples]:
    return {}


def digits(source: mnist.Source) -> DataSet:
    """Return a data set of digits: published on its official split, for the figures on the lesson's."""

    def turns(folder: Path, recipe: Recipe, _: Path, __: Notice) -> tuple[Turn, ...]:
        official = mnist.official_split(folder, source)
        lesson = mnist.lesson_split(official, recipe.lesson_split_seed, source.lesson_counts)
        return (
            Turn("lesson", lesson, recipe.lesson_seeds),
            Turn("published", official, (recipe.seed,)),
        )

    def measured(folder: Path) -> Split:
        return mnist.official_split(folder, source)

    def describe(folder: Path) -> list[str]:
        official = measured(folder)
        lesson = mnist.lesson_split(official, LESSON_SPLIT_SEED, source.lesson_counts)
        return [*_described(official), *_described(lesson)]

    def unseen(folder: Path) -> Mapping[str, Examples]:
        return {"pen strokes": ink.drawn(strokes.read(folder))}

    return DataSet(source.folder, partial(mnist.fetch, source=source), turns, measured, unseen, describe)


def drawings() -> DataSet:
    """Return what `ink` learns from: measured with groups of donors held out, published with all."""

    def turns(folder: Path, recipe: Recipe, scratch: Path, notice: Notice) -> tuple[Turn, ...]:
        official, everything = ink.read(folder, scratch, notice)
        turns = []
        for donors in ink.HELD_OUT:
            split, kept = ink.without(everything, donors)
            turns.append(Turn("held-out", split, (recipe.seed,), donors, kept))
        whole = ink.published(official, everything.digits)
        return *turns, Turn("published", whole, (recipe.seed,), ink=everything)

    def measured(folder: Path) -> Split:
        return ink.published(mnist.official_split(folder), strokes.read(folder))

    def describe(folder: Path) -> list[str]:
        return strokes.describe(strokes.read(folder))

    return DataSet(strokes.INK.folder, strokes.fetch, turns, measured, _nothing, describe)


def photographs(source: flowers.Source) -> DataSet:
    """Return a data set of photographs: published on the lesson's split, since it has no other.

    Published and lesson's fits of one seed are one fit; it learns from the train part alone.
    """

    def turns(folder: Path, recipe: Recipe, _: Path, __: Notice) -> tuple[Turn, ...]:
        split = flowers.lesson_split(folder, source)
        return (
            Turn("lesson", split, recipe.lesson_seeds),
            Turn("published", split, (recipe.seed,)),
        )

    def measured(folder: Path) -> Split:
        return flowers.lesson_split(folder, source)

    def describe(folder: Path) -> list[str]:
        split = measured(folder)
        return [split.data_set, *_described(split)]

    return DataSet(source.folder, partial(flowers.fetch, source=source), turns, measured, _nothing, describe)


DATA_SETS: Mapping[str, DataSet] = {
    "mnist": digits(mnist.MNIST),
    "flowers17": photographs(flowers.FLOWERS17),
    "ink": drawings(),
}
"""By the name that a recipe gives as its data."""


def _described(split: Split) -> list[str]:
    return [f"{f'{split.name} {name}':<16}{part.described}" for name, part in split.parts.items()]
