"""`models`: verify the published folders, and write their table and checksums."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from service.core.artifact import artifact, checksums
from training.data.data_sets import DataSet
from training.publishing import catalogue

CATALOGUE_FILE = "README.md"
"""In the models folder: the table of published networks."""


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:  # noqa: ARG001 - one signature for all commands
    """Verify every published folder, then write `README.md` and `SHA256SUMS`."""
    root: Path = arguments.models
    page = catalogue.page(root)
    (root / CATALOGUE_FILE).write_text(page, encoding="utf-8")
    checksums.update(root, artifact.versions(root))
    for name, versions in artifact.versions(root).items():
        print(f"{name:<12}{', '.join(versions)}: verified")
    print(f"Wrote {root / CATALOGUE_FILE} and {root / checksums.CHECKSUMS_FILE}.")
