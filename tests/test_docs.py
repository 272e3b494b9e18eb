import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.conftest import REPOSITORY
from tests.digits import DIGITS, canvas

DOCUMENTS = sorted(
    path
    for pages in (REPOSITORY.glob("*.md"), REPOSITORY.glob("docs/**/*.md"), REPOSITORY.glob("models/*.md"))
    for path in pages
)


def curls() -> list[list[str]]:
    """Return the README's curl commands, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("curl ")]


def path_of(words: list[str]) -> str:
    """Return the path that a curl command asks for."""
    address = next(word for word in words if word.startswith("http://"))
    return address.removeprefix("http://127.0.0.1:8000")


def test_the_first_curl_of_the_readme_gets_the_answer_that_stands_below_it(real_client: TestClient) -> None:
    """
    The README's drawing is a seven, and the shown answer begins as the real one does.
    """
    words = curls()[0]
    shown = re.search(r"```json\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)

    answer = real_client.post(path_of(words), json=json.loads(words[words.index("-d") + 1]))

    assert answer.json()["predictions"][0]["label"] == "7"
    assert shown is not None
    assert answer.text.startswith(shown[1].split("…")[0])


def test_the_curl_of_the_readme_that_sends_a_picture_names_the_digit(real_client: TestClient) -> None:
    """
    A form with one PNG of a drawn digit is answered.
    """
    words = next(words for words in curls() if "-F" in words)
    field, _, _ = words[words.index("-F") + 1].partition("=@")
    picture = canvas(DIGITS["3"][0])

    answer = real_client.post(path_of(words), files={field: ("digit.png", _png(picture), "image/png")})

    assert answer.json()["predictions"][0]["label"] == "3"


def test_the_curl_of_the_readme_that_asks_for_weights_gets_a_picture(real_client: TestClient) -> None:
    """
    The weight image exists under the path that the README names.
    """
    words = next(words for words in curls() if "-o" in words)

    answer = real_client.get(path_of(words))

    assert answer.headers["content-type"] == "image/png"


def test_the_targets_that_the_readme_names_are_in_the_makefile() -> None:
    """
    Every `make …` of the README is a target.
    """
    text = (REPOSITORY / "README.md").read_text() + (REPOSITORY / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`?\bmake ([a-z-]+)", "\n".join(re.findall(r"`[^`]+`|^make .*$", text, re.M))))

    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))

    assert named
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_to_files_lead_to_files(document: Path) -> None:
    """
    What a document links to in the repository is there.
    """
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())

    missing = [link for link in links if not (document.parent / link).exists()]

    assert missing == []


def test_the_tests_that_the_pages_name_exist() -> None:
    """
    Every test file that a page names is there, and in it every test that the page names with it.
    """
    missing, named = [], 0
    for document in DOCUMENTS:
        for file, test in re.findall(r"\b(tests/[\w/]+\.py)(?:::(\w+))?", document.read_text()):
            path = REPOSITORY / file
            named += 1
            if not path.is_file():
                missing.append(f"{document.name}: {file}")
            elif test and not re.search(rf"^\s*(?:async )?def {test}\(", path.read_text(), re.MULTILINE):
                missing.append(f"{document.name}: {file}::{test}")

    assert missing == []
    assert named > 50


def test_generated_documents_are_current() -> None:
    """
    `make docs` would change nothing.
    """
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_metric_is_in_the_reference() -> None:
    """
    Every name of a metric in the service's code is on the generated page.
    """
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    code = "\n".join(path.read_text() for path in (REPOSITORY / "service").rglob("*.py"))

    named = set(re.findall(r'"(inkling_[a-z_]+)"', code))

    assert len(named) >= 9
    assert {name for name in named if not re.search(rf"`{name}(_total)?`", page)} == set()


def test_every_dependency_has_an_exact_version() -> None:
    """
    What `pyproject.toml` asks for as a range stands in `constraints.txt` as one version.
    """
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {_normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in asked}

    lines = (REPOSITORY / "constraints.txt").read_text().split()

    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    assert names <= {_normal(line.partition("==")[0]) for line in lines}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
