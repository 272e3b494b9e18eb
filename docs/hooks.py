"""MkDocs hooks: pages outside docs/, files that pages link to, and the navigation of decisions.

Pages link to files of the repository by relative paths, so that the links work in the repository as well.
On the site, pages of `PAGES` have the paths given there; other files outside docs/ are copied to `source/`.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

PAGES = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "README.md",
    "models/README.md": "reference/networks.md",
}
"""Files of the repository that are pages of the site, by path; README.md is replaced by the start page."""

ASSETS = {"service/static/icon.svg": "images/icon.svg"}

_SOURCES = {uri: ROOT / path for path, uri in PAGES.items() if path != "README.md"}

_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[#)])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add every decision to the navigation."""
    (decisions,) = [entry["Decisions"] for entry in config.nav or () if "Decisions" in entry]
    decisions += [f"decisions/{path.name}" for path in sorted((DOCS / "decisions").glob("[0-9]*.md"))]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages and linked files from outside docs/."""
    added = {**_SOURCES, **{uri: ROOT / path for path, uri in ASSETS.items()}}
    for page in [*DOCS.rglob("*.md"), *_SOURCES.values()]:
        for link in _LINK.findall(page.read_text("utf-8")):
            target = _target(page, link)
            if not target.is_relative_to(DOCS) and target.is_file() and _uri(target) not in PAGES.values():
                added[_uri(target)] = target
    for uri, path in added.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs passes four arguments
    """Replace the links of a page by the paths of their targets on the site."""
    uri = page.file.src_uri
    source = _SOURCES.get(uri, DOCS / uri)

    def place(link: re.Match[str]) -> str:
        target = _target(source, link[1])
        return os.path.relpath(_uri(target), Path(uri).parent) if target.exists() else link[1]

    return _LINK.sub(place, markdown)


def _target(page: Path, link: str) -> Path:
    """Return the file that a page links to; for a folder its README.md."""
    target = (page.parent / link).resolve()
    return target / "README.md" if target.is_dir() else target


def _uri(target: Path) -> str:
    """Return the path of a file on the site."""
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    path = target.relative_to(ROOT).as_posix()
    return PAGES.get(path, f"source/{path}")
