"""Transports without sockets, for clients that read slowly, or everything at once."""

import asyncio
from dataclasses import dataclass
from typing import Any, cast

PEER = ("192.0.2.7", 5000)


class Transport(asyncio.Transport):
    """Transport to a client that reads output when a test says so.

    Attributes:
        protocol: The protocol; set before anything is written.
        received: Bytes that the client has read.
        unsent: Written bytes that it has not read.
        accepts: Whether the client reads output at once.
        reads: Whether reading of input is not paused.
        has_ended_output: Whether `write_eof` was called.
        is_lost: Whether `connection_lost` was called.
    """

    def __init__(self, *, is_tls: bool = False) -> None:
        super().__init__()
        self.protocol = cast("asyncio.Protocol", None)
        self.received = b""
        self.unsent = b""
        self.accepts = True
        self.reads = True
        self.has_ended_output = False
        self.is_lost = False
        self._is_closing = False
        self._is_tls = is_tls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_ended_output, "nothing is written after the end of the output"
        if self._is_closing or not data:
            return
        if self.accepts and not self.unsent:
            self.received += bytes(data)
            return
        was_empty = not self.unsent
        self.unsent += bytes(data)
        if was_empty:
            self.protocol.pause_writing()

    def read(self, size: int | None = None) -> None:
        """Let the client read unsent bytes; all if `size` is None."""
        size = len(self.unsent) if size is None else size
        had = bool(self.unsent)
        self.received += self.unsent[:size]
        self.unsent = self.unsent[size:]
        if had and not self.unsent:
            if not self.is_lost:
                self.protocol.resume_writing()
            if self._is_closing:
                self._lose()

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self.unsent:
                self._lose()

    def abort(self) -> None:
        self._is_closing = True
        self.unsent = b""
        self._lose()

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - the type of asyncio
        if name == "sslcontext":
            return object() if self._is_tls else default
        return {"peername": PEER, "sockname": ("192.0.2.1", 80)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (1 if self._is_tls else 0, 0)

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def pause_reading(self) -> None:
        assert self.reads, "reading was paused already"
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads, "reading was not paused"
        self.reads = True

    def can_write_eof(self) -> bool:
        return not self._is_tls

    def write_eof(self) -> None:
        assert not self._is_tls
        self.has_ended_output = True


@dataclass(eq=False)
class ReadingClient(asyncio.Transport):
    """Transport to a client that reads everything at once; calls nothing of the protocol.

    Attributes:
        written: All output.
        has_ended: Whether the service closed the connection, or its side of it.
        reads: Whether reading of input is not paused.
    """

    written: bytes = b""
    has_ended: bool = False
    reads: bool = True
    _is_closing: bool = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_ended, "nothing should be written after the end"
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.has_ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.has_ended = self._is_closing = True

    abort = close

    def is_closing(self) -> bool:
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - the type of asyncio
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True
