"""Size-limited reads of files, and stamps to detect changes."""

import stat
from pathlib import Path


def read_file(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of limited size.

    Args:
        path: Path of the file.
        max_bytes: Maximum size in bytes.

    Raises:
        OSError: It does not exist, is not a regular file, is too large, or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
        raise OSError("not a file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"more than {max_bytes:,} bytes")
    return content


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Return modification time (ns), size (bytes) and inode of a file, which change when it does.

    None if they cannot be read.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
