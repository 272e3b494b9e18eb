"""Reports on toy networks whose predictions can be worked out by hand."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import MODEL_FILE, DataSource
from service.core.artifact.report import Report
from service.core.network.engine import Engine
from tests import toys
from training.data.examples import Examples, Split
from training.errors import DataMismatch, RecordInvalid
from training.report import build, predictions

EPOCH = {
    "number": 1,
    "learning_rate": 0.1,
    "train_accuracy": 0.5,
    "train_loss": 1.25,
    "valid_accuracy": None,
    "valid_loss": None,
    "seconds": 2.0,
}


@pytest.fixture(scope="module")
def quarters() -> Split:
    """Dots in quarters; the last test image's dot is in another quarter than its label."""
    train = Examples(np.stack([toys.dot(place) for place in range(4)]), np.arange(4))
    test = Examples(np.stack([toys.dot(0), toys.dot(0, 1), toys.dot(2), toys.dot(3)]), np.array([0, 0, 2, 1]))
    return Split("official", "dots", toys.QUARTERS, train, None, test)


@pytest.fixture
def published(tmp_path: Path, quarters: Split) -> Artifact:
    """The toy that sees quarters, with a manifest that names this data."""
    found = toys.publish(tmp_path)
    sources = tuple(
        DataSource(name="dots", split=f"official {name}", examples=len(part), sha256=part.sha256)
        for name, part in quarters.parts.items()
    )
    return replace(found, manifest=found.manifest.model_copy(update={"data": sources}))


def _make(published: Artifact, split: Split, records: Mapping[str, bytes] | None = None) -> Report:
    return build.build(published, split, records or {}, {"test": 0.25})


def test_accuracy_and_confusion_are_counted(published: Artifact, quarters: Split) -> None:
    """
    Three of four test images are correct; the fourth is a dot in the fourth quarter with the label of the
    second.
    """
    report = _make(published, quarters)

    train, test = report.accuracy[:2]
    assert (train.accuracy, test.accuracy, test.examples) == (1, 0.75, 4)
    probability = np.e / (np.e + 3)  # one logit of 1 and three of 0
    assert train.loss == pytest.approx(-np.log(probability), rel=1e-5)
    (_, matrix) = report.confusion
    assert matrix.counts == ((2, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 0, 0, 0))
    assert [(each.truth, each.answer) for each in matrix.confused] == [("upper right", "lower right")]
    assert report.lesson == {"test": 0.25}


def test_extremes_are_in_order(published: Artifact, quarters: Split) -> None:
    """
    A single dot is more typical of its quarter than one of two; row numbers refer to the part.
    """
    report = _make(published, quarters)

    first, second = (
        entry for entry in report.extremes if entry.split == "test" and entry.label.startswith("upper")
    )
    assert [seen.row for seen in first.typical] == [0, 1]
    assert [seen.row for seen in first.troublesome] == [1, 0]
    assert [(seen.row, seen.answer) for seen in second.troublesome] == [(3, "lower right")]
    assert first.typical[0].probability == pytest.approx(np.e / (np.e + 3), abs=1e-6)


def test_images_with_a_rounded_probability_are_ordered(tmp_path: Path) -> None:
    """
    If float32 rounds two probabilities to 1, the image with the larger distance of logits is first.
    """
    published = toys.publish(tmp_path, weights=toys.quadrant_weights() * 30)
    images = np.stack([toys.dot(0), toys.dot(0)])
    images[0, 7, 7], images[1, 7, 7] = 200, 255
    split = Split("official", "dots", toys.QUARTERS, Examples(images, np.zeros(2, np.int64)), None,
                  Examples(images, np.zeros(2, np.int64)))  # fmt: skip
    answers = predictions.predict_part(Engine.load(published), split.parts["test"])

    found = predictions.extremes(split, "test", 0, answers)

    assert answers.true_probability.tolist() == [1, 1]
    assert [seen.row for seen in found.typical] == [1, 0]


