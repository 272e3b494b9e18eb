"""Addresses of a socket, and the bytes that the kernel holds of it."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING

if sys.platform == "linux":
    import fcntl
    import termios

if TYPE_CHECKING:
    import asyncio
    import socket
    from typing import Literal


def address(transport: asyncio.BaseTransport, end: Literal["peername", "sockname"]) -> tuple[str, int] | None:
    """Return host and port of one end of a connection; None if it has none, as a Unix socket."""
    name = transport.get_extra_info(end)
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return None


def unacknowledged_bytes(connection: socket.socket | None) -> int:
    """Return how many written bytes the peer has not acknowledged; 0 if unknown."""
    return _queued_bytes(connection, termios.TIOCOUTQ) if sys.platform == "linux" else 0


def unread_bytes(connection: socket.socket | None) -> int:
    """Return how many received bytes were not read; 0 if unknown."""
    return _queued_bytes(connection, termios.FIONREAD) if sys.platform == "linux" else 0


def _queued_bytes(connection: socket.socket | None, request: int) -> int:
    size = array("i", [0])
    if connection is None or sys.platform != "linux":
        return 0
    try:
        fcntl.ioctl(connection.fileno(), request, size)
    except OSError:
        return 0
    return size[0]
