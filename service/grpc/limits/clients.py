"""Identifies the client of a call: its connection, its address, and what counts as one client."""

import functools
import ipaddress
import urllib.parse
from dataclasses import dataclass

UNKNOWN = "-"
"""Address of a client without one, such as that of a Unix socket."""

_PREFIX = 64
"""Bits of an IPv6 address that are one client: whoever has one address of a /64 has all of them."""


@dataclass(frozen=True, slots=True)
class Client:
    """The client of a call.

    Attributes:
        connection: Its address and port, such as `127.0.0.1:5000`; or gRPC's name of a Unix socket.
        address: IP address, or `-`.
        port: TCP port, or 0.
        network: What counts as one client: the IPv4 address, or the /64 network of the IPv6 address.
    """

    connection: str
    address: str
    port: int
    network: str


@functools.lru_cache(4096)
def client_of(peer: str) -> Client:
    """Return the client of a connection.

    Args:
        peer: As gRPC writes it: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`, `unix:`.
    """
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return Client(peer, UNKNOWN, 0, UNKNOWN)
    host, _, port = rest.rpartition(":")
    return of_address(host.strip("[]"), int(port) if port.isdecimal() else 0)


def of_address(host: str, port: int) -> Client:
    """Return the client at a host and port; an IPv4 address within IPv6 is an IPv4 address."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return Client(f"{host}:{port}", UNKNOWN, port, UNKNOWN)
    network = str(ip)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            network = str(ipaddress.ip_network((int(ip), _PREFIX), strict=False))
        else:
            ip = ip.ipv4_mapped
            network = str(ip)
    return Client(f"{ip}:{port}", str(ip), port, network)
