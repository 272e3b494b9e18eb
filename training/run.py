"""One recipe, from data to a published folder.

Which fits a recipe makes, and which of them is published, its data set says.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from service.core.manifest import Making
from service.core.report import Confusion, write_confusions
from training.batches.augmented import Versions
from training.batches.ink import Drawings
from training.batches.source import Material
from training.data.data_sets import FitJob
from training.data.examples import Split
from training.errors import UnknownName
from training.evaluation.measurements import Fits, measure
from training.fitting.checkpoint import Checkpoint, Notice
from training.fitting.loop import THREADS, Fitted, Watch, fit, logits, reproducible
from training.model.mlp import Net
from training.publishing import onnx_float as export
from training.publishing import provenance as origin
from training.publishing.publish import Product, Published, publish
from training.recipes.recipe import Recipe
from training.report.build import HISTORY_FILE, LESSON_FILE
from training.report.confusion import confusion

FOLDS = "folds"
"""In a recipe's folder of runs: networks that have not met a donor, named after the donor."""

CODE = (
    "batches/augmented.py",
    "batches/ink.py",
    "batches/source.py",
    "data/ink.py",
    "fitting/loop.py",
    "fitting/optimizer.py",
    "model/cnn.py",
    "model/mlp.py",
    "synthesis/augmentations.py",
    "synthesis/canvases.py",
    "synthesis/handwriting.py",
    "synthesis/nondigit_glyphs.py",
    "synthesis/nondigits.py",
    "synthesis/polylines.py",
    "synthesis/randomness.py",
)
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

    turns: tuple[FitJob, ...]
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
    if fresh:
        _forget(recipe, terms, terms.turns)
    fits = [Fits(turn, _fits(recipe, terms, turn)) for turn in terms.turns]
    for made in fits:
        _keep_strangers(recipe, terms, made)
    published = publish(_product(recipe, terms, fits, commit), terms.models)
    for checkpoint in _own(recipe, terms, terms.turns):
        checkpoint.remove()
    return published


def fit_on(name: str, recipe: Recipe, terms: Terms, fresh: bool = False) -> None:
    """Make a recipe's fits on one split, and keep them for the run that publishes.

    Args:
        name: Of the split.
        recipe: As for `run`, as are the rest.
        terms: Data, folders and watchers.
        fresh: Begin these fits anew.

    Raises:
        UnknownName: The recipe makes no fits on a split of that name.
        TrainingError, OSError: As for `run`.
    """
    turns = [turn for turn in terms.turns if turn.split.name == name]
    if not turns:
        raise UnknownName("Split", name, list(dict.fromkeys(turn.split.name for turn in terms.turns)))
    if fresh:
        _forget(recipe, terms, turns)
    for turn in turns:
        _fits(recipe, terms, turn)


def strangers(recipe: Recipe, terms: Terms) -> list[Fits]:
    """Make the fits that hold donors out, and none else; they are kept, and found again.

    Args:
        recipe: As for `run`, as are the rest.
        terms: Data, folders and watchers.

    Raises:
        TrainingError, OSError: As for `run`.
    """
    return [Fits(turn, _fits(recipe, terms, turn)) for turn in terms.turns if turn.role == "held-out"]


def _own(recipe: Recipe, terms: Terms, turns: Sequence[FitJob]) -> list[Checkpoint]:
    return [_checkpoint(recipe, terms, turn.split, seed) for turn in turns for seed in turn.seeds]


def _forget(recipe: Recipe, terms: Terms, turns: Sequence[FitJob]) -> None:
    """Remove the checkpoints of fits and of their teachers'."""
    teachers = [
        _checkpoint(recipe.teacher, terms, turn.split, seed)
        for turn in turns
        for seed in recipe.seeds_of_teachers
        if recipe.teacher
    ]
    for checkpoint in (*_own(recipe, terms, turns), *teachers):
        checkpoint.remove()


