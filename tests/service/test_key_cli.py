import io
import stat
import sys
from pathlib import Path

import pytest

from service import key_cli
from service.inference.admission.key_file import parse_keys
from service.inference.admission.keys import Right
from service.inference.admission.rates import UNLIMITED, RateLimits, parse
from tests.processes import python


def test_a_key_and_its_line_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """To standard output; the line has the options, and its hash matches the key."""
    options = ["--rights", "predict", "--rate", "100/s", "--burst", "200", "--images", "5000/s"]

    status = key_cli.main(["app", *options, "--models", "ink,mlp-128"])

    key, line = capsys.readouterr().out.splitlines()
    found = parse_keys(line.encode(), UNLIMITED).find(key.encode())
    assert status == 0
    assert found is not None
    assert (found.name, found.rights) == ("app", frozenset({Right.PREDICT}))
    assert found.limits == RateLimits(parse("100/s", 200), parse("5000/s"))
    assert found.models == frozenset({"ink", "mlp-128"})
    assert key not in line


def test_the_line_is_appended_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new file has mode 600; a last line without a line break gets one; only the key is printed."""
    path = tmp_path / "keys"
    keys = []
    for name in ("a", "b"):
        assert key_cli.main([name, "--append", str(path)]) == 0
        keys.append(capsys.readouterr().out.strip())
        path.write_text(path.read_text().rstrip("\n"))

    ring = parse_keys(path.read_bytes(), UNLIMITED)

    assert [client.name for key in keys if (client := ring.find(key.encode()))] == ["a", "b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_line_is_appended_to_a_file_of_comments(tmp_path: Path) -> None:
    """They stay."""
    path = tmp_path / "keys"
    path.write_text("# clients\n")

    assert key_cli.main(["a", "--append", str(path)]) == 0
    assert path.read_text().startswith("# clients\na  sha256:")


@pytest.mark.parametrize("before", ["a sha256:" + "0" * 64 + " rights=read\n", "broken\n"])
def test_a_file_that_would_be_invalid_is_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str
) -> None:
    """The name exists already, or a line is invalid: status 2, one line, no key."""
    path = tmp_path / "keys"
    path.write_text(before)

    status = key_cli.main(["a", "--append", str(path)])

    out, err = capsys.readouterr()
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert path.read_text() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["two words"],
        ["#a"],
        ["a", "--rights", "everything"],
        ["a", "--rate", "fast"],
        ["a", "--models", "ink #"],
        ["a", "--burst", "5"],
        ["a", "--append", "/does/not/exist"],
    ],
)
def test_invalid_arguments_are_reported_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, no key."""
    assert key_cli.main(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert " should " in err


def test_a_passphrase_is_read_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key is the name and the passphrase; the line has a scrypt hash."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct-horse-battery\n"))

    status = key_cli.main(["ann", "--passphrase"])

    key, line = capsys.readouterr().out.splitlines()
    named = parse_keys(line.encode(), UNLIMITED).find_passphrase(key.encode())
    assert status == 0
    assert key == "ann.correct-horse-battery"
    assert named is not None
    assert named[0].scrypt[0].matches(named[1])


def test_a_weak_passphrase_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message does not contain it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))

    assert key_cli.main(["ann", "--passphrase"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_the_command_imports_nothing_heavy() -> None:
    """`python -m service key NAME` through a pipe, as scripts use it."""
    done = python("-m", "service", "key", "app", PYTHONPROFILEIMPORTTIME="1")

    assert done.returncode == 0
    key, line = done.stdout.splitlines()
    assert parse_keys(line.encode(), UNLIMITED).find(key.encode()) is not None
    assert "numpy" not in done.stderr
    assert "onnxruntime" not in done.stderr
