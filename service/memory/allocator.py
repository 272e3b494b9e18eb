"""How the C library's allocator gives memory back."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_LARGE_BYTES = 2**20
"""Blocks from this size on are mapped one by one, and unmapped when they are freed."""

_MOST_ARENAS = 2


def bound() -> None:
    """Let freed memory go back to the system: what one request took must be there for the next.

    By default glibc raises the size from which it maps a block by itself whenever a larger one is freed, up
    to 32 MB, and keeps smaller ones in an arena for each thread: after one request of 16 MB a process kept up
    to 170 MB. With fixed thresholds it kept 5 to 20 MB. Does nothing where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_ARENA_MAX, _MOST_ARENAS)
