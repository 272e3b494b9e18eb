"""`fit --data`: from files of a person's own to a published network, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.core.artifact import artifact
from service.core.network.engine import Engine
from tests.digits import DIGITS, arrays
from training.__main__ import main

QUICK = ("--epochs", "30", "--hidden", "16", "--augmentation", "")


def _main(folder: Path, *words: str) -> int:
    places = ("--models", str(folder / "models"), "--runs", str(folder / "runs"))
    return main(["fit", *words, *places], {})


def _leaves(folder: Path, count: int = 8) -> Path:
    """Draw pictures of two classes: wide and round leaves."""
    generator = np.random.default_rng(1)
    for name, height in (("willow leaf", 20), ("lime", 90)):
        (folder / "leaves" / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (160, 120), (250, 245, int(generator.integers(200, 250))))
            left, top = generator.integers(5, 15, 2)
            box = (left, 60 - height / 2 + top - 10, left + 130, 60 + height / 2 + top - 10)
            ImageDraw.Draw(picture).ellipse(box, fill=(30, int(generator.integers(90, 160)), 40))
            picture.save(folder / "leaves" / name / f"{number}.jpg")
    return folder / "leaves"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `leaves` was fitted and published once."""
    folder = tmp_path_factory.mktemp("own")
    assert _main(folder, "--data", str(_leaves(folder)), "--name", "leaves", *QUICK) == 0
    return folder


