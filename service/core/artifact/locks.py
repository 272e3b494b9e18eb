"""Advisory locks on folders (flock); the system releases them when the process ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder, waiting for it.

    Does nothing where the platform or the file system has no such locks.

    Args:
        folder: An existing folder; it may be renamed while locked.
    """
    descriptor = _lock(folder, 0) if sys.platform != "win32" else None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def try_locked(folder: Path) -> Iterator[bool]:
    """Hold the exclusive lock of a folder if it is free.

    Args:
        folder: An existing folder, not a link.

    Yields:
        Whether the lock is held: False if another holder has it, or where there are no such locks.

    Raises:
        OSError: There is no such folder.
    """
    descriptor = _lock(folder, os.O_NOFOLLOW, fcntl.LOCK_NB) if sys.platform != "win32" else None
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


if sys.platform != "win32":

    def _lock(folder: Path, flags: int, operation: int = 0) -> int | None:
        """Return an open descriptor that holds the lock, or None."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | operation)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor
