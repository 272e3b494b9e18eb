"""Connection, address and network of a client."""

import pytest

from service.grpc.limits.clients import client_of, of_address


@pytest.mark.parametrize(
    ("peer", "connection", "address", "network"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1:5000", "::1", "::/64"),
        ("ipv6:[2001:db8:1:2:3::4]:5", "2001:db8:1:2:3::4:5", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:192.0.2.1]:5", "192.0.2.1:5", "192.0.2.1", "192.0.2.1"),
        ("ipv6:[fe80::1%25eth0]:5", "fe80::1:5", "fe80::1", "fe80::/64"),
        ("unix:", "unix:", "-", "-"),
        ("", "", "-", "-"),
        ("ipv4:nonsense", ":0", "-", "-"),
    ],
)
def test_client_has_address_and_network(peer: str, connection: str, address: str, network: str) -> None:
    client = client_of(peer)

    assert (client.connection, client.address, client.network) == (connection, address, network)


def test_socket_and_grpc_peer_give_the_same_connection() -> None:
    """
    Otherwise the connection of a call would not be found.
    """
    assert of_address("::ffff:127.0.0.1", 5000).connection == client_of("ipv4:127.0.0.1:5000").connection
    assert of_address("::1", 5000).connection == client_of("ipv6:%5B::1%5D:5000").connection
