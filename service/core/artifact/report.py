"""What `report/` of a published folder holds: what the trainer measured, as numbers and as pictures.

    report/
        report.json          the numbers, and which pictures there are
        <picture>.png        a picture for light paper
        <picture>-dark.png   the same for dark paper

Nothing that predicts depends on it. It has no digest, and may be missing, outdated or broken: who reads
it is told so, and the network is served all the same. Other files beside these are the trainer's own.
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
    Part,
    first_mistake,
)
from service.core.errors import ReportBroken, ReportUnavailable, UnknownPicture

REPORT_FILE = "report.json"

MAX_BYTES = 4 * 2**20
"""No file of a report is larger; what is larger is not read into memory."""

Theme = Literal["light", "dark"]

Count = Annotated[int, Field(ge=0, lt=2**53)]
Share = Annotated[float, Field(ge=0, le=1)]

_PNG_START = b"\x89PNG\r\n\x1a\n"


class LayerRow(Part):
    """One line of the table of layers."""

    name: str
    shape: tuple[Count, Count] = Field(description="[inputs, units]")
    activation: str
    parameters: Count


class Confused(Part):
    """Images of one class that were taken for another."""

    truth: str
    answer: str
    count: Count


class Confusion(Part):
    """How often each class was taken for each."""

    fit: str = Field(description="published: this very network; lesson: the fits for the lesson's figures")
    data: str = Field(description="Name of the data set")
    split: str = Field(description="train, valid or test")
    seeds: tuple[int, ...] = Field(min_length=1, description="One fit a seed; their counts are added up")
    examples: Count = Field(description="Images that each fit was shown")
    counts: tuple[tuple[Count, ...], ...] = Field(description="One row a class, one column an answer")
    confused: tuple[Confused, ...] = Field(description="The most frequent mistakes, most frequent first")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if any(len(row) != len(self.counts) for row in self.counts):
            raise ValueError("counts should have as many columns as rows")
        if sum(map(sum, self.counts)) != self.examples * len(self.seeds):
            raise ValueError("counts should add up to the examples of every fit")
        return self


class Bin(Part):
    """Images whose likeliest class has a probability above `lower` and at most `upper`."""

    lower: Share
    upper: Share
    images: Count
    confidence: Share | None = Field(description="Mean of those probabilities; null without images")
    accuracy: Share | None = Field(description="Share of right answers; null without images")


class Calibration(Part):
    """Whether answers with a probability of p are right in a share p of the cases."""

    fit: str
    data: str
    split: str
    examples: Count
    error: Share = Field(description="Expected calibration error: mean distance of the two, by images")
    bins: tuple[Bin, ...]


class Seen(Part):
    """One image, and what was said of it."""

    row: Count = Field(description="Its number in its part of the data set, from 0")
    probability: Share = Field(description="Of its own class")
    answer: str = Field(description="The likeliest class")


class Extremes(Part):
    """The images of a class that the network is surest of, and those it is furthest from."""

    data: str
    split: str
    label: str
    typical: tuple[Seen, ...] = Field(description="Highest probability of their class first")
    troublesome: tuple[Seen, ...] = Field(description="Lowest probability of their class first")


class Curve(Part):
    """What one fit came to, epoch by epoch."""

    fit: str
    seed: int
    learning_rate: tuple[float, ...]
    train_loss: tuple[float, ...] = Field(description="What was minimised, in nats an example")
    train_accuracy: tuple[Share, ...] = Field(description="While learning, as each batch was met")
    valid_loss: tuple[float, ...] | None = Field(description="Cross-entropy in nats an example")
    valid_accuracy: tuple[Share, ...] | None


class Picture(Part):
    """One picture, in two files."""

    name: str = Field(pattern=NAME_PATTERN)
    title: str = Field(description="What it shows, for those who do not see it")


class Numbers(Part):
    """All that was measured."""

    model: str
    version: str
    labels: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    parameters: Count
    accuracy: tuple[Measurement, ...] = Field(description="By fit and part of the data set")
    lesson: dict[str, Share] = Field(description="The lesson's own accuracies, by part of its split")
    confusion: tuple[Confusion, ...]
    calibration: tuple[Calibration, ...]
    extremes: tuple[Extremes, ...] = Field(description="One entry a part and class")
    history: tuple[Curve, ...] = Field(description="Learning curves, one a fit")
    notes: tuple[str, ...] = Field(description="What is missing, and why")

    @model_validator(mode="after")
    def _is_of_these_classes(self) -> Self:
        if any(len(matrix.counts) != len(self.labels) for matrix in self.confusion):
            raise ValueError("every confusion matrix should have a row for each label")
        return self


class Report(Numbers):
    """What stands in `report.json`."""

    format: Literal[1] = 1
    sha256: Digest = Field(description="Of the model.onnx that was measured")
    pictures: tuple[Picture, ...]


class Confusions(Part):
    """Confusion matrices alone, as the trainer keeps those of fits that it does not keep."""

    confusion: tuple[Confusion, ...]


def read(root: Path, manifest: Manifest) -> Report:
    """Read the report of a published network.

    Args:
        root: The models folder.
        manifest: Of the network that is served.

    Raises:
        ReportUnavailable: There is none.
        ReportBroken: It cannot be read, or is another network's.
    """
    try:
        content = read_file(_folder(root, manifest) / REPORT_FILE, MAX_BYTES)
        found = Report.model_validate_json(content)
    except FileNotFoundError as error:
        raise ReportUnavailable(manifest.name, manifest.version, "have been written", "none") from error
    except OSError as error:
        raise _unreadable(manifest, error.strerror or str(error)) from error
    except ValidationError as error:
        raise _unreadable(manifest, first_mistake(error)) from error
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
    """Read a picture of a report; no name leads out of the report's own list.

    Args:
        root: The models folder.
        manifest: Of the network that is served.
        name: As the report lists it.
        theme: For which paper.

    Returns:
        A PNG file.

    Raises:
        ReportUnavailable: There is no report.
        ReportBroken: It cannot be read, is another network's, or lacks a picture that it lists.
        UnknownPicture: The report lists no such picture.
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
    """Return the name of the file that holds a picture."""
    return f"{name}.png" if theme == "light" else f"{name}-dark.png"


def write(root: Path, report: Report, pictures: Mapping[str, bytes]) -> None:
    """Write a report into its published folder, in place of the one that was there.

    Every file is replaced as a whole and `report.json` last, so that a reader never sees half a file;
    pictures that the report does not list are removed, other files stay.

    Args:
        root: The models folder.
        report: The numbers.
        pictures: PNG files by file name.

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
    """Return a file of confusion matrices."""
    return _serialise(Confusions(confusion=matrices).model_dump(mode="json"))


def _serialise(document: Mapping[str, Any]) -> bytes:
    """Write JSON with a line for each member, which keeps matrices short and changes readable."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in document.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _folder(root: Path, manifest: Manifest) -> Path:
    return root / manifest.name / manifest.version / artifact.REPORT_FOLDER


def _unreadable(manifest: Manifest, reason: str) -> ReportBroken:
    return ReportBroken(manifest.name, manifest.version, "be readable", f"{reason[:200]!r}")
