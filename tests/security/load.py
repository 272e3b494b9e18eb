"""Load generator in its own process: each connection repeats one request as soon as it has a response.

Run as `python -m tests.security.load PORT CONNECTIONS`, with the request on standard input. It prints a line
once every connection is answered, and another with the number of responses when its input ends.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import uvloop

from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_S


class Caller(asyncio.Protocol):
    """Client connection that sends the request again after each response."""

    answered = 0
    connected = 0

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._missing = -1  # bytes of the response; -1 before its head
        self._head = b""
        self._is_new = True
        self.connection: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection = cast("asyncio.Transport", transport)
        self.connection.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head += data
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._head, self._missing, data = b"", int(length), body
        self._missing -= len(data)
        if not self._missing:
            self._missing = -1
            Caller.answered += 1
            Caller.connected += self._is_new
            self._is_new = False
            self.connection.write(self._request)


async def run(port: int, connections: int, request: bytes) -> None:
    """Send requests until standard input ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for _ in range(connections):
        await loop.create_connection(lambda: Caller(request), "127.0.0.1", port)
    async with asyncio.timeout(PATIENCE_S):
        while Caller.connected < connections:
            await asyncio.sleep(0.01)
    print("connected", flush=True)  # noqa: T201
    threading.Thread(
        target=lambda: (sys.stdin.buffer.read(), loop.call_soon_threadsafe(ended.set)), daemon=True
    ).start()
    before = Caller.answered
    await ended.wait()
    print(Caller.answered - before, flush=True)  # noqa: T201


@dataclass
class Load:
    """The result of a load.

    Attributes:
        answered: Responses while it lasted, set when it has ended.
    """

    answered: int = 0


@contextmanager
def load(port: int, connections: int, request: bytes) -> Iterator[Load]:
    """Send load from another process while entered, from when every connection has a first response."""
    command = [sys.executable, "-m", "tests.security.load", str(port), str(connections), str(len(request))]
    found = Load()
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(request)
            process.stdin.flush()
            assert process.stdout.readline() == b"connected\n"
            yield found
            process.stdin.close()
            found.answered = int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    port, connections, size = map(int, sys.argv[1:])
    uvloop.run(run(port, connections, sys.stdin.buffer.read(size)))
