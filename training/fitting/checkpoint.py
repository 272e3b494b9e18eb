"""Where a fit stands, on disk, so that an interrupted one goes on with the same bits.

What the state contains is `fit`'s affair.
"""

import io
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Notice = Callable[[str], None]
"""Takes a line for the person at the terminal."""


class Checkpoint:
    """One file that holds the newest state of one fit."""

    def __init__(self, path: Path, key: str, notice: Notice) -> None:
        """Name a checkpoint; nothing is read or written yet.

        Args:
            path: Of the file; its folder is made when the first state is written.
            key: What a fit must have in common with this one to go on from the same state: recipe,
                seed, data, code and library.
            notice: Told when a state on disk cannot be used.
        """
        self._path = path
        self._key = key
        self._notice = notice

    def read(self) -> dict[str, Any] | None:
        """Return the newest state, or None where there is none for this fit."""
        if not self._path.is_file():
            return None
        try:
            # weights_only keeps the file from running code of its own
            found = torch.load(self._path, weights_only=True)
            key, state = found["key"], found["state"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
            self._notice(f"{self._path.name} cannot be read as a checkpoint; beginning anew")
            return None
        if key != self._key:
            self._notice(f"{self._path.name} is of another recipe, data or code; beginning anew")
            return None
        return dict(state)

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the state on disk, all of it or nothing.

        Raises:
            OSError: The file cannot be written.
        """
        content = io.BytesIO()  # by itself torch reports a full disk as a RuntimeError
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
        """Forget the state, where there is one."""
        self._path.unlink(missing_ok=True)
