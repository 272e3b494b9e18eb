"""Checkpoints: the state of a fit on disk, from which an interrupted fit resumes with the same bits."""

import io
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


class Checkpoint:
    """A file with the newest state of one fit."""

    def __init__(self, path: Path, key: str, notice: Callable[[str], None]) -> None:
        """Name a checkpoint; nothing is read or written yet.

        Args:
            path: Path of the file; its folder is created at the first write.
            key: Identifies recipe, seed, data, code and library; a state with another key is not used.
            notice: Called with a message if the file cannot be used.
        """
        self._path = path
        self._key = key
        self._notice = notice

    def read(self) -> dict[str, Any] | None:
        """Return the newest state, or None if there is none for this fit."""
        if not self._path.is_file():
            return None
        try:
            # weights_only: the file cannot execute code
            found = torch.load(self._path, weights_only=True)
            key, state = found["key"], found["state"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
            self._notice(f"{self._path.name} is no valid checkpoint; the fit starts from the beginning")
            return None
        if key != self._key:
            self._notice(
                f"{self._path.name} is of another recipe, data or code; the fit starts from the beginning"
            )
            return None
        return dict(state)

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the state on disk atomically.

        Raises:
            OSError: The file cannot be written.
        """
        content = io.BytesIO()  # torch reports a full disk as a RuntimeError, so it does not write the file
        torch.save({"key": self._key, "state": dict(state)}, content)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=".writing-", delete=False) as target:
            temporary = Path(target.name)
        try:
            temporary.write_bytes(content.getvalue())
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the file if it exists."""
        self._path.unlink(missing_ok=True)
