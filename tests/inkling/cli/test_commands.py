"""The command line: its exit status, and what it prints."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inkling import __main__ as program
from inkling.cli import commands
from service import __main__ as service
from service import key_cli
from tests import digits, toys
from tests.conftest import REPOSITORY

SEVEN = digits.DIGITS["7"][0]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a seven as a picture, an array and strokes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INKLING_MODELS", raising=False)
    digits.canvas(SEVEN).save("seven.png")
    np.save("seven.npy", np.stack([np.asarray(digits.canvas(SEVEN))] * 2))
    Path("seven.json").write_text(json.dumps({"strokes": SEVEN}))
    Path("lines.jsonl").write_text(f"{json.dumps({'label': '7', 'strokes': SEVEN})}\n" * 2)
    Image.new("L", (50, 50), 255).save("blank.png")
    return tmp_path


def run(*arguments: object) -> int:
    return commands.main([str(argument) for argument in arguments])


def test_files_of_every_kind_are_predicted(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    One row per image; a table for people.
    """
    status = run("predict", "seven.png", "seven.npy", "seven.json", "lines.jsonl", "--models", published)

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert status == 0
    assert lines[0] == ["file", "row", "label", "confidence", "sure"]
    assert [line[:-3] for line in lines[1:]] == [
        ["seven.png"],
        ["seven.npy", "0"],
        ["seven.npy", "1"],
        ["seven.json"],
        ["lines.jsonl", "0"],
        ["lines.jsonl", "1"],
    ]
    assert {line[-3] for line in lines[1:]} == {"7"}


def test_json_and_csv_are_for_programs(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    JSON has the top classes, CSV the columns of the table with all digits.
    """
    run("predict", "seven.png", "--models", published, "--format", "json", "--top", 2)
    (found,) = json.loads(capsys.readouterr().out)
    run("predict", "seven.png", "--models", published, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))

    assert (found["file"], found["label"], len(found["top"])) == ("seven.png", "7", 2)
    assert (row["file"], row["label"], row["sure"], row["error"]) == ("seven.png", "7", "True", "")
    assert float(row["confidence"]) == found["confidence"]


def test_a_bad_file_has_its_error_in_its_row(toy_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The other images are predicted, and the exit status is 1.
    """
    images = np.stack([toys.dot(0, 3), toys.dot(), toys.dot(0, 3)])
    np.save("some.npy", images)
    Path("bad.npy").write_bytes(b"no array")
    Path("bad.json").write_text("{")
    Path("bad.jsonl").write_text("\n")

    files = ("none.png", "blank.png", "some.npy", "bad.npy", "bad.json", "bad.jsonl", ".")
    status = run("predict", *files, "--models", toy_root, "--model", "quadrants/1", "--format", "json")

    rows = json.loads(capsys.readouterr().out)
    assert status == 1
    assert [(row["file"], row.get("row"), "error" in row) for row in rows] == [
        ("none.png", None, True),
        ("blank.png", None, True),
        ("some.npy", 0, False),
        ("some.npy", 1, True),
        ("some.npy", 2, False),
        ("bad.npy", None, True),
        ("bad.json", None, True),
        ("bad.jsonl", None, True),
        (".", None, True),
    ]
    assert rows[3]["error"].startswith("Image 1 should show something drawn")


def test_names_of_files_do_not_control_the_terminal(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a\x1b[2Jb.png").write_bytes(Path("seven.png").read_bytes())

    run("predict", "a\x1b[2Jb.png", "--models", published)

    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "inkling predict: the following arguments are required: FILE; inkling predict --help"),
        (["predict", "a.png", "--top", "0"], "argument --top: invalid"),
        ([], "inkling: the following arguments are required: COMMAND"),
        (["digest"], "invalid choice: 'digest'"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With the status 2.
    """
    with pytest.raises(SystemExit) as caught:
        commands.main(arguments)

    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in error
    assert error.count("\n") == 1


def test_missing_models_are_named(folder: Path, toy_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The folder, with the flag and the variable that name another one; or the model.
    """
    assert run("predict", "seven.png") == 2
    error = capsys.readouterr().err
    assert error.startswith("INKLING_MODELS (--models): should be a folder of published networks")
    assert str(folder / "models") in error

    assert run("predict", "seven.png", "--models", toy_root) == 2
    assert f"{str(toy_root / 'ink')!r}, no folder" in capsys.readouterr().err


def test_the_folder_of_models_may_come_from_the_environment(
    toy_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    As for the service; a setting that is not valid is named.
    """
    monkeypatch.setenv("INKLING_MODELS", str(toy_root))
    assert run("models") == 0
    assert "quadrants" in capsys.readouterr().out

    monkeypatch.setenv("INKLING_PORT", "no")
    assert run("models") == 2
    assert capsys.readouterr().err.startswith("INKLING_PORT (--port)")


def test_models_lists_every_network(
    tmp_path: Path, toy_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A damaged one with its error, and the status 1.
    """
    assert run("models", "--models", toy_root, "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["versions"], row["input"], row["classes"]) == ("quadrants", "1, 2", "28 x 28", 4)

    (tmp_path / "all" / "broken" / "1").mkdir(parents=True)
    assert run("models", "--models", tmp_path / "all") == 1
    assert "broken/1: manifest.json should be readable" in capsys.readouterr().out


def test_serve_and_key_are_the_services_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With their arguments, and with the name of this program in their help.
    """
    called: list[object] = []

    def main(arguments: list[str], name: str) -> int:
        called.append((arguments, name))
        return 7

    monkeypatch.setattr(service, "main", lambda *given: sys.exit(main(*given)))
    monkeypatch.setattr(key_cli, "main", main)

    monkeypatch.setattr(sys, "argv", ["inkling", "serve", "--port", "0"])
    with pytest.raises(SystemExit):
        program.main()
    monkeypatch.setattr(sys, "argv", ["inkling", "key", "app"])
    with pytest.raises(SystemExit) as caught:
        program.main()

    assert called == [(["--port", "0"], "inkling serve"), (["app"], "inkling")]
    assert caught.value.code == 7


def test_a_closed_pipe_is_no_traceback(published: Path) -> None:
    """
    As with `| head`: the rest of the output is not wanted.
    """
    arguments = [sys.executable, "-m", "inkling", "models", "--models", str(published)]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": str(REPOSITORY)}
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()

    assert error == b""
