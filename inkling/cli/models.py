"""Command `inkling models`: lists the published networks of a folder."""

from pathlib import Path
from typing import Any

from inkling.cli import table
from service.core.artifact import artifact
from service.core.errors import ArtifactError
from service.core.wording import shape_text

_COLUMNS = ("name", "versions", "input", "classes", "parameters", "description", "error")


def run(folder: Path, form: str) -> int:
    """Write one row per network to standard output: its newest version.

    Args:
        folder: The models folder.
        form: `table` or `json`.

    Returns:
        The exit status: 1 if a folder is not valid; its row has the error.
    """
    rows = [
        {"name": name, "versions": ", ".join(versions), **_describe(folder, name, versions)}
        for name, versions in artifact.versions(folder).items()
    ]
    table.write(rows, _COLUMNS, form)
    return int(any("error" in row for row in rows))


def _describe(folder: Path, name: str, versions: list[str]) -> dict[str, Any]:
    if not versions:
        return {"error": "its folder cannot be read"}
    try:
        manifest = artifact.read(folder, name, versions[-1]).manifest
    except ArtifactError as error:
        return {"error": str(error)}
    return {
        "input": shape_text(manifest.input.shape[1:]),
        "classes": len(manifest.labels),
        "parameters": manifest.parameters,
        "description": manifest.description,
    }
