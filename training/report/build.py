"""What a published network does on its data, as numbers.

Drawing them is the work of `pictures`; the file that they are written to is the service's contract.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.artifact import Artifact
from service.core.engine import Engine
from service.core.manifest import MODEL_FILE, Manifest, Measurement
from service.core.report import (
    Bin,
    Calibration,
    Confusion,
    Confusions,
    Curve,
    Extremes,
    LayerRow,
    Report,
    Seen,
)
from training.data.examples import Examples, Split
from training.errors import DataMismatch, RecordInvalid
from training.report.confusion import confusion

HISTORY_FILE = "history.json"
"""In `report/`: every epoch of every fit, as the run leaves it."""

LESSON_FILE = "lesson.json"
"""In `report/`: the confusion matrices of the fits for the lesson's figures, which are not kept."""

BINS = 15
"""Of the calibration error."""

_SHOWN = 10
"""Images of a class that are named as typical, and as troublesome."""

_AT_ONCE = 1000
"""Images in a batch; bounds memory."""


@dataclass(frozen=True)
class Answers:
    """What a network says of a part of a data set.

    Attributes:
        probabilities: (N, classes) float32.
        named: (N,) int64, the likeliest class.
        own: (N,) float32, the probability of the image's own class.
        odds: (N,) float64, the sum of exp(logit - own logit) over the other classes: it still tells
            images apart whose probability is rounded to 1 or to 0.
    """

    probabilities: NDArray[np.float32]
    named: NDArray[np.int64]
    own: NDArray[np.float32]
    odds: NDArray[np.float64]


def make(
    published: Artifact, split: Split, records: Mapping[str, bytes], lesson: Mapping[str, float]
) -> Report:
    """Measure a published network.

    Args:
        published: Its folder, in memory.
        split: The data that it was fitted and measured on.
        records: What its fits left in `report/`, by file name; may lack files.
        lesson: The lesson's own accuracies by part, to stand beside ours.

    Returns:
        The numbers, without pictures.

    Raises:
        DataMismatch: The network was fitted or measured on other data.
        RecordInvalid: A record is not as a run leaves it.
        ServiceError: The network does not load or cannot answer.
    """
    manifest = published.manifest
    _check_data(manifest, split)
    engine = Engine.load(published)
    answers = {part: ask(engine, examples) for part, examples in split.parts.items()}
    lessons = _lesson_matrices(manifest, records)
    return Report(
        model=manifest.name,
        version=manifest.version,
        sha256=manifest.sha256[MODEL_FILE],
        labels=manifest.labels,
        layers=tuple(
            LayerRow(
                name=layer.name,
                shape=(layer.inputs, layer.units),
                activation=layer.activation,
                parameters=layer.parameters,
            )
            for layer in manifest.layers
        ),
        parameters=manifest.parameters,
        accuracy=_accuracies(manifest, split, answers),
        lesson=dict(lesson),
        confusion=(
            *(
                confusion("published", split, part, [answers[part].named], [manifest.making.seed])
                for part in split.parts
            ),
            *lessons,
        ),
        calibration=tuple(
            _calibration(split, part, examples, answers[part]) for part, examples in split.parts.items()
        ),
        extremes=tuple(
            extremes(split, part, label, answers[part])
            for part in split.parts
            for label in range(len(split.classes))
        ),
        history=_history(manifest, records),
        notes=tuple(_notes(manifest, split, records)),
        pictures=(),
    )


def ask(engine: Engine, examples: Examples) -> Answers:
    """Return what a network says of examples; raises as `Engine.run` does."""
    scores = [
        engine.run(examples.pixels[start : start + _AT_ONCE]) for start in range(0, len(examples), _AT_ONCE)
    ]
    probabilities = np.concatenate([score.probabilities for score in scores])  # (N, classes)
    logits = np.concatenate([score.logits for score in scores]).astype(np.float64)
    rows = np.arange(len(examples))
    distances = logits - logits[rows, examples.labels][:, None]
    distances[rows, examples.labels] = -np.inf
    with np.errstate(over="ignore"):  # as far off as can be
        odds = np.exp(distances).sum(axis=1)
    return Answers(probabilities, probabilities.argmax(axis=1), probabilities[rows, examples.labels], odds)


