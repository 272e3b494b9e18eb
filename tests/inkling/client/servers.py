"""Servers that answer as a test wants: HTTP with chosen responses, or anything over a socket."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

SUMMARY: dict[str, Any] = {
    "name": "toy",
    "version": "3",
    "versions": ["3"],
    "description": "A toy.",
    "input": [28, 28],
    "labels": ["a", "b"],
    "limits": {"images": 4, "body_bytes": 100_000, "picture_pixels": 1_000_000, "points": 100},
}

PREDICTION: dict[str, Any] = {
    "label": "a",
    "index": 0,
    "confidence": 0.75,
    "top": [{"label": "a", "probability": 0.75}],
}


@dataclass
class Received:
    """What a server has received.

    Attributes:
        heads: Head of every request.
        bodies: Body of every request.
    """

    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


def response(status: int, body: object = b"", *headers: str) -> bytes:
    """Return a response; a body that is not bytes is JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def problem(status: int, *headers: str) -> bytes:
    """Return an error response with a problem document."""
    document = {"type": "/problems/some-kind", "title": "T", "detail": "D", "request_id": "r1"}
    return response(status, document, "Content-Type: application/problem+json", *headers)


def predictions(count: int, **changed: object) -> bytes:
    """Return the response of `predict` to some images."""
    return response(200, {"model": "toy", "version": "3", "predictions": [PREDICTION] * count} | changed)


Reply = Callable[[int, str, bytes], bytes]
"""Returns a response to the n-th request for predictions, given its head and body."""


@contextmanager
def http(reply: Reply, info: bytes | None = None) -> Iterator[tuple[str, Received]]:
    """Run a server; yield its address and what it receives.

    Args:
        reply: Response to each POST.
        info: Response to each GET; None describes the toy.
    """
    received = Received()
    summary = info or response(200, {**SUMMARY, "default": "toy", "models": [SUMMARY]})

    def serve(connection: socket.socket) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                data = connection.recv(65_536)
                if not data:
                    return
                buffer += data
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            text = head.decode("latin-1")
            lines = [line.lower() for line in text.splitlines()]
            size = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length")), 0)
            while len(buffer) < size:
                buffer += connection.recv(65_536)
            body, buffer = buffer[:size], buffer[size:]
            if text.startswith("GET"):
                connection.sendall(summary)
                continue
            received.heads.append(text)
            received.bodies.append(body)
            connection.sendall(reply(len(received.heads) - 1, text, body))

    with tcp(serve) as url:
        yield url, received


@contextmanager
def tcp(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that hands each connection to a function, in a thread; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
