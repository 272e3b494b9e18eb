"""Encodes HTTP/2 frames that a client library would not send (RFC 9113, RFC 7541)."""

import socket
import struct
import threading
from contextlib import suppress

SERVICE = "/inference.GRPCInferenceService"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4
CANCEL = 8

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name: bytes, value: bytes) -> bytes:
    """Return a literal header field without indexing; name and value have less than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(method: str) -> bytes:
    """Return the header block of a call: of a method of our service, or of a path."""
    path = method if method.startswith("/") else f"{SERVICE}/{method}"
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b":authority": b"x",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    return b"".join(field(name, value) for name, value in fields.items())


def message(content: bytes, stream: int, size: int = 16_384) -> bytes:
    """Return the frames of a gRPC message that ends the stream."""
    prefixed = b"\x00" + struct.pack(">I", len(content)) + content
    pieces = [prefixed[at : at + size] for at in range(0, len(prefixed), size)]
    return b"".join(
        frame(DATA, END_STREAM if at == len(pieces) - 1 else 0, stream, piece)
        for at, piece in enumerate(pieces)
    )


def begin(method: str, stream: int) -> bytes:
    """Return the frame that starts a call without a message."""
    return frame(HEADERS, END_HEADERS, stream, head(method))


def connect(port: int, settings: bytes = b"", is_read: bool = True) -> socket.socket:
    """Return a connection whose settings are exchanged.

    Args:
        port: Of 127.0.0.1.
        settings: Payload of the frame SETTINGS.
        is_read: Whether what the server sends is read, and dropped, by a thread.
    """
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(_PREFACE + frame(SETTINGS, 0, 0, settings) + frame(SETTINGS, ACK, 0))
    if is_read:
        threading.Thread(target=_drain, args=(connection,), daemon=True).start()
    return connection


def setting(identifier: int, value: int) -> bytes:
    """Return a setting."""
    return struct.pack(">HI", identifier, value)


def _drain(connection: socket.socket) -> None:
    with suppress(OSError):
        while connection.recv(65_536):
            pass
