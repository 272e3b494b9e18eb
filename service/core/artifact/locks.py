"""Advisory locks on folders, which the system releases when their holder ends, however it ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder, waiting for whoever holds it.

    Does nothing where the system or the file system has no such locks.

    Args:
        folder: It must be there; it may be renamed while it is locked.
    """
    descriptor = _lock(folder, 0) if sys.platform != "win32" else None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def try_locked(folder: Path) -> Iterator[bool]:
    """Hold the exclusive lock of a folder if nobody else does.

    Args:
        folder: It must be there, and be no link.

    Yields:
        Whether it is held: False where another process or another part of this one holds it, or where the
        system or the file system has no such locks.

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
