"""The data sets by the names that recipes use, and the fit jobs of a recipe on each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.data import flowers17, ink, mnist, pen_digits, pen_letters
from training.data.download import ProgressCallback
from training.data.examples import Examples, Split
from training.data.ink import FIVE_DONORS, MORE_HANDS, InkData, InkSource
from training.data.pen_digits import UCI_DIGITS
from training.data.unipen import conversion, uci
from training.recipes.lesson import LESSON_SPLIT_SEED
from training.recipes.recipe import Recipe

Role = Literal["published", "lesson", "held-out"]

Notice = Callable[[str], None]
"""Called with a message for the user, one line."""


@dataclass(frozen=True)
class FitJob:
    """Fits of one recipe on one split, one per seed.

    Attributes:
        role: Purpose of the fits: `published` for the network that is published, `lesson` for comparison
            with the lesson's figures, `held-out` for figures on held-out writers.
        split: Training and evaluation data.
        seeds: Seed of each fit.
        held_out: Donors excluded from these fits.
        ink: Training data that is rendered anew in each epoch, in place of the split's train part; None if
            the train part is used.
        nondigits: By kind, (N, 28, 28) uint8: images of non-digits that these fits exclude.
        strokes: The examples of the split's train part as strokes, which a recipe can render anew in each
            epoch; None if they are not known.
    """

    role: Role
    split: Split
    seeds: tuple[int, ...]
    held_out: tuple[str, ...] = ()
    ink: InkData | None = None
    nondigits: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    strokes: Sequence[Sequence[NDArray[np.float64]]] | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set that recipes can name.

    Attributes:
        folder: Folder of its files, relative to the data folder.
        download: Downloads missing files into the data folder; returns their names.
        fit_jobs: Reads the data folder and returns the fit jobs of a recipe; the last one is the published
            one. Expensive intermediate data is cached in the third argument, a folder, with a notice.
        published_split: Reads the data folder and returns the split of the published network.
        unseen: Reads the data folder and returns, by name, evaluation data that published networks were not
            fitted on; empty if the fit jobs hold out data.
        summary: Reads the data folder and returns a summary, as lines of text.
    """

    folder: str
    download: Callable[[Path, ProgressCallback], list[str]]
    fit_jobs: Callable[[Path, Recipe, Path, Notice], tuple[FitJob, ...]]
    published_split: Callable[[Path], Split]
    unseen: Callable[[Path], Mapping[str, Examples]]
    summary: Callable[[Path], list[str]]


def _no_unseen(_: Path) -> Mapping[str, Examples]:
    return {}


def mnist_data_set(source: mnist.IdxSource) -> DataSet:
    """Return an MNIST-like data set: published on the official split, compared on the lesson's."""

    def fit_jobs(folder: Path, recipe: Recipe, _: Path, __: Notice) -> tuple[FitJob, ...]:
        official = mnist.official_split(folder, source)
        lesson = mnist.lesson_split(official, recipe.lesson_split_seed, source.lesson_counts)
        return (
            FitJob("lesson", lesson, recipe.lesson_seeds),
            FitJob("published", official, (recipe.seed,)),
        )

    def published_split(folder: Path) -> Split:
        return mnist.official_split(folder, source)

    def summary(folder: Path) -> list[str]:
        official = published_split(folder)
        lesson = mnist.lesson_split(official, LESSON_SPLIT_SEED, source.lesson_counts)
        return [*_summary(official), *_summary(lesson)]

    def unseen(folder: Path) -> Mapping[str, Examples]:
        return {"pen strokes": ink.render_digits(pen_digits.read(folder))}

    download = partial(mnist.download, source=source)
    return DataSet(source.folder, download, fit_jobs, published_split, unseen, summary)


def ink_data_set(source: InkSource) -> DataSet:
    """Return a data set of `ink`: one fit per group of held-out people, published with everyone."""

    def fit_jobs(folder: Path, recipe: Recipe, cache: Path, notice: Notice) -> tuple[FitJob, ...]:
        official, data = ink.read(folder, cache, notice, source)
        jobs = []
        for group in source.held_out:
            split, remaining = ink.held_out_split(data, group.donors, group.others)
            letters = data.select({*group.donors, *group.others}).letters
            nondigits = {ink.LETTERS: ink.render_letters(letters)} if letters else {}
            jobs.append(FitJob("held-out", split, (recipe.seed,), group.donors, remaining, nondigits))
        whole = ink.published_split(official, data.digits)
        return *jobs, FitJob("published", whole, (recipe.seed,), ink=data)

    def published_split(folder: Path) -> Split:
        return ink.published_split(mnist.official_split(folder), ink.read_digits(folder, source))

    def summary(folder: Path) -> list[str]:
        lines = [
            line for file in source.digits for line in pen_digits.summary(pen_digits.read(folder, file), file)
        ]
        return lines + (
            pen_letters.summary(pen_letters.read(folder, source.letters)) if source.letters else []
        )

    def download(folder: Path, progress: ProgressCallback) -> list[str]:
        made = conversion.download(folder, progress, letters=source.letters)
        return made + (uci.download(folder, progress) if UCI_DIGITS in source.digits else [])

    folder = pen_digits.PEN_DIGITS.folder
    return DataSet(folder, download, fit_jobs, published_split, _no_unseen, summary)


def flowers_data_set(source: flowers17.PhotographSource) -> DataSet:
    """Return a data set of photographs, whose only split is the lesson's.

    The published fit and the lesson's fit of the same seed are one fit, on the train part alone.
    """

    def fit_jobs(folder: Path, recipe: Recipe, _: Path, __: Notice) -> tuple[FitJob, ...]:
        split = published_split(folder)
        return (
            FitJob("lesson", split, recipe.lesson_seeds),
            FitJob("published", split, (recipe.seed,)),
        )

    def published_split(folder: Path) -> Split:
        return flowers17.lesson_split(folder, source)

    def summary(folder: Path) -> list[str]:
        split = published_split(folder)
        return [split.data_set, *_summary(split)]

    download = partial(flowers17.download, source=source)
    return DataSet(source.folder, download, fit_jobs, published_split, _no_unseen, summary)


DATA_SETS: Mapping[str, DataSet] = {
    "mnist": mnist_data_set(mnist.MNIST),
    "flowers17": flowers_data_set(flowers17.FLOWERS17),
    "ink": ink_data_set(FIVE_DONORS),
    "ink-hands": ink_data_set(MORE_HANDS),
}
"""By the name in a recipe."""


def _summary(split: Split) -> list[str]:
    return [f"{f'{split.name} {name}':<16}{part.summary}" for name, part in split.parts.items()]