def test_calibration_is_the_mean_distance_by_images() -> None:
    """
    Two bins by hand: three images at .9, two correct; one at .31, wrong.
    """
    error, bins = predictions.calibration_bins(
        np.array([0.9, 0.9, 0.9, 0.31]), np.array([True, True, False, False])
    )

    assert error == pytest.approx(3 / 4 * abs(2 / 3 - 0.9) + 1 / 4 * 0.31)
    assert len(bins) == 15
    assert [(each.images, each.accuracy) for each in bins if each.images] == [(1, 0), (3, 0.666667)]
    assert bins[0].confidence is None


def test_every_probability_has_a_bin() -> None:
    """
    0, 1 and every border are in exactly one bin, an upper border in its own.
    """
    borders = np.arange(16) / 15
    _, bins = predictions.calibration_bins(borders, np.ones(16, bool))

    assert [each.images for each in bins] == [2, *[1] * 14]


def test_history_becomes_columns(published: Artifact, quarters: Split) -> None:
    """
    One curve per fit; without a valid part there is no valid column.
    """
    fits = [
        {"fit": "published", "seed": 1, "epochs": [EPOCH, EPOCH]},
        {"fit": "lesson", "seed": 2, "epochs": [{**EPOCH, "valid_accuracy": 0.5, "valid_loss": 1.0}]},
    ]

    report = _make(published, quarters, {"history.json": json.dumps({"fits": fits}).encode()})

    first, second = report.history
    assert (first.train_loss, first.valid_loss) == ((1.25, 1.25), None)
    assert (second.fit, second.seed, second.valid_accuracy) == ("lesson", 2, (0.5,))


def test_missing_parts_are_noted(published: Artifact, quarters: Split) -> None:
    """
    No valid part, no learning curves; no notes if both exist.
    """
    notes = " ".join(_make(published, quarters).notes)
    history = json.dumps({"fits": []}).encode()
    whole = replace(quarters, valid=quarters.train)

    assert "no valid part" in notes
    assert "No learning curves" in notes
    assert _make(published, whole, {"history.json": history}).notes == ()


def test_lesson_matrices_are_taken_from_the_record(published: Artifact, quarters: Split) -> None:
    """
    After the published network's own; another number of classes is refused.
    """
    kept = {
        "fit": "lesson", "data": "dots", "split": "valid", "seeds": [1, 2], "examples": 2,
        "counts": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "confused": [],
    }  # fmt: skip

    report = _make(published, quarters, {"lesson.json": json.dumps({"confusion": [kept]}).encode()})

    assert [(matrix.fit, matrix.split) for matrix in report.confusion] == [
        ("published", "train"),
        ("published", "test"),
        ("lesson", "valid"),
    ]
    small = {**kept, "counts": [[4]]}
    with pytest.raises(RecordInvalid, match=r"report/lesson\.json of quadrants/1"):
        _make(published, quarters, {"lesson.json": json.dumps({"confusion": [small]}).encode()})


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"fits": [{}]}', b'{"fits": [{"fit": "x", "seed": 1}]}'])
def test_a_broken_history_is_refused(published: Artifact, quarters: Split, content: bytes) -> None:
    """
    The message names the file.
    """
    with pytest.raises(RecordInvalid, match=r"report/history\.json of quadrants/1"):
        _make(published, quarters, {"history.json": content})


def test_other_data_than_the_manifests_is_refused(published: Artifact, quarters: Split) -> None:
    """
    One changed pixel suffices.
    """
    pixels = quarters.parts["test"].pixels.copy()
    pixels[0, 0, 0] = 1

    with pytest.raises(DataMismatch, match="dots, official test should be among the data"):
        _make(published, replace(quarters, test=Examples(pixels, quarters.parts["test"].labels)))


def test_a_report_identifies_its_network(published: Artifact, quarters: Split) -> None:
    """
    Name, version, digest, layers and number of parameters.
    """
    report = _make(published, quarters)

    assert (report.model, report.version) == ("quadrants", "1")
    assert report.sha256 == published.manifest.sha256[MODEL_FILE]
    assert [(row.name, row.shape, row.parameters) for row in report.layers] == [("output", (784, 4), 3140)]
    assert report.parameters == 3140
