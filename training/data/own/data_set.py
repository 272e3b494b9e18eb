"""Own data as a data set: read, preprocessed, divided, with what there is to say about it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.data_sets import FitJob
from training.data.examples import Split
from training.data.own import detection, division, preparation, splitting
from training.data.own.division import Part
from training.data.own.preparation import Preprocessing, Progress, Target
from training.data.own.records import TEST, TRAIN, VALID, Found, LeftOut, RawPart, Strokes
from training.data.own.splitting import Grouping
from training.errors import DataRefused

FOLDS = 5
"""Fits that calibrate a network without a valid part."""

MAX_CLASSES = 256

SPLIT_NAME = "own"

FOLD = "without-fold"
"""Beginning of the name of a fold's split."""

HELD_OUT = "held-out"
"""Name of the evaluation part of a fold."""


@dataclass(frozen=True)
class Options:
    """What a user can say about the data.

    Attributes:
        labels: Name of each integer label; empty for those in the data.
        ignore_case: Whether labels that differ in case only are one class, in lower case.
        preprocessing: None to choose it by the data.
        hold_out: Donors and writers of the test part; empty to choose at random.
        seed: Seed of the division.
    """

    labels: tuple[str, ...] = ()
    ignore_case: bool = False
    preprocessing: Preprocessing | None = None
    hold_out: tuple[str, ...] = ()
    seed: int = 1


@dataclass(frozen=True)
class OwnData:
    """A data set of a person's own.

    Attributes:
        form: Its form, in words.
        target: Its preprocessing.
        split: Training, validation and test part; no validation part if there are few examples.
        grouping: Groups of the training examples, for folds.
        strokes: Training examples as strokes, in the order of the training part; None if they are pictures.
        donors: Donors or writers of the test part; empty if it was not divided by them.
        remarks: What a person should know, one sentence each.
        left_out: Examples that are not used.
    """

    form: str
    target: Target
    split: Split
    grouping: Grouping
    strokes: tuple[Strokes, ...] | None
    donors: tuple[str, ...]
    remarks: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    def fit_jobs(self, seed: int) -> tuple[FitJob, ...]:
        """Return the fit jobs of a recipe on this data; the last one is the published one.

        Args:
            seed: Seed of the fits.
        """
        published = FitJob("published", self.split, (seed,), strokes=self.strokes)
        if self.split.valid is not None:
            return (published,)
        numbers = splitting.folds(self.split.train.labels, self.grouping, FOLDS, seed)
        return *(self._fold(numbers == fold, fold, seed) for fold in np.unique(numbers)), published

    def _fold(self, is_held_out: NDArray[np.bool_], fold: int, seed: int) -> FitJob:
        train = self.split.train
        rest, held_out = np.flatnonzero(~is_held_out), train.select(np.flatnonzero(is_held_out))
        split = dataclasses.replace(
            self.split,
            name=f"{FOLD}-{fold + 1}",
            train=train.select(rest),
            valid=held_out,
            test=None,
            extra={HELD_OUT: held_out},
        )
        strokes = None if self.strokes is None else tuple(self.strokes[row] for row in rest)
        return FitJob("held-out", split, (seed,), strokes=strokes)


def read(path: Path, options: Options, progress: Callable[[str], Progress]) -> OwnData:
    """Read and divide a data set.

    Args:
        path: A file or a folder.
        options: What the user says about it.
        progress: Returns a progress callback for a part, given its name.

    Raises:
        DataRefused: There is nothing of a known form, or too little of it.
        ExtraMissing: A package is missing.
    """
    found = detection.read(path, options.labels)
    target = preparation.choose(list(found.parts.values()), options.preprocessing)
    texts = {name: _texts(part, options) for name, part in found.parts.items()}
    classes = _classes(path.name, texts)
    left_out = list(found.left_out)
    parts = {
        name: _prepared(part, texts[name], classes, target, progress(name or "examples"), left_out)
        for name, part in found.parts.items()
    }
    remarks = list(found.remarks)
    divided = division.divide(parts, options.hold_out, options.seed, remarks, path.name)
    train = division.without_copies(divided, remarks)
    return _data_set(path.name, found, target, classes, {**divided, TRAIN: train}, remarks, left_out)


def _data_set(
    name: str,
    found: Found,
    target: Target,
    classes: tuple[str, ...],
    parts: Mapping[str, Part],
    remarks: list[str],
    left_out: list[LeftOut],
) -> OwnData:
    train, valid, test = parts[TRAIN], parts.get(VALID), parts[TEST]
    missing = [classes[label] for label in np.setdiff1d(np.arange(len(classes)), train.labels)]
    if missing:
        raise DataRefused(name, "of a training example of each class", f"none of {', '.join(missing[:10])}")
    content = train.raw.content
    is_strokes = not isinstance(content, np.ndarray) and isinstance(content[0], tuple)
    strokes = tuple(content[row] for row in train.rows) if is_strokes else None
    donors, extra = division.by_donor(test)
    split = Split(
        SPLIT_NAME, name, classes, train.examples, valid.examples if valid else None, test.examples, extra
    )
    return OwnData(
        found.form,
        target,
        split,
        division.grouping_of(train),
        strokes,
        donors,
        tuple(remarks),
        tuple(left_out),
    )


def _texts(part: RawPart, options: Options) -> list[str]:
    return [label.lower() for label in part.labels] if options.ignore_case else list(part.labels)


def _classes(name: str, texts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the class names: integers in their order, texts in alphabetical order."""
    found = {label for labels in texts.values() for label in labels}
    if not 2 <= len(found) <= MAX_CLASSES:
        got = f"{len(found):,}: {', '.join(sorted(found)[:5])}" if found else "none"
        raise DataRefused(name, f"of 2 to {MAX_CLASSES:,} classes", got)
    if all(label.isdecimal() for label in found):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))


def _prepared(
    raw: RawPart,
    texts: Sequence[str],
    classes: tuple[str, ...],
    target: Target,
    progress: Progress,
    left_out: list[LeftOut],
) -> Part:
    prepared = preparation.prepare(raw, target, progress)
    left_out += prepared.left_out
    index = {label: number for number, label in enumerate(classes)}
    labels = np.array([index[texts[row]] for row in prepared.kept], np.int64)
    return Part(prepared.pixels, labels, raw, prepared.kept)
