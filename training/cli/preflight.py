"""Checks before the work: folders that can be written, and space for what will be written."""

import shutil
import tempfile
from pathlib import Path

from training.errors import FolderUnusable

_RESERVE_BYTES = 50 * 2**20
"""Space for charts, caches and what other programs write meanwhile."""

_BYTES_PER_PARAMETER = 24
"""Four float32 per parameter in a checkpoint, with its moving average and two of the optimizer; a new one is
written before the old one goes; and two ONNX files."""


def needed_bytes(parameters: int) -> int:
    """Return the space that a fit of a network and its publication may take."""
    return _RESERVE_BYTES + _BYTES_PER_PARAMETER * parameters


def check_folder(folder: Path, needed: int) -> None:
    """Check that files can be written into a folder, which need not exist yet.

    Args:
        folder: The folder.
        needed: Bytes of free space.

    Raises:
        FolderUnusable: The folder cannot be written, or has too little space.
    """
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing, prefix=".inkling-") as trial:
            (Path(trial) / "trial").write_bytes(b"trial")
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise FolderUnusable(folder, "a folder that can be written", error.strerror or str(error)) from error
    if free < needed:
        expected = f"in a place with {needed / 2**20:,.0f} MiB of free space"
        raise FolderUnusable(folder, expected, f"{free / 2**20:,.0f} MiB")
