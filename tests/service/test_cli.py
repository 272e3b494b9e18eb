from pathlib import Path

import pytest

from service import addresses, cli, key_cli
from service.settings import Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings with which this process would have served."""
    found: list[Settings] = []

    def serve(settings: Settings) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr(cli, "_serve_in_this_process", serve)
    monkeypatch.delenv("INKLING_MODELS", raising=False)
    return found


def test_a_relative_models_folder_is_named_with_its_absolute_path(
    served: list[Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    status = cli.main(["--models", "missing"])

    expected = "should be a folder of published networks, such as models/ of Inkling's repository"
    message = f"INKLING_MODELS (--models): {expected}; got '{tmp_path / 'missing'}'.\n"
    assert (status, capsys.readouterr().err) == (2, message)
    assert not served


def test_rates_may_have_the_unit_of_key_files(served: list[Settings], toy_root: Path) -> None:
    status = cli.main(["--models", str(toy_root), "--rate", "100/s", "--rate-images", "0.5/s"])

    assert status == 0
    assert (served[0].rate, served[0].rate_images) == (100.0, 0.5)


def test_an_address_that_is_not_free_ends_with_status_3(
    monkeypatch: pytest.MonkeyPatch, toy_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(settings: Settings) -> int:
        raise addresses.CannotServe(f"no address for {settings.host}")

    monkeypatch.setattr(cli, "_serve_in_this_process", refuse)

    status = cli.main(["--models", str(toy_root)])

    assert (status, capsys.readouterr().err) == (3, "no address for 127.0.0.1\n")


def test_the_word_key_runs_the_key_command(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    def main(arguments: list[str], program: str) -> int:
        given.append([program, *arguments])
        return 7

    monkeypatch.setattr(key_cli, "main", main)

    assert cli.main(["key", "app", "--rate", "1/s"]) == 7
    assert given == [["python -m service", "app", "--rate", "1/s"]]


def test_published_folders_are_listed_whether_valid_or_not(tmp_path: Path) -> None:
    for folder in ("ink/1", "ink/2", "ink/.staging", "other/x"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text("a file")

    assert cli._list_published(tmp_path) == {("ink", "1"), ("ink", "2")}
