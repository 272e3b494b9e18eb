"""One recipe, from data to a published folder.

The lesson's figures come from fits on the lesson's split; the network that is published is fitted
on the official training images alone.
"""

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from service.core.manifest import Making, Measurement
from service.core.report import Confusion, write_confusions
from training import export, origin
from training.checkpoint import Checkpoint, Notice
from training.confusion import confusion
from training.data import Examples, Split
from training.fit import THREADS, Fitted, Network, Score, Watch, evaluate, fit, reproducible
from training.net import Net
from training.publish import Product, Published, publish
from training.recipes import Recipe
from training.report import HISTORY_FILE, LESSON_FILE
from training.versions import Versions

_NAMED_AT_ONCE = 4096
"""Images; bounds memory and changes no result."""

CODE = ("augment.py", "convolutional.py", "fit.py", "net.py", "optimizer.py", "versions.py")
"""The files that decide a fit's bits; a checkpoint of other code is not gone on from."""

Role = Literal["published", "lesson"]


@dataclass(frozen=True)
class Terms:
    """What a run works with.

    Attributes:
        official: What the published network learns from, and is measured on once.
        lesson: What the fits for the lesson's figures use.
        models: The folder to publish in.
        runs: The folder for checkpoints.
        watch: Asked for a watch before each fit, with a title and the number of epochs.
        notice: Told what a person should know.
    """

    official: Split
    lesson: Split
    models: Path
    runs: Path
    watch: Callable[[str, int], Watch]
    notice: Notice


def run(recipe: Recipe, terms: Terms, fresh: bool = False) -> Published:
    """Make a recipe's fits, and publish the one on the official split.

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
    turns: list[tuple[Role, Split, tuple[int, ...]]] = [
        ("lesson", terms.lesson, recipe.lesson_seeds),
        ("published", terms.official, (recipe.seed,)),
    ]
    own = [_checkpoint(recipe, terms, role, split, seed) for role, split, seeds in turns for seed in seeds]
    if fresh:
        teachers = [
            _checkpoint(recipe.teacher, terms, role, split, recipe.teacher.seed)
            for role, split, _ in turns
            if recipe.teacher
        ]
        for checkpoint in (*own, *teachers):
            checkpoint.remove()
    fits = [fitted for turn in turns for fitted in _fits(recipe, terms, *turn)]
    published = publish(_product(recipe, terms, fits, commit), terms.models)
    for checkpoint in own:
        checkpoint.remove()
    return published


def _fits(recipe: Recipe, terms: Terms, role: Role, split: Split, seeds: tuple[int, ...]) -> list[Fitted]:
    """Fit a recipe once a seed; a teacher learns first, from the same images as its learners."""
    if not seeds:
        return []
    teacher = None
    if recipe.teacher:
        (taught,) = _fits(recipe.teacher, terms, role, split, (recipe.teacher.seed,))
        teacher = taught.net
    versions = Versions(recipe, split.train, teacher)  # shared, since making them takes long
    return [
        fit(
            recipe,
            seed,
            len(split.classes),
            split.train,
            split.valid,
            watch=terms.watch(f"{recipe.name}: {role} fit, seed {seed}", recipe.epochs),
            checkpoint=_checkpoint(recipe, terms, role, split, seed),
            versions=versions,
        )
        for seed in seeds
    ]


def _checkpoint(recipe: Recipe, terms: Terms, role: Role, split: Split, seed: int) -> Checkpoint:
    facts = [recipe.digest, str(seed), split.train.sha256, str(torch.__version__), str(THREADS)]
    facts += [split.valid.sha256] if split.valid else []
    facts += [(Path(__file__).parent / name).read_text() for name in CODE]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return Checkpoint(terms.runs / recipe.name / f"{role}-{seed}.pt", key, terms.notice)


def _product(recipe: Recipe, terms: Terms, fits: Sequence[Fitted], commit: str) -> Product:
    *lessons, published = fits
    assert isinstance(published.net, Net)  # convolutional ones only teach
    with reproducible():
        metrics = [
            *_measurements("published", [published], terms.official, (recipe.seed,)),
            *_measurements("lesson", lessons, terms.lesson, recipe.lesson_seeds),
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
        model=export.to_onnx(published.net, terms.official.train.pixels.shape[1:]),
        splits=(terms.official, terms.lesson),
        making=making,
        metrics=tuple(metrics),
        report={
            HISTORY_FILE: _history(recipe, lessons, published),
            LESSON_FILE: write_confusions(_confusions(terms.lesson, lessons, recipe.lesson_seeds)),
        },
    )


def _measurements(
    role: Role, fits: Sequence[Fitted], split: Split, seeds: tuple[int, ...]
) -> list[Measurement]:
    scores: Mapping[str, list[Score]] = {
        name: [evaluate(fitted.net, part) for fitted in fits] for name, part in split.parts.items()
    }
    return [
        Measurement(
            fit=role,
            data=split.data_set,
            split=name,
            examples=found[0].examples,
            seeds=seeds,
            accuracy=statistics.fmean(score.accuracy for score in found),
            spread=statistics.stdev(score.accuracy for score in found) if len(found) > 1 else None,
            loss=statistics.fmean(score.loss for score in found),
        )
        for name, found in scores.items()
    ]


def _confusions(split: Split, fits: Sequence[Fitted], seeds: tuple[int, ...]) -> tuple[Confusion, ...]:
    """Count what the fits for the lesson's figures take for what, since they are not kept."""
    if not fits:
        return ()
    return tuple(
        confusion("lesson", split, name, [_named(fitted.net, part) for fitted in fits], seeds)
        for name, part in split.parts.items()
    )


def _named(net: Network, examples: Examples) -> NDArray[np.int64]:
    """Return the classes that a network names, (N,)."""
    with torch.inference_mode():
        pieces = torch.split(torch.tensor(examples.pixels), _NAMED_AT_ONCE)
        return torch.cat([net(piece).argmax(1) for piece in pieces]).numpy()


def _history(recipe: Recipe, lessons: Sequence[Fitted], published: Fitted) -> bytes:
    entries = [
        {"fit": role, "seed": seed, "epochs": [asdict(epoch) for epoch in fitted.history]}
        for role, seed, fitted in (
            ("published", recipe.seed, published),
            *(("lesson", *pair) for pair in zip(recipe.lesson_seeds, lessons, strict=True)),
        )
    ]
    return (json.dumps({"fits": entries}, indent=2, allow_nan=False) + "\n").encode()
