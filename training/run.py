"""One recipe, from data to a published folder.

Which fits a recipe makes, and which of them is published, its data set says.
"""

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from service.core.manifest import Making, Measurement
from training import export, origin
from training.checkpoint import Checkpoint, Notice
from training.data.examples import Split
from training.data.sets import Turn
from training.fit import THREADS, Fitted, Score, Watch, evaluate, fit, reproducible
from training.net import Net
from training.publish import Product, Published, publish
from training.recipes import Recipe
from training.versions import Versions

HISTORY_FILE = "history.json"

CODE = ("augment.py", "convolutional.py", "fit.py", "net.py", "optimizer.py", "versions.py")
"""The files that decide a fit's bits; a checkpoint of other code is not gone on from."""


@dataclass(frozen=True)
class Terms:
    """What a run works with.

    Attributes:
        turns: Which fits there are, and on what; the last makes the network that is published.
        models: The folder to publish in.
        runs: The folder for checkpoints.
        watch: Asked for a watch before each fit, with a title and the number of epochs.
        notice: Told what a person should know.
    """

    turns: tuple[Turn, ...]
    models: Path
    runs: Path
    watch: Callable[[str, int], Watch]
    notice: Notice


def run(recipe: Recipe, terms: Terms, fresh: bool = False) -> Published:
    """Make a recipe's fits, and publish the last.

    Every fit keeps a checkpoint of its own, so that an interrupted run loses an epoch at most; when
    all is published the checkpoints are removed. A teacher's are kept, for the next recipe that has
    the same teacher.

    Args:
        recipe: Every number of the run.
        terms: Data, folders and watchers.
        fresh: Begin anew, whatever checkpoints there are.

    Returns:
        The published folder.

    Raises:
        TrainingError, ArtifactError: The network could not be published.
        OSError: A folder cannot be written.
    """
    commit = origin.commit()  # now, not after minutes in which files may change
    own = [_checkpoint(recipe, terms, turn.split, seed) for turn in terms.turns for seed in turn.seeds]
    if fresh:
        teachers = [
            _checkpoint(recipe.teacher, terms, turn.split, seed)
            for turn in terms.turns
            for seed in recipe.seeds_of_teachers
            if recipe.teacher
        ]
        for checkpoint in (*own, *teachers):
            checkpoint.remove()
    fits = [_fits(recipe, terms, turn) for turn in terms.turns]
    published = publish(_product(recipe, terms, fits, commit), terms.models)
    for checkpoint in own:
        checkpoint.remove()
    return published


def _fits(recipe: Recipe, terms: Terms, turn: Turn) -> list[Fitted]:
    """Fit a recipe once a seed; its teachers learn first, from the same images as their learners."""
    if not turn.seeds:
        return []
    teachers = []
    if recipe.teacher:
        teachers = _fits(recipe.teacher, terms, replace(turn, seeds=recipe.seeds_of_teachers))
    split = turn.split
    versions = Versions(
        recipe, split.train, [fitted.net for fitted in teachers]
    )  # shared, since making them takes long
    return [
        fit(
            recipe,
            seed,
            len(split.classes),
            split.train,
            split.valid,
            watch=terms.watch(f"{recipe.name}: {turn.role} fit, seed {seed}", recipe.epochs),
            checkpoint=_checkpoint(recipe, terms, split, seed),
            versions=versions,
        )
        for seed in turn.seeds
    ]


def _checkpoint(recipe: Recipe, terms: Terms, split: Split, seed: int) -> Checkpoint:
    """Return where a fit is kept: turns on one split with one seed are one fit, and made once."""
    facts = [recipe.digest, str(seed), split.train.sha256, str(torch.__version__), str(THREADS)]
    facts += [split.valid.sha256] if split.valid else []
    facts += [(Path(__file__).parent / name).read_text() for name in CODE]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return Checkpoint(terms.runs / recipe.name / f"{split.name}-{seed}.pt", key, terms.notice)


def _product(recipe: Recipe, terms: Terms, fits: Sequence[Sequence[Fitted]], commit: str) -> Product:
    published = fits[-1][-1]
    assert isinstance(published.net, Net)  # convolutional ones only teach
    official = terms.turns[-1].split
    newest_first = list(zip(terms.turns, fits, strict=True))[::-1]  # what is published comes first
    with reproducible():
        metrics = [
            measurement for turn, made in newest_first if made for measurement in _measurements(turn, made)
        ]
    making = Making(
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(published.seconds, 3),
        seed=recipe.seed,
        hardware=origin.processor(),
        threads=THREADS,
        commit=commit,
        libraries=origin.libraries(),
    )
    return Product(
        recipe=recipe,
        net=published.net,
        model=export.to_onnx(published.net, official.train.pixels.shape[1:]),
        splits=tuple({turn.split.name: turn.split for turn, _ in newest_first}.values()),
        making=making,
        metrics=tuple(metrics),
        report={HISTORY_FILE: _history(newest_first)},
    )


def _measurements(turn: Turn, fits: Sequence[Fitted]) -> list[Measurement]:
    return [
        _measurement(turn, name, [evaluate(fitted.net, part) for fitted in fits])
        for name, part in turn.split.parts.items()
    ]


def _measurement(turn: Turn, part: str, scores: Sequence[Score]) -> Measurement:
    accuracies = [score.accuracy for score in scores]
    return Measurement(
        fit=turn.role,
        data=turn.split.data_set,
        split=part,
        examples=scores[0].examples,
        seeds=turn.seeds,
        accuracy=statistics.fmean(accuracies),
        spread=statistics.stdev(accuracies) if len(scores) > 1 else None,
        loss=statistics.fmean(score.loss for score in scores),
    )


def _history(made: Sequence[tuple[Turn, Sequence[Fitted]]]) -> bytes:
    entries = [
        {"fit": turn.role, "seed": seed, "epochs": [asdict(epoch) for epoch in fitted.history]}
        for turn, fits in made
        for seed, fitted in zip(turn.seeds, fits, strict=True)
    ]
    return (json.dumps({"fits": entries}, indent=2, allow_nan=False) + "\n").encode()
