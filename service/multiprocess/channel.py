"""Message channel between the supervisor and one worker, over a pair of connected UNIX stream sockets.

A message is a JSON object on one line. At most one socket may be passed with it (SCM_RIGHTS).
"""

import json
import os
import socket
from array import array
from collections import deque
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]

_CHUNK_BYTES = 65_536
_MAX_SOCKETS = 64
"""Maximum number of sockets that one read receives; each message has at most one."""


class Channel:
    """One end of the channel. Neither `send` nor `receive` ever blocks.

    Attributes:
        is_closed: Whether the other end is closed and everything that it sent was received.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._outgoing: deque[tuple[bytes, socket.socket | None]] = deque()
        self._incoming = b""
        self._received: deque[socket.socket | None] = deque()
        self._is_broken = False  # the other end is closed
        self.is_closed = False

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Return two connected ends."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """Return the file descriptor, for a selector or an event loop."""
        return self._socket.fileno()

    @property
    def pending_bytes(self) -> int:
        """Size of the messages that are not sent yet; if not 0, call `flush` when writable."""
        return sum(len(data) for data, _ in self._outgoing)

    def send(self, message: Message, passed: socket.socket | None = None) -> None:
        """Send a message, now or with a later `flush`; discard it if the other process has ended.

        Args:
            message: A JSON object.
            passed: A socket to pass to the other end, as a new file descriptor.
        """
        line = json.dumps({**message, "passes_socket": True} if passed else message).encode() + b"\n"
        self._outgoing.append((line, passed))
        self.flush()

    def flush(self) -> None:
        """Send as much as possible without blocking."""
        try:
            while self._outgoing and not self._is_broken:
                data, passed = self._outgoing[0]
                sent = self._send(data, passed)
                self._outgoing.popleft()
                if sent < len(data):
                    self._outgoing.appendleft((data[sent:], None))  # the descriptor went with the first byte
        except BlockingIOError:
            return
        except OSError:
            self._is_broken = True
        if self._is_broken:
            self._outgoing.clear()

    def receive(self) -> list[tuple[dict[str, Any], socket.socket | None]]:
        """Return the messages that have arrived, each with the socket that was passed with it."""
        while not self.is_closed:
            try:
                data = self._read()
            except BlockingIOError:
                break
            except OSError:  # reset
                data = b""
            if not data:
                self.is_closed = True
            self._incoming += data
        *lines, self._incoming = self._incoming.split(b"\n")
        messages = []
        for line in lines:
            message = json.loads(line)
            passes_socket = message.pop("passes_socket", False)
            messages.append((message, self._received.popleft() if passes_socket and self._received else None))
        return messages

    def close(self) -> None:
        """Close this end, and every received socket that `receive` has not returned."""
        self.is_closed = self._is_broken = True
        self._outgoing.clear()
        while self._received:
            if received := self._received.popleft():
                received.close()
        self._socket.close()

    def _send(self, data: bytes, passed: socket.socket | None) -> int:
        if passed is None or passed.fileno() < 0:  # it was closed meanwhile
            return self._socket.send(data)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [passed.fileno()]))
        return self._socket.sendmsg([data], [rights])

    def _read(self) -> bytes:
        """Read a chunk; a socket is None if this process is out of file descriptors."""
        data, descriptors, flags, _ = socket.recv_fds(self._socket, _CHUNK_BYTES, _MAX_SOCKETS)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            self._received.append(socket.socket(fileno=descriptor))
        if flags & socket.MSG_CTRUNC and not descriptors:
            self._received.append(None)
        return data
