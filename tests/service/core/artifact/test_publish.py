"""`service/core/artifact/artifact.py`: publishing a version."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.errors import ManifestInvalid
from tests import toys
from tests.service.core.artifact.folders import FILES, Json, altered, left_behind, load, publish


def test_manifest_contains_all_given_members(folder: Path) -> None:
    """
    Only version, digests and format are added.
    """
    given_manifest = toys.manifest("quadrants", toys.QUARTERS)

    written = load(folder)

    assert {key: written[key] for key in given_manifest} == given_manifest
    assert set(written) - set(given_manifest) == {"version", "sha256", "format"} & set(written)
    assert written["version"] == "1"


def test_manifest_contains_the_digests_of_the_files(folder: Path) -> None:
    digests = load(folder)["sha256"]

    assert digests == {
        file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for file in ("model.onnx", "golden.json")
    }


def test_published_folders_contain_only_their_files(folder: Path) -> None:
    """
    No staging folder is left; all users may read the folder.
    """
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    assert found == set(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_next_version_is_one_above_the_newest(tmp_path: Path) -> None:
    """
    Gaps are not filled; versions are compared as numbers.
    """
    for version in ("2", "9"):
        (tmp_path / "quadrants" / version).mkdir(parents=True)

    numbers = [toys.publish(tmp_path).manifest.version for _ in range(2)]

    assert numbers == ["10", "11"]


def test_publishing_does_not_change_older_versions(folder: Path) -> None:
    before = {file: (folder / file).read_bytes() for file in FILES}

    newer = toys.publish(folder.parents[1], weights=-toys.quadrant_weights())

    assert newer.manifest.version == "2"
    assert {file: (folder / file).read_bytes() for file in FILES} == before


def test_concurrent_publishers_get_different_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A publisher whose version was published meanwhile takes the next one.
    """
    others: list[Artifact] = []
    fsync = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        others.append(toys.publish(tmp_path, weights=-toys.quadrant_weights()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    mine = toys.publish(tmp_path)

    assert (others[0].manifest.version, mine.manifest.version) == ("1", "2")
    assert artifact.read(tmp_path, "quadrants", "1").model == others[0].model
    assert artifact.read(tmp_path, "quadrants", "2").model == mine.model != others[0].model
    assert sorted(path.name for path in (tmp_path / "quadrants").iterdir()) == ["1", "2"]


def test_versions_published_before_the_renaming_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Artifact] = []
    rename = Path.rename

    def meanwhile(staging: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        others.append(toys.publish(tmp_path, weights=-toys.quadrant_weights()))
        return rename(staging, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    mine = toys.publish(tmp_path)

    assert (others[0].manifest.version, mine.manifest.version) == ("1", "2")
    assert artifact.read(tmp_path, "quadrants", "1").model == others[0].model
    assert artifact.read(tmp_path, "quadrants", "2").model == mine.model


def test_publishers_in_four_threads_get_four_versions(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        published = list(pool.map(lambda _: toys.publish(tmp_path), range(4)))

    assert sorted(it.manifest.version for it in published) == ["1", "2", "3", "4"]
    assert artifact.versions(tmp_path) == {"quadrants": ["1", "2", "3", "4"]}
    assert all(artifact.read(tmp_path, "quadrants", version) for version in ("1", "2", "3", "4"))


@pytest.mark.parametrize("stop", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("file", range(len(FILES)))
def test_interrupted_publishers_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: int, stop: type[BaseException]
) -> None:
    """
    Full disk or keyboard interrupt, while any of the files is written.
    """
    countdown = iter(range(len(FILES)))

    def fail(_: int) -> None:
        if next(countdown) == file:
            raise stop

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(stop):
        toys.publish(tmp_path)

    assert left_behind(tmp_path) == []
    assert artifact.versions(tmp_path) == {}


def test_failed_renaming_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def fail(*_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        toys.publish(tmp_path)

    assert left_behind(tmp_path) == []


def test_files_are_synced_before_the_folder_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    So that a power failure cannot leave empty files.
    """
    events: list[str] = []
    rename = Path.rename

    def record_sync(_: int) -> None:
        events.append("sync")

    def record_rename(staging: Path, target: Path) -> Path:
        events.append("rename")
        return rename(staging, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "rename", record_rename)
    toys.publish(tmp_path)

    assert events.index("rename") >= len(FILES)


def test_files_named_like_a_version_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The publisher does not retry the same version forever.
    """
    (tmp_path / "quadrants").mkdir()
    (tmp_path / "quadrants" / "1").write_text("not a folder")
    attempts = iter(range(100))
    fsync = os.fsync

    def count(descriptor: int) -> None:
        next(attempts)  # StopIteration ends an endless loop
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    published = toys.publish(tmp_path)

    assert published.manifest.version == "2"
    assert (tmp_path / "quadrants" / "1").read_text() == "not a folder"


def _without_name() -> Json:
    manifest = toys.manifest("quadrants", toys.QUARTERS)
    del manifest["name"]
    return manifest


def _not_a_number() -> Json:
    manifest = toys.manifest("quadrants", toys.QUARTERS)
    manifest["metrics"][0]["loss"] = float("nan")
    return manifest


@pytest.mark.parametrize(
    "manifest",
    [
        altered(parameters=1),
        altered(labels=["one", "two"]),
        altered(favourite="blue"),
        altered(name="../elsewhere"),
        altered(name="Quadrants"),
        altered(name=""),
        altered(recipe={"rate": float("inf")}),
        _not_a_number(),
        _without_name(),
    ],
    ids=["sum", "labels", "extra", "outside", "capital", "no letters", "infinite recipe", "nan", "no name"],
)
def test_invalid_manifests_are_not_published(tmp_path: Path, manifest: Json) -> None:
    """
    Nothing is written.
    """
    root = tmp_path / "models"
    root.mkdir()

    with pytest.raises(ManifestInvalid):
        publish(root, manifest)
    assert left_behind(root) == []
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


@pytest.mark.parametrize(
    "golden",
    [
        {"tolerance": 0.0},
        {"tolerance": 1.0},
        {"tolerance": float("nan")},
        {"images": np.zeros((1, 28, 28), np.uint8)},
        {"images": np.zeros((2, 28, 27), np.uint8)},
        {"logits": np.zeros((2, 5), np.float32)},
        {"logits": np.zeros((2, 4), np.float64)},
        {"probabilities": np.full((2, 4), np.nan, np.float32)},
        {"logits": np.full((2, 4), np.inf, np.float32)},
    ],
    ids=["zero", "lax", "nan", "rows", "image", "classes", "dtype", "nan answer", "infinite answer"],
)
def test_invalid_golden_examples_are_not_published(tmp_path: Path, golden: Json) -> None:
    """
    Nothing is written.
    """
    with pytest.raises(ManifestInvalid):
        publish(tmp_path, golden=golden)
    assert left_behind(tmp_path) == []


def test_models_above_the_size_limit_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "MAX_FILE_BYTES", 10_000)  # the toy's model has 12,000

    with pytest.raises(ManifestInvalid):
        publish(tmp_path)
    assert left_behind(tmp_path) == []
