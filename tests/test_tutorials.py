"""The commands of tutorials and guides, run against a service that the test starts."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_S, Process, clean_environment, free_port, running

TUTORIALS = REPOSITORY / "docs" / "tutorials"

_BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?```(\w+)\n(.*?)```", re.DOTALL)

_PORT, _SECOND_PORT = "127.0.0.1:8000", "127.0.0.1:8001"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@dataclass(frozen=True)
class Block:
    """A code block of a page: a program in `sh` or `python`, or its output in `json` or `text`."""

    language: str
    text: str
    skipped: bool


def blocks(page: str) -> list[Block]:
    text = (TUTORIALS / page).read_text()
    return [Block(language, code, bool(mark)) for mark, language, code in _BLOCK.findall(text)]


def run(block: Block, folder: Path, addresses: Mapping[str, str]) -> str:
    """Run a block in a folder and return its output.

    Args:
        block: Shell commands or a Python program.
        folder: The working directory.
        addresses: Host and port in the page, and those of the service to use instead.
    """
    text = block.text.replace(".venv/bin/python", sys.executable)
    for old, new in addresses.items():
        text = text.replace(old, new)
    program = (
        ["bash", "-euo", "pipefail", "-c", text] if block.language == "sh" else [sys.executable, "-c", text]
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    data = os.environ.get("INKLING_DATA", "")
    done = subprocess.run(
        program,
        cwd=folder,
        env=clean_environment(PATH=path, PYTHONPATH=str(REPOSITORY), INKLING_DATA=data),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stderr}"
    return done.stdout


def matches(shown: str, printed: str) -> bool:
    """Return whether an output is the one that a page shows, in which `…` stands for anything."""
    pattern = ".*?".join(re.escape(part.strip("\n")) for part in shown.split("…"))
    return re.fullmatch(pattern, printed.strip("\n"), re.DOTALL) is not None


def follow(page: str, folder: Path, addresses: Mapping[str, str]) -> Iterator[Block]:
    """Run a page's blocks in order, and yield those that are skipped; compare each output that is shown."""
    printed = ""
    for block in blocks(page):
        if block.skipped:
            yield block
        elif block.language in ("sh", "python"):
            printed = run(block, folder, addresses)
        else:
            assert matches(block.text, printed), f"shown: {block.text}\nprinted: {printed}"


@pytest.fixture(scope="module")
def process(published: Path) -> Iterator[Process]:
    """A service with the repository's models."""
    with running(published, "--no-access-log") as process:
        yield process


@pytest.mark.parametrize("page", ["first-request.md", "draw-and-see-why.md", "own-digits.md"])
def test_the_commands_of_a_tutorial_print_what_it_shows(page: str, process: Process, tmp_path: Path) -> None:
    """
    In a folder of its own, from the first block to the last.
    """
    skipped = list(follow(page, tmp_path, {_PORT: f"127.0.0.1:{process.port}"}))

    assert all(block.text.startswith("make serve") for block in skipped)


def test_the_code_of_the_guide_on_programs_prints_what_it_shows(published: Path, tmp_path: Path) -> None:
    """
    In a folder with the published networks, as after a checkout.
    """
    (tmp_path / "models").symlink_to(published)

    assert len(list(follow("../how-to/programs.md", tmp_path, {}))) == 4


def test_the_python_of_the_readme_names_the_digit(published: Path, tmp_path: Path) -> None:
    """
    As its comment says.
    """
    (tmp_path / "models").symlink_to(published)
    (block,) = [block for block in blocks("../../README.md") if block.language == "python"]

    assert run(block, tmp_path, {}) == "['7']\n"


def test_the_curl_of_the_protocols_page_names_the_digit(process: Process, tmp_path: Path) -> None:
    """
    With the image file that a tutorial draws.
    """
    addresses = {_PORT: f"127.0.0.1:{process.port}"}
    run(blocks("own-digits.md")[0], tmp_path, addresses)
    (curl,) = [
        block for block in blocks("../reference/open-inference-protocol.md") if block.text.startswith("curl ")
    ]

    assert ":7:7" in run(curl, tmp_path, addresses)


def test_the_curls_of_the_operators_guide_are_answered(published: Path, tmp_path: Path) -> None:
    """
    Readiness, and a load, at the operators' port.
    """
    (curls,) = [block for block in blocks("../how-to/operators-port.md") if block.text.startswith("curl ")]
    port = free_port()
    with running(published, "--no-access-log", "--admin-port", str(port)):
        printed = run(curls, tmp_path, {_SECOND_PORT: f"127.0.0.1:{port}"})

    assert '"status":"ready"' in printed
    assert '"state":"READY"' in printed


def test_the_command_of_the_guide_on_keys_makes_a_key(tmp_path: Path) -> None:
    """
    The key, and the line of the key file.
    """
    printed = run(blocks("../how-to/keys.md")[0], tmp_path, {})

    assert "sha256:" in printed
    assert "rights=predict,read" in printed


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("INKLING_DATA"), reason="INKLING_DATA names no folder")
def test_the_tutorial_on_training_publishes_a_network_that_is_served(tmp_path: Path) -> None:
    """
    The real MNIST, one epoch; the page's service is started where the page starts it.
    """
    page = follow("train.md", tmp_path, addresses := dict[str, str]())

    assert next(page).text == "make data\n"
    start = next(page)
    assert start.text == ".venv/bin/python -m service --models runs/models --port 8001\n"
    with running(tmp_path / "runs" / "models", "--no-access-log") as process:
        addresses[_SECOND_PORT] = f"127.0.0.1:{process.port}"
        rest = list(page)

    assert [block.text.split()[2:5] for block in rest] == [["training", "fit", "mlp-128"]]


@pytest.mark.slow
def test_the_tutorial_on_own_data_publishes_a_network_that_is_served(tmp_path: Path) -> None:
    """
    Thirty pictures of leaves; the page's service is started where the page starts it.
    """
    page = follow("own-data.md", tmp_path, addresses := dict[str, str]())

    assert next(page).text == ".venv/bin/python -m service --models runs/own-models --port 8001\n"
    with running(tmp_path / "runs" / "own-models", "--no-access-log") as process:
        addresses[_SECOND_PORT] = f"127.0.0.1:{process.port}"
        rest = list(page)

    assert [block.text.split()[2:5] for block in rest] == [["training", "fit", "--data"]]


def test_every_tutorial_is_followed() -> None:
    """
    A new page needs a test above.
    """
    assert {path.name for path in TUTORIALS.glob("*.md")} == {
        "README.md",
        "draw-and-see-why.md",
        "first-request.md",
        "own-data.md",
        "own-digits.md",
        "train.md",
    }
