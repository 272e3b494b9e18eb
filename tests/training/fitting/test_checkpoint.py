from pathlib import Path

import pytest
import torch

from training.fitting.checkpoint import Checkpoint


def test_a_state_is_read_as_written(tmp_path: Path) -> None:
    """
    The last written state is read, and no other file is left.
    """
    checkpoint = Checkpoint(tmp_path / "runs" / "x.pt", "key", pytest.fail)

    checkpoint.write({"weights": torch.zeros(2), "epoch": 1})
    checkpoint.write({"weights": torch.ones(2), "epoch": 2})
    state = checkpoint.read()

    assert state is not None
    assert state["epoch"] == 2
    assert torch.equal(state["weights"], torch.ones(2))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["x.pt"]


def test_without_a_file_there_is_no_state(tmp_path: Path) -> None:
    """
    A first run reads nothing, without a notice; removing a missing file is no error.
    """
    checkpoint = Checkpoint(tmp_path / "x.pt", "key", pytest.fail)

    checkpoint.remove()

    assert checkpoint.read() is None


def test_a_state_of_another_fit_is_ignored_with_a_notice(tmp_path: Path) -> None:
    """
    Another recipe, seed, data set or code.
    """
    lines: list[str] = []
    Checkpoint(tmp_path / "x.pt", "key", pytest.fail).write({"epoch": 1})

    state = Checkpoint(tmp_path / "x.pt", "another key", lines.append).read()

    assert state is None
    assert lines == ["x.pt is of another recipe, data or code; the fit starts from the beginning"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut short", b"\x80\x02]."])
def test_a_broken_file_is_ignored_with_a_notice(tmp_path: Path, content: bytes) -> None:
    """
    An invalid checkpoint costs the progress, not the run.
    """
    lines: list[str] = []
    (tmp_path / "x.pt").write_bytes(content)

    state = Checkpoint(tmp_path / "x.pt", "key", lines.append).read()

    assert state is None
    assert lines == ["x.pt is no valid checkpoint; the fit starts from the beginning"]


def test_an_interrupted_write_keeps_the_previous_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A checkpoint is replaced atomically.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path / "x.pt", "key", pytest.fail)
    checkpoint.write({"epoch": 1})
    monkeypatch.setattr(Path, "write_bytes", interrupt)

    with pytest.raises(KeyboardInterrupt):
        checkpoint.write({"epoch": 2})

    assert checkpoint.read() == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
