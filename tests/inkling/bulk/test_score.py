"""Bulk runs: one row per image whatever the input, resumed after a kill, and never mixed with another run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inkling import Model
from inkling.bulk import run as bulk
from inkling.bulk import sources
from inkling.cli import commands
from tests import digits, toys
from tests.conftest import REPOSITORY

pa = pytest.importorskip("pyarrow", reason="needs the extra bulk")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra bulk")

SEVEN = digits.DIGITS["7"][0]


@pytest.fixture
def score(toy_root: Path, tmp_path: Path) -> Callable[..., int]:
    """Run the command with the toy model; the output is `out.parquet`."""

    def score(source: Path | str, *arguments: str) -> int:
        command = ["score", str(source), str(tmp_path / "out.parquet"), "--models", str(toy_root)]
        return commands.main([*command, "--model", "quadrants/1", "--jobs", "2", "--quiet", *arguments])

    return score


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(folder / "out.parquet").to_pylist()
    return found


def test_an_array_has_a_row_for_each_image(score: Callable[..., int], tmp_path: Path) -> None:
    """
    In order; with the probabilities of every class if they are asked for, and nothing else left behind.
    """
    images = np.stack([toys.dot(i % 4) for i in range(3000)])
    np.save(tmp_path / "a.npy", images)

    assert score(tmp_path / "a.npy", "--prepare", "none", "--probabilities") == 0

    found = rows(tmp_path)
    assert [row["row"] for row in found] == [*range(3000)]
    assert [row["label"] for row in found] == [toys.QUARTERS[i % 4] for i in range(3000)]
    assert all(row["error"] is None and row["sure"] is None for row in found)
    assert found[5]["index"] == int(np.argmax(found[5]["probabilities"])) == 1
    assert found[5]["confidence"] == max(found[5]["probabilities"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "out.parquet"]


def test_an_image_that_is_not_valid_has_its_error(score: Callable[..., int], tmp_path: Path) -> None:
    """
    The others are predicted.
    """
    images = np.stack([toys.dot(0, 3)] * 10)
    images[4] = 0
    np.save(tmp_path / "a.npy", images)

    assert score(tmp_path / "a.npy", "--probabilities") == 0

    found = rows(tmp_path)
    assert [row["error"] is None for row in found] == [row != 4 for row in range(10)]
    assert "something drawn" in found[4]["error"]
    assert found[4]["label"] is found[4]["probabilities"] is None


def test_a_folder_has_a_row_for_each_picture(score: Callable[..., int], tmp_path: Path) -> None:
    """
    With its path in the folder; broken files too, other files not.
    """
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    digits.canvas(SEVEN).save(folder / "b" / "seven.PNG")
    digits.canvas(SEVEN).convert("RGB").save(folder / "a.jpg")
    (folder / "broken.png").write_bytes(b"nothing")
    (folder / "notes.txt").write_text("no picture")

    assert score(folder) == 0

    found = rows(tmp_path)
    assert [(row["row"], row["file"]) for row in found] == [
        (0, "a.jpg"),
        (1, "b/seven.PNG"),
        (2, "broken.png"),
    ]
    assert [row["label"] is None for row in found] == [False, False, True]
    assert "PNG, JPEG or WebP" in found[2]["error"]


def test_parquet_files_may_hold_pictures_pixels_or_strokes(score: Callable[..., int], tmp_path: Path) -> None:
    """
    Several files are one input; columns are kept if they are asked for.
    """
    digits.canvas(SEVEN).save(tmp_path / "seven.png")
    file = (tmp_path / "seven.png").read_bytes()
    dots = [toys.dot(i % 4).ravel().tolist() for i in range(5)]
    (tmp_path / "in").mkdir()
    parquet.write_table(
        pa.table({"image": dots, "id": [f"i{i}" for i in range(5)]}),
        tmp_path / "in" / "1.parquet",
        row_group_size=2,
    )
    parquet.write_table(pa.table({"image": dots[:2], "id": ["x", "y"]}), tmp_path / "in" / "2.parquet")

    assert score(tmp_path / "in", "--prepare", "none", "--keep", "id") == 0
    found = rows(tmp_path)
    assert [row["id"] for row in found] == ["i0", "i1", "i2", "i3", "i4", "x", "y"]
    assert [row["label"] for row in found] == [toys.QUARTERS[i] for i in (0, 1, 2, 3, 0, 0, 1)]

    parquet.write_table(
        pa.table({"picture": [{"bytes": file, "path": None}, {"bytes": b"no", "path": None}]}),
        tmp_path / "p.parquet",
    )
    assert score(tmp_path / "p.parquet", "--column", "picture", "--restart") == 0
    assert [row["error"] is None for row in rows(tmp_path)] == [True, False]

    parquet.write_table(pa.table({"image": [SEVEN, [[[1.0, 2.0]]]]}), tmp_path / "s.parquet")
    assert score(str(tmp_path / "s.par*"), "--restart") == 0
    assert [row["error"] for row in rows(tmp_path)] == [None, None]


def test_rows_of_any_range_are_read_across_files_and_groups(tmp_path: Path) -> None:
    """
    Each row once, whatever the parts.
    """
    for name, first, count in (("1", 0, 7), ("2", 7, 1), ("3", 8, 5)):
        table = pa.table({"image": [[float(first + i)] for i in range(count)]})
        parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=3)
    source = sources.open_source(tmp_path, "image", (), 1)

    assert source.rows == 13
    for start in range(13):
        for stop in range(start + 1, 14):
            found = [
                float(value) for images, _ in source.read(start, stop) for value in np.asarray(images).ravel()
            ]
            assert found == [float(row) for row in range(start, stop)]


def test_a_killed_run_is_continued_without_a_lost_or_double_row(toy_root: Path, tmp_path: Path) -> None:
    """
    After `kill -9` in the middle: its workers end, complete parts are kept, the rest is predicted.
    """
    images = np.stack([toys.dot(i % 4) for i in range(500)])
    np.save(tmp_path / "a.npy", np.concatenate([images] * 40))
    program = (
        "import sys, time\n"
        "from inkling.bulk import sources\n"
        "sources.ArraySource.__init__.__defaults__ = (500,)\n"
        "from inkling.cli import commands\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(commands.main(sys.argv[1:]))\n"
    )
    (tmp_path / "program.py").write_text(program)
    arguments = [
        *(sys.executable, str(tmp_path / "program.py"), "score", str(tmp_path / "a.npy")),
        *(str(tmp_path / "out.parquet"), "--models", str(toy_root), "--model", "quadrants/1"),
        *("--prepare", "none", "--jobs", "2", "--quiet"),
    ]
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}
    parts = tmp_path / "out.parquet.parts"
    process = subprocess.Popen(arguments, env=environment, start_new_session=True)
    try:
        wait_until(lambda: len([*parts.glob("part-*")]) >= 3)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "out.parquet").exists()
    wait_until(lambda: not alive_in_session(process.pid))
    complete = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*")}
    assert 3 <= len(complete) < 40
    (parts / ".part-000000000000.parquet.1").write_bytes(b"half")

    again = subprocess.run(arguments, env=environment, check=False, capture_output=True, text=True)

    assert again.returncode == 0, again.stderr
    found = rows(tmp_path)
    assert [row["row"] for row in found] == [*range(20_000)]
    assert [row["label"] for row in found] == [toys.QUARTERS[i % 4] for i in range(500)] * 40
    assert not parts.exists()


def alive_in_session(session: int) -> list[int]:
    """Return the processes of a session that run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(number) == session and state != "Z":
            found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], object], patience_s: float = 120) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_does_not_continue_another_one(
    score: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Parts of another input or model stay as they are, until --restart is given.
    """
    np.save(tmp_path / "a.npy", np.stack([toys.dot(1)] * 5))
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "job.json").write_text(json.dumps({"input": "other"}))
    (parts / "part-000000000000.parquet").write_bytes(b"of another run")

    assert score(tmp_path / "a.npy", "--prepare", "none") == 2
    assert "--restart drops them" in capsys.readouterr().err
    assert (parts / "part-000000000000.parquet").read_bytes() == b"of another run"

    assert score(tmp_path / "a.npy", "--prepare", "none", "--restart") == 0
    assert len(rows(tmp_path)) == 5


def test_an_output_is_replaced_only_if_asked_for(
    score: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.stack([toys.dot(1)] * 5))
    (tmp_path / "out.parquet").write_bytes(b"precious")

    assert score(tmp_path / "a.npy", "--prepare", "none") == 2
    assert "--restart replaces it" in capsys.readouterr().err
    assert (tmp_path / "out.parquet").read_bytes() == b"precious"

    assert score(tmp_path / "a.npy", "--prepare", "none", "--restart") == 0
    assert len(rows(tmp_path)) == 5


def test_two_runs_do_not_write_one_output(toy_root: Path, tmp_path: Path) -> None:
    from service.core.artifact.locks import locked  # noqa: PLC0415 - here only

    np.save(tmp_path / "a.npy", np.stack([toys.dot(1)] * 5))
    source = sources.open_source(tmp_path / "a.npy", "image", (), 784)
    job = bulk.Job(Model.load(toy_root / "quadrants"), source, "none", full=False)
    (tmp_path / "out.parquet.parts").mkdir()

    with locked(tmp_path / "out.parquet.parts"), pytest.raises(bulk.CannotResume, match="another run"):
        bulk.run(job, tmp_path / "out.parquet", 1, restart=False, progress=id)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.npy", "none.npy: No such file"),
        ("none", "which does not exist"),
        ("empty", "a folder with files .png"),
        ("bad.npy", "a NumPy .npy file of plain numbers"),
        ("bad.parquet", "should be a Parquet file"),
        ("other.parquet", "should be one of picture; got 'image'"),
        ("text.txt", "an .npy file, a folder of pictures or Parquet files"),
        ("empty.npy", "at least one image"),
    ],
)
def test_a_wrong_input_is_one_line(
    score: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    """
    And leaves nothing behind.
    """
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npy").write_bytes(b"x")
    (tmp_path / "bad.parquet").write_bytes(b"x")
    (tmp_path / "text.txt").write_bytes(b"x")
    np.save(tmp_path / "empty.npy", np.zeros((0, 28, 28), np.uint8))
    parquet.write_table(pa.table({"picture": [b""]}), tmp_path / "other.parquet")

    assert score(tmp_path / name) == 2

    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.parquet.parts").exists()


def test_one_image_is_one_row(score: Callable[..., int], tmp_path: Path) -> None:
    """
    (28, 28) in an .npy file.
    """
    np.save(tmp_path / "a.npy", toys.dot(2))

    assert score(tmp_path / "a.npy", "--prepare", "none") == 0

    (row,) = rows(tmp_path)
    assert row["label"] == toys.QUARTERS[2]


def test_large_pictures_in_an_array_are_rows(score: Callable[..., int], tmp_path: Path) -> None:
    np.save(
        tmp_path / "a.npy",
        np.stack([np.asarray(digits.canvas(SEVEN)), np.asarray(Image.new("L", (280, 280)))]),
    )

    assert score(tmp_path / "a.npy") == 0

    assert [row["error"] is None for row in rows(tmp_path)] == [True, False]
