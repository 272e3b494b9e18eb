"""Report of a published network on its data: accuracy, confusion, calibration, extreme images, history.

The charts are drawn by `training.report.charts`; the file format is `service.core.artifact.report`.
"""

from collections.abc import Mapping

import numpy as np

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import MODEL_FILE, Manifest, Measurement
from service.core.artifact.report import Calibration, LayerRow, Report
from service.core.network.engine import Engine
from training.data.examples import Examples, Split
from training.report.confusion import confusion
from training.report.predictions import Predictions, calibration_bins, extremes, predict_part
from training.report.records import HISTORY_FILE, LESSON_FILE, read_history, read_lesson_matrices


def build(
    published: Artifact, split: Split, records: Mapping[str, bytes], lesson: Mapping[str, float]
) -> Report:
    """Evaluate a published network.

    Args:
        published: Its folder, in memory.
        split: The data that it was fitted and evaluated on.
        records: Files that its run wrote into `report/`, by name; may lack files.
        lesson: The lesson's accuracies by part, for comparison.

    Returns:
        The report, without charts.

    Raises:
        DataMismatch: The network was fitted or evaluated on other data.
        RecordInvalid: A record cannot be parsed.
        ServiceError: The network does not load or run.
    """
    manifest = published.manifest
    split.check_against(manifest)
    engine = Engine.load(published)
    predictions = {part: predict_part(engine, examples) for part, examples in split.parts.items()}
    lesson_matrices = read_lesson_matrices(manifest, records)
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
        accuracy=_accuracies(manifest, split, predictions),
        lesson=dict(lesson),
        confusion=(
            *(
                confusion("published", split, part, [predictions[part].predicted], [manifest.making.seed])
                for part in split.parts
            ),
            *lesson_matrices,
        ),
        calibration=tuple(
            _calibration(split, part, examples, predictions[part]) for part, examples in split.parts.items()
        ),
        extremes=tuple(
            extremes(split, part, label, predictions[part])
            for part in split.parts
            for label in range(len(split.classes))
        ),
        history=read_history(manifest, records),
        notes=tuple(_notes(manifest, split, records)),
        pictures=(),
    )


def _accuracies(
    manifest: Manifest, split: Split, predictions: Mapping[str, Predictions]
) -> tuple[Measurement, ...]:
    """Return measurements on the split, followed by the manifest's measurements on other data."""
    measured = {
        ("published", split.data_set, part): Measurement(
            fit="published",
            data=split.data_set,
            split=part,
            examples=len(examples),
            seeds=(manifest.making.seed,),
            accuracy=float((predictions[part].predicted == examples.labels).mean()),
            spread=None,
            loss=_cross_entropy(predictions[part]),
        )
        for part, examples in split.parts.items()
    }
    others = [
        metric for metric in manifest.metrics if (metric.fit, metric.data, metric.split) not in measured
    ]
    return (*measured.values(), *others)


def _cross_entropy(predictions: Predictions) -> float:
    floor = np.finfo(np.float32).tiny
    return float(-np.log(np.maximum(predictions.true_probability, floor)).mean(dtype=np.float64))


def _calibration(split: Split, part: str, examples: Examples, predictions: Predictions) -> Calibration:
    confidence = np.clip(predictions.probabilities.max(axis=1).astype(np.float64), 0, 1)
    error, bins = calibration_bins(confidence, predictions.predicted == examples.labels)
    return Calibration(
        fit="published",
        data=split.data_set,
        split=part,
        examples=len(examples),
        error=round(error, 6),
        bins=bins,
    )


def _notes(manifest: Manifest, split: Split, records: Mapping[str, bytes]) -> list[str]:
    notes = []
    if split.valid is None:
        notes.append(
            f"The {split.name} split of {split.data_set} has no valid part: the published network was "
            "fitted on all of its training images."
        )
    if LESSON_FILE not in records and any(metric.fit == "lesson" for metric in manifest.metrics):
        notes.append(
            "The fits on the lesson's split are not kept, and their confusion matrices were not recorded. "
            "For train, valid and test of that split there are accuracies and learning curves only."
        )
    if HISTORY_FILE not in records:
        notes.append("No learning curves were recorded.")
    return notes
