"""Connections at a port of this process are found, closed and limited."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from service.grpc.limits.clients import Client, of_address
from service.grpc.limits.connections import Connections

PATIENCE_S = 10.0


@contextmanager
def connected(*addresses: str) -> Iterator[tuple[int, list[socket.socket], list[socket.socket]]]:
    """Yield a port with connections from some addresses of this machine, and both ends of each."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        port = listening.getsockname()[1]
        clients, served = [], []
        for address in addresses:
            client = socket.create_connection(
                ("127.0.0.1", port), timeout=PATIENCE_S, source_address=(address, 0)
            )
            clients.append(stack.enter_context(client))
            served.append(stack.enter_context(listening.accept()[0]))
        yield port, clients, served


def name(client: socket.socket) -> Client:
    """Return a connection's client."""
    return of_address(*client.getsockname()[:2])


def is_closed(client: socket.socket) -> bool:
    """Return whether the other end was closed."""
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def idle(client: Client) -> bool:
    """No connection has calls."""
    del client
    return False


def test_connections_of_the_port_are_found() -> None:
    with connected("127.0.0.1", "127.0.0.1") as (port, clients, _), connected("127.0.0.1"):
        found = Connections(port, 10).clients()

        assert {client.connection for client in found} == {name(client).connection for client in clients}


def descriptors() -> list[str]:
    """Return the numbers of this process's descriptors."""
    return sorted(path.name for path in Path("/dev/fd").iterdir())


def test_no_descriptor_leaks() -> None:
    """
    Also not of files and pipes.
    """
    with connected("127.0.0.1") as (port, clients, _), Path(__file__).open(encoding="utf-8"):
        before = descriptors()
        connections = Connections(port, 0)
        for _ in range(3):
            connections.clients()
            connections.trim(idle)
            connections.close([name(clients[0])])

        assert descriptors() == before


def test_only_the_given_connection_is_closed() -> None:
    with connected("127.0.0.1", "127.0.0.1") as (port, (first, second), served):
        connections = Connections(port, 10)

        assert connections.close([name(first)]) == 1
        assert connections.close([of_address("192.0.2.1", 1)]) == 0

        assert is_closed(first)
        assert not is_closed(second)
        assert served[0].fileno() >= 0  # who owns the socket still does


def test_connections_above_the_limit_are_closed() -> None:
    """
    None is closed at the limit.
    """
    with connected(*["127.0.0.1"] * 20) as (port, clients, _):
        assert Connections(port, 20).trim(idle) == 0
        assert Connections(port, 15).trim(idle) == 5

        assert sum(map(is_closed, clients)) == 5


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="needs Linux's many loopback addresses")
def test_idle_connections_of_the_busiest_address_are_closed_first() -> None:
    many, few = ["127.0.0.2"] * 10, ["127.0.0.3"] * 2
    with connected(*few, *many) as (port, clients, _):
        busy = {name(client).connection for client in clients[2:8]}

        closed = Connections(port, 8).trim(lambda client: client.connection in busy)

        assert closed == 4
        assert [is_closed(client) for client in clients] == [False] * 8 + [True] * 4