def calibration_bins(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[float, tuple[Bin, ...]]:
    """Compare how sure answers are with how often they are right.

    Args:
        confidence: (N,) of 0 to 1, the probability of the class that was named.
        right: (N,) whether it was the right one.

    Returns:
        The expected calibration error, sum over the bins of images / N * |accuracy - confidence|; and
        `BINS` bins of equal width.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017, section 2.
    """
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for place in range(BINS):
        here = places == place
        count = int(here.sum())
        sure, share = (float(each[here].mean()) if count else None for each in (confidence, right))
        if sure is not None and share is not None:
            error += count / len(confidence) * abs(share - sure)
        bins.append(
            Bin(
                lower=round(place / BINS, 6),
                upper=round((place + 1) / BINS, 6),
                images=count,
                confidence=None if sure is None else round(sure, 6),
                accuracy=None if share is None else round(share, 6),
            )
        )
    return error, tuple(bins)


def extremes(split: Split, part: str, label: int, answers: Answers) -> Extremes:
    """Name the images of a class that the network is surest of, and those it is furthest from.

    Args:
        split: The data.
        part: Which part of it.
        label: Number of the class.
        answers: What the network says of that part.
    """
    rows = np.flatnonzero(split.parts[part].labels == label)
    order = rows[np.lexsort((answers.odds[rows], -answers.own[rows]))]

    def seen(row: np.int64) -> Seen:
        probability = round(float(np.clip(answers.own[row], 0, 1)), 6)
        return Seen(row=int(row), probability=probability, answer=split.classes[answers.named[row]])

    return Extremes(
        data=split.data_set,
        split=part,
        label=split.classes[label],
        typical=tuple(seen(row) for row in order[:_SHOWN]),
        troublesome=tuple(seen(row) for row in order[::-1][:_SHOWN]),
    )


def _check_data(manifest: Manifest, split: Split) -> None:
    known = {source.sha256 for source in manifest.data}
    for part, examples in split.parts.items():
        if examples.sha256 not in known:
            raise DataMismatch(
                f"{manifest.name}/{manifest.version}",
                f"{split.data_set}, {split.name} {part}",
                examples.sha256,
            )


def _accuracies(manifest: Manifest, split: Split, answers: Mapping[str, Answers]) -> tuple[Measurement, ...]:
    """Measure the published network; what was measured elsewhere stands as the manifest has it."""
    measured = {
        ("published", split.data_set, part): Measurement(
            fit="published",
            data=split.data_set,
            split=part,
            examples=len(examples),
            seeds=(manifest.making.seed,),
            accuracy=float((answers[part].named == examples.labels).mean()),
            spread=None,
            loss=float(
                -np.log(np.maximum(answers[part].own, np.finfo(np.float32).tiny)).mean(dtype=np.float64)
            ),
        )
        for part, examples in split.parts.items()
    }
    claimed = [
        metric for metric in manifest.metrics if (metric.fit, metric.data, metric.split) not in measured
    ]
    return (*measured.values(), *claimed)


def _calibration(split: Split, part: str, examples: Examples, answers: Answers) -> Calibration:
    confidence = np.clip(answers.probabilities.max(axis=1).astype(np.float64), 0, 1)
    error, bins = calibration_bins(confidence, answers.named == examples.labels)
    return Calibration(
        fit="published",
        data=split.data_set,
        split=part,
        examples=len(examples),
        error=round(error, 6),
        bins=bins,
    )


def _lesson_matrices(manifest: Manifest, records: Mapping[str, bytes]) -> tuple[Confusion, ...]:
    try:
        content = records.get(LESSON_FILE, b'{"confusion": []}')
        matrices = Confusions.model_validate_json(content).confusion
    except ValueError as error:
        raise RecordInvalid(f"{manifest.name}/{manifest.version}", LESSON_FILE) from error
    if any(len(matrix.counts) != len(manifest.labels) for matrix in matrices):
        raise RecordInvalid(f"{manifest.name}/{manifest.version}", LESSON_FILE)
    return matrices


def _history(manifest: Manifest, records: Mapping[str, bytes]) -> tuple[Curve, ...]:
    if HISTORY_FILE not in records:
        return ()
    try:
        return tuple(
            Curve(
                fit=fit["fit"],
                seed=fit["seed"],
                learning_rate=_column(fit["epochs"], "learning_rate"),
                train_loss=_column(fit["epochs"], "train_loss"),
                train_accuracy=_column(fit["epochs"], "train_accuracy"),
                valid_loss=_valid_column(fit["epochs"], "valid_loss"),
                valid_accuracy=_valid_column(fit["epochs"], "valid_accuracy"),
            )
            for fit in json.loads(records[HISTORY_FILE])["fits"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RecordInvalid(f"{manifest.name}/{manifest.version}", HISTORY_FILE) from error


def _column(epochs: list[dict[str, float]], name: str) -> tuple[float, ...]:
    return tuple(round(epoch[name], 6) for epoch in epochs)


def _valid_column(epochs: list[dict[str, float]], name: str) -> tuple[float, ...] | None:
    return None if any(epoch[name] is None for epoch in epochs) else _column(epochs, name)


def _notes(manifest: Manifest, split: Split, records: Mapping[str, bytes]) -> list[str]:
    notes = []
    if split.valid is None:
        notes.append(
            f"The {split.name} split of {split.data_set} has no valid part: the published network was "
            "fitted on all of its training images."
        )
    if LESSON_FILE not in records and any(metric.fit == "lesson" for metric in manifest.metrics):
        notes.append(
            "The fits for the lesson's figures are not kept, and when these were made their confusion "
            "matrices were not either: of train, valid and test of the lesson's split there are "
            "accuracies and learning curves only."
        )
    if HISTORY_FILE not in records:
        notes.append("No learning curves were kept.")
    return notes
