"""Records that a run writes into `report/`: learning curves and the lesson's confusion matrices."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from service.core.artifact.manifest import Manifest
from service.core.artifact.report import Confusion, ConfusionMatrices, Curve
from training.errors import RecordInvalid

HISTORY_FILE = "history.json"
"""In `report/`: every epoch of every fit."""

LESSON_FILE = "lesson.json"
"""In `report/`: the confusion matrices of the fits on the lesson's split, which are not kept."""


def write_history(fits: Sequence[Mapping[str, Any]]) -> bytes:
    """Return `history.json`.

    Args:
        fits: Role (`fit`), split (`data`), `seed` and `epochs` of each fit. Floats are rounded to six digits,
            since the file is part of the repository and may have thousands of epochs.
    """
    rounded = [{**fit, "epochs": [_round(epoch) for epoch in fit["epochs"]]} for fit in fits]
    return (json.dumps({"fits": rounded}, separators=(",", ":"), allow_nan=False) + "\n").encode()


def _round(epoch: Mapping[str, float | None]) -> dict[str, float | None]:
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in epoch.items()
    }


def read_history(manifest: Manifest, records: Mapping[str, bytes]) -> tuple[Curve, ...]:
    """Return the learning curves in the records; none if there is no history.

    Raises:
        RecordInvalid: The history cannot be parsed.
    """
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


def read_lesson_matrices(manifest: Manifest, records: Mapping[str, bytes]) -> tuple[Confusion, ...]:
    """Return the lesson's confusion matrices in the records; none if there is no such record.

    Raises:
        RecordInvalid: The record cannot be parsed, or has another number of classes.
    """
    try:
        content = records.get(LESSON_FILE, b'{"confusion": []}')
        matrices = ConfusionMatrices.model_validate_json(content).confusion
    except ValueError as error:
        raise RecordInvalid(f"{manifest.name}/{manifest.version}", LESSON_FILE) from error
    if any(len(matrix.counts) != len(manifest.labels) for matrix in matrices):
        raise RecordInvalid(f"{manifest.name}/{manifest.version}", LESSON_FILE)
    return matrices


def _column(epochs: list[dict[str, float]], name: str) -> tuple[float, ...]:
    return tuple(round(epoch[name], 6) for epoch in epochs)


def _valid_column(epochs: list[dict[str, float]], name: str) -> tuple[float, ...] | None:
    return None if any(epoch[name] is None for epoch in epochs) else _column(epochs, name)
