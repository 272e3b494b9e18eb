"""What the operating system holds of a connection, in bytes."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING

if sys.platform == "linux":
    import fcntl
    import termios

if TYPE_CHECKING:
    import socket


def unacknowledged_bytes(connection: socket.socket | None) -> int:
    """Return how many bytes were written that the other end has not acknowledged; 0 if it cannot be told."""
    return _ask(connection, termios.TIOCOUTQ) if sys.platform == "linux" else 0


def unread_bytes(connection: socket.socket | None) -> int:
    """Return how many bytes have arrived that were not read; 0 if it cannot be told."""
    return _ask(connection, termios.FIONREAD) if sys.platform == "linux" else 0


def _ask(connection: socket.socket | None, request: int) -> int:
    size = array("i", [0])
    if connection is None or sys.platform != "linux":
        return 0
    try:
        fcntl.ioctl(connection.fileno(), request, size)
    except OSError:
        return 0
    return size[0]
