"""Staging folders, in which a version is written before it is renamed to its number.

Readers ignore them. The next publisher removes those of killed publishers.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from service.core.artifact.locks import locked, try_locked

PREFIX = ".staging-"

STALE_S = 3600
"""Age of an unlocked folder, since its last change, after which it is removed. Writing takes seconds; the age
protects publishers whose locks are not visible, as on some network file systems."""


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Create and lock a staging folder; remove it on exit, unless it was renamed.

    Args:
        parent: A model's folder.

    Raises:
        OSError: It cannot be created.
    """
    with ExitStack() as held:
        with locked(parent):  # so that `sweep` never sees an unlocked new folder
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            held.enter_context(locked(folder))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        yield folder


def sweep(root: Path) -> list[Path]:
    """Remove staging folders that are unlocked and older than `STALE_S`.

    Args:
        root: The models folder.

    Returns:
        The removed folders.
    """
    removed = []
    for folder in sorted(root.glob(f"*/{PREFIX}*")):
        try:
            with locked(folder.parent), try_locked(folder) as is_held:
                if is_held and time.time() - folder.stat().st_mtime > STALE_S:
                    shutil.rmtree(folder)
                    removed.append(folder)
        except OSError:  # a file or link, or removed in the meantime
            continue
    return removed
