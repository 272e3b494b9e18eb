"""A running server, and connections to it."""

from collections.abc import Iterator

import pytest

from service.server.http_server import Server
from service.settings import Settings
from tests.service.http.server.connection.client import Connect, RawClient, is_alive, serving, wait_until


@pytest.fixture(scope="module")
def running(toy_settings: Settings) -> Iterator[tuple[int, Server]]:
    """Port of the server of this module, and the server."""
    with serving(toy_settings) as found:
        yield found


@pytest.fixture(scope="module")
def port(running: tuple[int, Server]) -> int:
    """Port of the server of this module."""
    return running[0]


@pytest.fixture
def connect(running: tuple[int, Server]) -> Iterator[Connect]:
    """Open connections, which are closed after the test; then the service must still answer.

    It begins when the service has noticed that those of the test before are closed, as it takes few at once.
    """
    port, server = running
    opened: list[RawClient] = []
    wait_until(lambda: len(server.connections) == 0)

    def connect(*, is_narrow: bool = False) -> RawClient:
        opened.append(RawClient(port, is_narrow=is_narrow))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.__exit__()
    wait_until(lambda: is_alive(port))
