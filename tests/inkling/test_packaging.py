"""The distribution: its name, its command, and what a wheel of it contains."""

import re
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import inkling
from inkling import __main__ as program
from tests.conftest import REPOSITORY
from tests.processes import modules_after

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def test_the_distribution_is_not_called_as_another_project_is() -> None:
    """
    `inkling` on the Python index is not ours, and no page tells to install it.
    """
    pages = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
    wrong = re.compile(r"pip3? install\s+(-\S+\s+)*['\"]?inkling(?!-server)")

    assert PROJECT["project"]["name"] == "inkling-server"
    assert [page for page in pages if wrong.search(page.read_text()) and page.name[:4] != "0047"] == []


def test_the_command_is_the_main_function() -> None:
    command = PROJECT["project"]["scripts"]["inkling"]

    assert EntryPoint("inkling", command, "console_scripts").load() is program.main


def test_every_public_name_can_be_imported() -> None:
    """
    And an unknown one is an AttributeError.
    """
    assert {name: getattr(inkling, name).__name__ for name in inkling.__all__ if name != "Images"}
    assert set(inkling.__all__) <= set(dir(inkling))
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        inkling.Modell  # noqa: B018 - the attribute is missing


@pytest.mark.parametrize(
    ("statement", "package", "extra"),
    [("from inkling import Client", "httpx2", "client"), ("import inkling.bulk.run", "pyarrow", "bulk")],
)
def test_a_missing_extra_is_named(statement: str, package: str, extra: str) -> None:
    """
    With the command that installs it.
    """
    modules_after(
        f"import sys\nsys.modules[{package!r}] = None\n"
        "from inkling.errors import PackageMissing\n"
        f"try:\n    {statement}\n"
        f"except PackageMissing as error:\n    assert error.extra == {extra!r}, error\n"
        "else:\n    raise AssertionError"
    )


def test_a_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    """
    Python and the page's files; no network and no test.
    """
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    (path,) = wheel.WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])

    names = set(zipfile.ZipFile(path).namelist())

    for package in ("inkling", "service", "training"):
        files = (file for file in (REPOSITORY / package).rglob("*") if file.suffix in (".py", ".js", ".html"))
        assert {file.relative_to(REPOSITORY).as_posix() for file in files} <= names
    assert "service/static/style.css" in names
    assert not any(name.startswith(("models/", "tests/")) for name in names)
