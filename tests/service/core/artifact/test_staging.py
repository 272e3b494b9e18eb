"""`service/core/artifact/staging.py`: staging folders and their removal after a crash."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.core.artifact import artifact, staging
from service.core.artifact.locks import locked, try_locked
from tests import toys
from tests.conftest import REPOSITORY

KILLED = """
import os, signal, sys
from pathlib import Path
from service.core.artifact.staging import staging
with staging(Path(sys.argv[1])) as folder:
    (folder / "report").mkdir()
    (folder / "model.onnx").write_bytes(b"half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def age(folder: Path) -> None:
    """Set the modification time of a folder to more than an hour ago."""
    changed = folder.stat().st_mtime - 2 * staging.STALE_S
    os.utime(folder, (changed, changed))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a model with one published version."""
    toys.publish(tmp_path)
    return tmp_path / "quadrants"


@pytest.fixture
def stale(model: Path) -> Path:
    """Return an old staging folder of a killed publisher."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(model)], cwd=REPOSITORY, check=False)
    assert ended.returncode == -signal.SIGKILL
    (folder,) = model.glob(".staging-*")
    age(folder)
    return folder


def test_folders_of_killed_publishers_are_removed(model: Path, stale: Path) -> None:
    """
    With their content; the published version is kept.
    """
    assert staging.sweep(model.parent) == [stale]
    assert [path.name for path in model.iterdir()] == ["1"]
    assert artifact.read(model.parent, "quadrants", "1")


def test_folders_changed_within_the_last_hour_are_kept(model: Path, stale: Path) -> None:
    """
    The publisher may run on another machine, whose lock is not visible.
    """
    os.utime(stale)

    assert staging.sweep(model.parent) == []
    assert stale.is_dir()


def test_folders_of_running_publishers_are_kept(model: Path) -> None:
    """
    Whatever their age.
    """
    with staging.staging(model) as folder:
        age(folder)
        assert staging.sweep(model.parent) == []
        assert folder.is_dir()

    assert [path.name for path in model.iterdir()] == ["1"]


def test_folders_are_locked_until_after_the_renaming(model: Path) -> None:
    with staging.staging(model) as folder:
        folder.rename(model / "2")
        with try_locked(model / "2") as is_held:
            assert not is_held

    assert (model / "2").is_dir()


def test_other_folders_files_and_links_are_kept(model: Path) -> None:
    """
    A link may lead to a published folder.
    """
    (model / ".staging-file").write_bytes(b"")
    (model / ".staging-link").symlink_to(model / "1")
    (model / "staging-x").mkdir()
    (model.parent / ".staging-y").mkdir()
    for path in (model / "1", model / "staging-x", model.parent / ".staging-y"):
        age(path)
    before = sorted(model.parent.rglob("*"))

    assert staging.sweep(model.parent) == []
    assert sorted(model.parent.rglob("*")) == before


def test_missing_models_folder_has_no_staging_folders(tmp_path: Path) -> None:
    assert staging.sweep(tmp_path / "none") == []


def test_locks_are_exclusive(tmp_path: Path) -> None:
    """
    And released at the end of the context.
    """
    with locked(tmp_path), try_locked(tmp_path) as is_held:
        assert not is_held
    with try_locked(tmp_path) as is_held:
        assert is_held