@pytest.fixture
def place(fitted: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(fitted, tmp_path / "place")
    return tmp_path / "place"


def test_a_folder_of_pictures_becomes_a_published_network(fitted: Path) -> None:
    """
    With labels of any text, its preprocessing, calibration, threshold, golden examples and a report.
    """
    published = artifact.read(fitted / "models", "leaves", "1")
    manifest = published.manifest

    assert manifest.labels == ("lime", "willow leaf")
    assert (manifest.preprocessing, manifest.input.shape) == ("resize", (-1, 48, 64, 3))
    assert manifest.certainty is not None
    assert [(metric.fit, metric.split) for metric in manifest.metrics] == [
        ("published", "train"),
        ("published", "test"),
        ("held-out", "folds"),
    ]
    assert manifest.metrics[1].accuracy == 1.0
    assert Engine.load(published)
    report = fitted / "models" / "leaves" / "1" / "report"
    assert json.loads((report / "report.json").read_text())["version"] == "1"
    assert (report / "history.png").is_file()


def test_the_console_says_what_is_found_and_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The form, the preprocessing and its reason, the fits and their reason, what was left out, and the next
    command.
    """
    leaves = _leaves(tmp_path)
    (leaves / "lime" / "broken.png").write_bytes(b"nothing")

    code = _main(tmp_path, "--data", str(leaves), "--name", "leaves", *QUICK)

    written = capsys.readouterr().out
    assert code == 0
    assert "leaves: a folder with a folder of pictures per class, 2 classes: lime, willow leaf" in written
    assert "prepared resized, 48 x 64 x 3 (they are no drawings)" in written
    assert "6 fits: 5 without a fifth of the training examples each" in written
    assert "1 examples are left out" in written
    assert "lime/broken.png: it should be a picture file" in written
    assert (tmp_path / "runs" / "leaves" / "left-out.txt").read_text().startswith("lime/broken.png")
    assert "Published" in written
    assert "-m service --models" in written


def test_nothing_that_is_served_is_replaced_unasked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A second fit stays in the runs folder; the same command with --publish publishes it without fitting again.
    """
    words = ("--data", str(place / "leaves"), "--name", "leaves", *QUICK, "--seed", "2")

    assert _main(place, *words) == 0
    first = capsys.readouterr().out
    assert artifact.versions(place / "models") == {"leaves": ["1"]}
    assert "Nothing was published: leaves/1 goes on answering" in first
    assert "leaves/1, served" in first

    assert _main(place, *words, "--publish") == 0
    second = capsys.readouterr().out
    assert "This fit is finished" in second
    assert "epoch" not in second.replace("epochs", "")
    assert artifact.versions(place / "models") == {"leaves": ["1", "2"]}


def test_a_worse_network_needs_anyway(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is compared on the same test images.
    """
    monkeypatch.setattr("training.publishing.release.Comparison.is_worse", True)
    words = ("--data", str(place / "leaves"), "--name", "leaves", *QUICK, "--seed", "2", "--publish")

    refused = _main(place, *words)
    kept = artifact.versions(place / "models")
    accepted = _main(place, *words, "--anyway")

    assert (refused, accepted) == (1, 0)
    assert kept == {"leaves": ["1"]}
    assert "is worse than leaves/1. The same command with --anyway publishes it." in capsys.readouterr().err
    assert artifact.versions(place / "models") == {"leaves": ["1", "2"]}


def test_a_network_of_other_classes_needs_anyway(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    It would answer in place of one that it cannot be compared with.
    """
    (place / "leaves" / "lime").rename(place / "leaves" / "linden")

    code = _main(place, "--data", str(place / "leaves"), "--name", "leaves", *QUICK, "--publish")

    assert code == 1
    assert "cannot be compared with leaves/1: it has other classes" in capsys.readouterr().err


def test_a_fit_at_chance_is_never_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Not even with --anyway: a learning rate of 1000 gives one class for every image.
    """
    words = ("--data", str(_leaves(tmp_path)), "--name", "leaves", *QUICK)

    code = _main(tmp_path, *words, "--learning-rate", "1000", "--optimizer", "sgd", "--publish", "--anyway")

    error = capsys.readouterr().err
    assert code == 1
    assert "should be clearly above 50.0 %" in error or "should be a finite number" in error
    assert not (tmp_path / "models").exists()


def test_strokes_of_writers_become_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Labels that differ in case can be one class; the writers of the test part can be named.
    """
    generator = np.random.default_rng(1)
    lines = []
    for row in range(80):
        strokes = [
            stroke + generator.normal(0, 1, stroke.shape) for stroke in arrays(DIGITS["17"[row % 2]][0])
        ]
        label = ("a", "b", "A", "B")[row % 4]
        drawing = {"label": label, "writer": f"w{row // 4 % 10}"}
        lines.append(json.dumps({**drawing, "strokes": [stroke.ravel().tolist() for stroke in strokes]}))
    (tmp_path / "drawn.jsonl").write_text("\n".join(lines))
    words = ("--data", str(tmp_path / "drawn.jsonl"), "--name", "ab", "--ignore-case", "--hold-out", "w3,w4")

    code = _main(tmp_path, *words, "--epochs", "8", "--hidden", "16")

    manifest = artifact.read(tmp_path / "models", "ab", "1").manifest
    assert code == 0
    assert manifest.labels == ("a", "b")
    assert manifest.preprocessing == "mnist"
    assert manifest.recipe["augmentation"] == "strokes"
    assert {"test", "test, w3", "test, w4"} <= {metric.split for metric in manifest.metrics}
    assert "everything by w3, w4, as asked for" in capsys.readouterr().out
    assert _main(tmp_path, *words[:-1], "w99") == 1
    assert "among the donors or writers of drawn.jsonl (w0, w1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--data", "x"], "--data should be with --name"),
        (["--name", "x"], "--name and --like should be with --data"),
        (["softmax", "--name", "x"], "--name and --like should be with --data"),
        ([], "a recipe should be named, or your own data"),
        (["softmax", "--recipe", "x.toml"], "one recipe should be named"),
        (["--data", "x", "--name", "My Net"], "--name should be of a-z"),
        (["softmax", "--hidden", "a,b"], "should be integers such as 512,512"),
        (["softmax", "--hidden", "0"], "hidden should be at least 1 unit per layer"),
        (["softmax", "--optimizer", "adam"], "optimizer should be sgd or adamw; got 'adam'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Before any work.
    """
    with pytest.raises(SystemExit) as ended:
        main(["fit", *words], {})

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(("option", "place"), [("--models", "models"), ("--runs", "runs")])
def test_a_folder_that_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, place: str
) -> None:
    """
    The data is not even read.
    """
    (tmp_path / place).write_text("in the way")

    code = main(["fit", "--data", str(tmp_path / "none"), "--name", "x", option, str(tmp_path / place)], {})

    assert code == 1
    assert f"{tmp_path / place} should be a folder that can be written" in capsys.readouterr().err


def test_a_full_disk_is_found_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With the space that is needed and the space that is there.
    """
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
    monkeypatch.setattr("training.cli.preflight.shutil.disk_usage", lambda _: usage)

    code = _main(tmp_path, "--data", str(tmp_path), "--name", "x")

    assert code == 1
    assert "in a place with 50 MiB of free space; got 3 MiB" in capsys.readouterr().err
