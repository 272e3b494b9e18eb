"""`service/core/artifact/staging.py`: what a killed publisher leaves behind is removed, and nothing else."""

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
    """Let a folder look as if it had last changed well over an hour ago."""
    changed = folder.stat().st_mtime - 2 * staging.STALE_S
    os.utime(folder, (changed, changed))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model of which one version is published."""
    toys.publish(tmp_path)
    return tmp_path / "quadrants"


@pytest.fixture
def stale(model: Path) -> Path:
    """What a publisher that was killed left behind long ago."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(model)], cwd=REPOSITORY, check=False)
    assert ended.returncode == -signal.SIGKILL
    (folder,) = model.glob(".staging-*")
    age(folder)
    return folder


def test_a_killed_publishers_folder_is_removed(model: Path, stale: Path) -> None:
    """
    With all that is in it; the published version stays.
    """
    assert staging.sweep(model.parent) == [stale]
    assert [path.name for path in model.iterdir()] == ["1"]
    assert artifact.read(model.parent, "quadrants", "1")


def test_a_folder_that_changed_within_the_hour_stays(model: Path, stale: Path) -> None:
    """
    Its publisher may be another machine's, whose lock is not seen here.
    """
    os.utime(stale)

    assert staging.sweep(model.parent) == []
    assert stale.is_dir()


def test_a_folder_whose_publisher_lives_stays(model: Path) -> None:
    """
    However long it takes; afterwards nothing is left.
    """
    with staging.staging(model) as folder:
        age(folder)
        assert staging.sweep(model.parent) == []
        assert folder.is_dir()

    assert [path.name for path in model.iterdir()] == ["1"]


def test_a_folder_is_locked_still_when_it_has_its_last_name(model: Path) -> None:
    with staging.staging(model) as folder:
        folder.rename(model / "2")
        with try_locked(model / "2") as is_held:
            assert not is_held

    assert (model / "2").is_dir()


def test_other_names_files_and_links_stay(model: Path) -> None:
    """
    Only a folder is a staging folder; a link might lead to a published one.
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


def test_a_models_folder_that_is_not_there_has_nothing_stale(tmp_path: Path) -> None:
    assert staging.sweep(tmp_path / "none") == []


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    """
    And free again when its holder is done.
    """
    with locked(tmp_path), try_locked(tmp_path) as is_held:
        assert not is_held
    with try_locked(tmp_path) as is_held:
        assert is_held
