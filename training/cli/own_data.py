"""What the console says about own data, and the recipe for it."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.cli import hyperparameters
from training.cli.console import print_line
from training.cli.progress_bars import ProgressBars
from training.data.own.data_set import FOLDS, Options, OwnData, read
from training.data.own.records import LeftOut
from training.recipes import own
from training.recipes.own import OwnDataFacts
from training.recipes.recipe import Recipe

_SHOWN = 5
"""Examples that were left out are listed up to this number; all are written to a file."""


def read_own(arguments: Namespace) -> OwnData:
    """Read the own data that the arguments of `fit` name, with a progress bar."""
    options = Options(
        labels=arguments.labels,
        ignore_case=arguments.ignore_case,
        preprocessing=arguments.preprocessing,
        hold_out=arguments.hold_out,
    )
    with ProgressBars() as bars:
        return read(
            arguments.own,
            options,
            lambda part: lambda done, total: bars.show(f"  reading {part}", done, total, "image"),
        )


def choose_recipe(arguments: Namespace, data: OwnData) -> Recipe:
    """Return the recipe of the arguments, or one by the number and kind of the examples.

    Raises:
        RecipeInvalid: A hyperparameter is out of range.
    """
    facts = _facts(arguments, data)
    base = own.like(arguments.recipe, facts) if arguments.recipe else own.recommended(facts)
    return hyperparameters.overridden(base, arguments)


def describe(data: OwnData, runs: Path, name: str) -> None:
    """Print what was found, and write what was left out to a file in the runs folder."""
    split = data.split
    print_line(f"{split.data_set}: {data.form}, {len(split.classes)} classes: {_listed(split.classes)}")
    shape = " x ".join(map(str, data.target.shape))
    meaning = "as drawings, cropped and centred" if data.target.preprocessing == "mnist" else "resized"
    print_line(f"  prepared {meaning}, {shape} ({data.target.reason})")
    for part, examples in split.parts.items():
        counts = np.bincount(examples.labels, minlength=len(split.classes))
        print_line(
            f"  {part:<14}{len(examples):>7,} examples, {counts.min():,} to {counts.max():,} per class"
        )
    for remark in data.remarks:
        print_line(f"  {remark}")
    if data.left_out:
        _write_left_out(data.left_out, runs / name)


def describe_plan(recipe: Recipe, data: OwnData, fits: int) -> None:
    """Print how many fits there are, and why."""
    layers = "-".join(map(str, (int(np.prod(data.target.shape)), *recipe.hidden, len(data.split.classes))))
    print_line(f"{recipe.name}: layers {layers}, {recipe.epochs} epochs, {recipe.optimizer}")
    if fits == 1:
        print_line("  1 fit; the valid part, which it does not learn from, chooses temperature and threshold")
    else:
        print_line(
            f"  {fits} fits: {FOLDS} without a fifth of the training examples each, which choose temperature "
            "and threshold on it, and one with all of them, which is kept"
        )


def _facts(arguments: Namespace, data: OwnData) -> OwnDataFacts:
    train = data.split.train
    sample = train.pixels[:: max(1, len(train) // 1000)] / 255
    return OwnDataFacts(
        name=arguments.model,
        description=f"{len(data.split.classes)} classes, learnt from {data.split.data_set}.",
        examples=len(train),
        shape=data.target.shape,
        is_drawn=data.target.preprocessing == "mnist",
        has_strokes=data.strokes is not None,
        mean=float(sample.mean()),
        spread=float(sample.std()),
    )


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes[:30]) + (", …" if len(classes) > 30 else "")


def _write_left_out(left_out: Sequence[LeftOut], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "left-out.txt"
    path.write_text("".join(f"{each}\n" for each in left_out), encoding="utf-8")
    print_line(f"  {len(left_out):,} examples are left out, listed in {path}:")
    for each in left_out[:_SHOWN]:
        print_line(f"    {each}")
