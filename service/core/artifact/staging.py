"""Staging folders: where a version is written before it is renamed to its number.

Their names are no versions, so readers pass them over. A publisher that is killed leaves one behind; the next
one removes it.
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
"""Age in seconds, by its last change, from which a folder that nobody holds may be removed. Writing one takes
seconds. Beside the lock it spares the folders of publishers whose locks are not seen here, as on some network
file systems."""


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Make a staging folder and hold it locked; remove it in the end, unless it was renamed.

    Args:
        parent: A model's folder.

    Raises:
        OSError: It cannot be made.
    """
    with ExitStack() as held:
        with locked(parent):  # so that a sweep never sees a folder that is made but not locked yet
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            held.enter_context(locked(folder))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        yield folder


def sweep(root: Path) -> list[Path]:
    """Remove the staging folders that killed publishers left behind.

    Removed is what bears the name of a staging folder, has not changed for an hour, and is locked by no
    process. What cannot be removed stays.

    Args:
        root: The models folder.

    Returns:
        What was removed.
    """
    removed = []
    for folder in sorted(root.glob(f"*/{PREFIX}*")):
        try:
            with locked(folder.parent), try_locked(folder) as is_held:
                if is_held and time.time() - folder.stat().st_mtime > STALE_S:
                    shutil.rmtree(folder)
                    removed.append(folder)
        except OSError:  # a file or a link of that name, or it went meanwhile
            continue
    return removed
