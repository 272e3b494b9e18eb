import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.settings import Settings
from tests.conftest import REPOSITORY

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


def test_the_curl_of_the_readme_gets_the_answer_that_stands_below_it(real_client: TestClient) -> None:
    """
    The README's drawing is a seven, and the shown answer begins as the real one does.
    """
    words = curls()[0]
    shown = re.search(r"```json\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)

    answer = real_client.post(path_of(words), json=json.loads(words[words.index("-d") + 1]))

    assert answer.json()["predictions"][0]["label"] == "7"
    assert shown is not None
    assert answer.text.startswith(shown[1].split("…")[0])


def test_the_readme_fits_two_screens() -> None:
    """
    What a reader of it does not need first is a page under docs/.
    """
    lines = (REPOSITORY / "README.md").read_text().splitlines()

    assert len(lines) <= 80


def test_the_targets_that_the_pages_name_are_in_the_makefile() -> None:
    """
    Every `make …` of a page is a target.
    """
    pages = [path for path in DOCUMENTS if path.parent.name != "decisions" and path.name != "CHANGELOG.md"]
    text = "\n".join(path.read_text() for path in pages)
    named = set(re.findall(r"`?\bmake ([a-z-]+)", "\n".join(re.findall(r"`[^`\n]+`|^make .*$", text, re.M))))

    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))

    assert named
    assert named <= targets


def commands(module: str) -> list[list[str]]:
    """Return the arguments of every `python -m MODULE` in a shell block of a page."""
    blocks = [
        block for path in DOCUMENTS for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
    ]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.fullmatch(rf"(?:\.venv/bin/)?python -m {module}\b(.*)", line) for line in lines]
    return [shlex.split(match[1]) for match in found if match]


def test_the_trainers_commands_in_the_pages_are_valid() -> None:
    """
    Each is accepted by the trainer's parser.
    """
    parser = pytest.importorskip("training.cli.parser", exc_type=ImportError)
    found = commands("training")

    assert found
    for arguments in found:
        if "--help" not in arguments:
            parser.parse(arguments)


def test_the_settings_in_the_pages_commands_exist() -> None:
    """
    Each flag of `python -m service` is a setting; `key` is a command of its own.
    """
    found = [arguments for arguments in commands("service") if arguments[:1] != ["key"]]
    flags = {word for arguments in found for word in arguments if word.startswith("--")}

    assert flags
    assert flags <= {f"--{name.replace('_', '-')}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; skipped where MkDocs is not installed."""
    pytest.importorskip("mkdocs", reason="MkDocs is not installed: the extra docs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page(site: Path) -> None:
    """
    Those under docs/, and those at the root of the repository; the build fails at a broken link.
    """
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}

    pages = [path.relative_to(REPOSITORY / "docs") for path in (REPOSITORY / "docs").rglob("*.md")]
    expected = {str(page.with_suffix(".html")).replace("README", "index") for page in pages}
    assert expected <= built
    assert {"explanation/architecture.html", "contributing.html", "reference/networks.html"} <= built


def test_reading_the_site_asks_no_other_host(site: Path) -> None:
    """
    No script, style sheet, font or picture comes from elsewhere; links are followed by readers alone.
    """
    fetched = re.compile(
        r"<(?:script|img|source|iframe|link)\b[^>]*?(?:src|srcset|href)=\"?(?:https?:)?//[^>]*>"
    )
    foreign = [
        (page.name, tag)
        for page in site.rglob("*.html")
        for tag in fetched.findall(page.read_text())
        if 'rel="canonical"' not in tag
    ]
    styles = [
        path.name for path in site.rglob("*.css") if re.search(r"url\(\W?(https?:)?//", path.read_text())
    ]

    assert foreign == []
    assert styles == []


def test_files_outside_of_the_pages_can_be_read_on_the_site(site: Path) -> None:
    """
    The site has a copy of each file that a page links to.
    """
    assert (site / "source" / "deploy" / "nginx" / "inkling.conf").is_file()
    assert "../source/deploy/nginx/inkling.conf" in (site / "how-to" / "proxies.html").read_text()


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
