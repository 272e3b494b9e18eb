"""Format of `report/` in a published folder: figures and charts.

    report/
        report.json          figures, and the list of charts
        <picture>.png        a chart for a light background
        <picture>-dark.png   the same for a dark background

Predictions do not depend on it. It may be missing, outdated or broken; only requests for it fail then. Other
files in the folder belong to the trainer.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from service.core.artifact import artifact
from service.core.artifact.files import read_file
from service.core.artifact.manifest import (
    MODEL_FILE,
    NAME_PATTERN,
    Digest,
    Manifest,
    Measurement,
    StrictModel,
    first_error,
)
from service.core.errors import ReportBroken, ReportUnavailable, UnknownPicture

REPORT_FILE = "report.json"

MAX_BYTES = 4 * 2**20
"""Maximum size of a file of a report."""

Theme = Literal["light", "dark"]

Count = Annotated[int, Field(ge=0, lt=2**53)]
Fraction = Annotated[float, Field(ge=0, le=1)]

_PNG_START = b"\x89PNG\r\n\x1a\n"


class LayerRow(StrictModel):
    """Row of the table of layers."""

    name: str
    shape: tuple[Count, Count] = Field(description="[inputs, units]")
    activation: str
    parameters: Count


class Confused(StrictModel):
    """Off-diagonal entry of a confusion matrix."""

    truth: str
    answer: str
    count: Count


class Confusion(StrictModel):
    """Confusion matrix of a fit on one part of a data set."""

    fit: str = Field(description="published: this network; lesson: the fits on the lesson's split")
    data: str = Field(description="Name of the data set")
    split: str = Field(description="train, valid or test")
    seeds: tuple[int, ...] = Field(min_length=1, description="Seeds of the fits, whose counts are summed")
    examples: Count = Field(description="Number of images per fit")
    counts: tuple[tuple[Count, ...], ...] = Field(description="Rows: true class; columns: predicted class")
    confused: tuple[Confused, ...] = Field(description="Most frequent errors, in descending order")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if any(len(row) != len(self.counts) for row in self.counts):
            raise ValueError("counts should have as many columns as rows")
        if sum(map(sum, self.counts)) != self.examples * len(self.seeds):
            raise ValueError("counts should add up to the examples of every fit")
        return self


class Bin(StrictModel):
    """Bin of a reliability diagram: images with a confidence above `lower` and at most `upper`."""

    lower: Fraction
    upper: Fraction
    images: Count
    confidence: Fraction | None = Field(description="Mean confidence; null without images")
    accuracy: Fraction | None = Field(description="Accuracy; null without images")


class Calibration(StrictModel):
    """Calibration of a fit: accuracy by confidence."""

    fit: str
    data: str
    split: str
    examples: Count
    error: Fraction = Field(description="Expected calibration error, weighted by images")
    bins: tuple[Bin, ...]


class Seen(StrictModel):
    """Prediction for one image of a data set."""

    row: Count = Field(description="Index in its part of the data set, from 0")
    probability: Fraction = Field(description="Probability of the true class")
    answer: str = Field(description="Predicted class")


class Extremes(StrictModel):
    """Images of a class with the highest and with the lowest probability of that class."""

    data: str
    split: str
    label: str
    typical: tuple[Seen, ...] = Field(description="Highest probability of the true class first")
    troublesome: tuple[Seen, ...] = Field(description="Lowest probability of the true class first")


class Curve(StrictModel):
    """Learning curves of one fit, by epoch."""

    fit: str
    seed: int
    learning_rate: tuple[float, ...]
    train_loss: tuple[float, ...] = Field(description="Training loss, in nats per example")
    train_accuracy: tuple[Fraction, ...] = Field(description="Accuracy on the training batches")
    valid_loss: tuple[float, ...] | None = Field(description="Cross-entropy, in nats per example")
    valid_accuracy: tuple[Fraction, ...] | None


class Picture(StrictModel):
    """Chart, in a light and a dark version."""

    name: str = Field(pattern=NAME_PATTERN)
    title: str = Field(description="Text alternative")


class ReportData(StrictModel):
    """Figures of a report."""

    model: str
    version: str
    labels: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    parameters: Count
    accuracy: tuple[Measurement, ...] = Field(description="Accuracy by fit and part of the data set")
    lesson: dict[str, Fraction] = Field(description="Accuracies published with the lesson, by part")
    confusion: tuple[Confusion, ...]
    calibration: tuple[Calibration, ...]
    extremes: tuple[Extremes, ...] = Field(description="One entry per part and class")
    history: tuple[Curve, ...] = Field(description="Learning curves of each fit")
    notes: tuple[str, ...] = Field(description="Missing figures, with reasons")

    @model_validator(mode="after")
    def _is_of_these_classes(self) -> Self:
        if any(len(matrix.counts) != len(self.labels) for matrix in self.confusion):
            raise ValueError("every confusion matrix should have a row for each label")
        return self


class Report(ReportData):
    """Content of `report.json`."""

    format: Literal[1] = 1
    sha256: Digest = Field(description="Digest of the model.onnx that was measured")
    pictures: tuple[Picture, ...]


class ConfusionMatrices(StrictModel):
    """Confusion matrices of fits whose networks are not kept."""

    confusion: tuple[Confusion, ...]


def read(root: Path, manifest: Manifest) -> Report:
    """Read the report of a published network.

    Args:
        root: The models folder.
        manifest: Manifest of the served network.

    Raises:
        ReportUnavailable: There is no report.
        ReportBroken: It cannot be read, or belongs to another network.
    """
    try:
        content = read_file(_folder(root, manifest) / REPORT_FILE, MAX_BYTES)
        found = Report.model_validate_json(content)
    except FileNotFoundError as error:
        raise ReportUnavailable(manifest.name, manifest.version, "have been written", "none") from error
    except OSError as error:
        raise _unreadable(manifest, error.strerror or str(error)) from error
    except ValidationError as error:
        raise _unreadable(manifest, first_error(error)) from error
    if (found.model, found.version, found.sha256) != (
        manifest.name,
        manifest.version,
        manifest.sha256[MODEL_FILE],
    ):
        raise ReportBroken(
            manifest.name, manifest.version, "be of this very network", "one of another network"
        )
    return found


def read_picture(root: Path, manifest: Manifest, name: str, theme: Theme) -> bytes:
    """Read a chart of a report. Only names listed in the report are accepted.

    Args:
        root: The models folder.
        manifest: Manifest of the served network.
        name: As the report lists it.
        theme: Light or dark background.

    Returns:
        A PNG file.

    Raises:
        ReportUnavailable: There is no report.
        ReportBroken: It cannot be read, belongs to another network, or lacks a listed chart.
        UnknownPicture: The report does not list the chart.
    """
    known = [picture.name for picture in read(root, manifest).pictures]
    if name not in known:
        raise UnknownPicture(manifest.name, name, known)
    try:
        content = read_file(_folder(root, manifest) / picture_file(name, theme), MAX_BYTES)
    except OSError as error:
        raise _unreadable(manifest, f"picture {name}: {error.strerror or error}") from error
    if not content.startswith(_PNG_START):
        raise _unreadable(manifest, f"picture {name}: not a PNG file")
    return content


def picture_file(name: str, theme: Theme) -> str:
    """Return the file name of a chart."""
    return f"{name}.png" if theme == "light" else f"{name}-dark.png"


def write(root: Path, report: Report, pictures: Mapping[str, bytes]) -> None:
    """Write or replace the report of a published network.

    Each file is replaced atomically, `report.json` last. Charts that the report does not list are removed.

    Args:
        root: The models folder.
        report: The report.
        pictures: Content of PNG files by file name.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = root / report.model / report.version / artifact.REPORT_FOLDER
    folder.mkdir(exist_ok=True)
    for file, content in (*pictures.items(), (REPORT_FILE, _serialise(report.model_dump(mode="json")))):
        staged = folder / f".{file}.writing"
        staged.write_bytes(content)
        staged.replace(folder / file)
    for path in folder.glob("*.png"):
        if path.name not in pictures:
            path.unlink()


def write_confusions(matrices: tuple[Confusion, ...]) -> bytes:
    """Serialize confusion matrices."""
    return _serialise(ConfusionMatrices(confusion=matrices).model_dump(mode="json"))


def _serialise(document: Mapping[str, Any]) -> bytes:
    """Serialize as JSON with one line per member."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in document.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _folder(root: Path, manifest: Manifest) -> Path:
    return root / manifest.name / manifest.version / artifact.REPORT_FOLDER


def _unreadable(manifest: Manifest, reason: str) -> ReportBroken:
    return ReportBroken(manifest.name, manifest.version, "be readable", f"{reason[:200]!r}")