def _fits(recipe: Recipe, terms: Terms, turn: FitJob) -> list[Fitted]:
    """Fit a recipe once a seed; its teachers learn first, from the same images as their learners."""
    if not turn.seeds:
        return []
    teachers = []
    if recipe.teacher:
        teachers = _fits(recipe.teacher, terms, replace(turn, seeds=recipe.seeds_of_teachers))
    split = turn.split
    nets = [fitted.net for fitted in teachers]
    material: Material  # shared, since making its parts takes long
    material = Drawings(recipe, turn.ink, nets) if turn.ink else Versions(recipe, split.train, nets)
    return [
        fit(
            recipe,
            seed,
            len(split.classes),
            split.train,
            split.valid,
            watch=terms.watch(f"{recipe.name}: {_title(turn)}, seed {seed}", recipe.epochs),
            checkpoint=_checkpoint(recipe, terms, split, seed),
            material=material,
        )
        for seed in turn.seeds
    ]


def _keep_strangers(recipe: Recipe, terms: Terms, fits: Fits) -> None:
    """Keep the networks that have not met some donors, a file a donor, for whoever measures on these."""
    for donor in fits.turn.held_out:
        net = fits.made[0].net
        assert isinstance(net, Net)
        path = terms.runs / recipe.name / FOLDS / f"{donor}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(export.to_onnx(net, fits.turn.split.train.pixels.shape[1:]))


def _title(turn: FitJob) -> str:
    return f"fit {turn.split.name}" if turn.role == "held-out" else f"{turn.role} fit"


def _checkpoint(recipe: Recipe, terms: Terms, split: Split, seed: int) -> Checkpoint:
    """Return where a fit is kept: turns on one split with one seed are one fit, and made once."""
    facts = [recipe.digest, str(seed), split.train.sha256, str(torch.__version__), str(THREADS)]
    facts += [split.valid.sha256] if split.valid else []
    facts += [(Path(__file__).parent / name).read_text() for name in CODE]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return Checkpoint(terms.runs / recipe.name / f"{split.name}-{seed}.pt", key, terms.notice)


def _product(recipe: Recipe, terms: Terms, run: Sequence[Fits], commit: str) -> Product:
    published = run[-1].made[-1]
    assert isinstance(published.net, Net)  # convolutional ones only teach
    official = terms.turns[-1].split
    with reproducible():
        metrics, temperature, certainty = measure(run[::-1])  # what is published comes first
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
        model=export.to_onnx(published.net, official.train.pixels.shape[1:], temperature),
        splits=tuple({fits.turn.split.name: fits.turn.split for fits in run[::-1] if fits.made}.values()),
        making=making,
        metrics=tuple(metrics),
        report={
            HISTORY_FILE: _history(run[::-1]),
            LESSON_FILE: write_confusions(_confusions(run[::-1])),
        },
        temperature=temperature,
        certainty=certainty,
    )


def _confusions(run: Sequence[Fits]) -> tuple[Confusion, ...]:
    """Count what the fits for the lesson's figures take for what, since they are not kept."""
    return tuple(
        confusion(
            "lesson",
            fits.turn.split,
            name,
            [logits(fitted.net, part.pixels).argmax(1) for fitted in fits.made],
            fits.turn.seeds,
        )
        for fits in run
        if fits.turn.role == "lesson" and fits.made
        for name, part in fits.turn.split.parts.items()
    )


def _history(run: Sequence[Fits]) -> bytes:
    entries = [
        {
            "fit": fits.turn.role,
            "data": fits.turn.split.name,
            "seed": seed,
            "epochs": [_rounded(asdict(epoch)) for epoch in fitted.history],
        }
        for fits in run
        for seed, fitted in zip(fits.turn.seeds, fits.made, strict=True)
    ]
    return (json.dumps({"fits": entries}, separators=(",", ":"), allow_nan=False) + "\n").encode()


def _rounded(epoch: dict[str, float | None]) -> dict[str, float | None]:
    """Keep six digits of each number: thousands of epochs stand in every clone of the repository."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in epoch.items()
    }
