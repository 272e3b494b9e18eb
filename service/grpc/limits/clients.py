"""Client of a call: its connection, its address, and the network that counts as one client."""

import functools
import ipaddress
import urllib.parse
from dataclasses import dataclass

UNKNOWN = "-"
"""Address of a client without an IP address, such as one on a Unix socket."""

_PREFIX = 64
"""Prefix length of IPv6 addresses that count as one client: a host usually has a whole /64."""


@dataclass(frozen=True, slots=True)
class Client:
    """The client of a call.

    Attributes:
        connection: Address and port, such as `127.0.0.1:5000`; or gRPC's name of a Unix socket.
        address: IP address, or `-`.
        port: TCP port, or 0.
        network: IPv4 address, or /64 network of the IPv6 address; it counts as one client.
    """

    connection: str
    address: str
    port: int
    network: str


@functools.lru_cache(4096)
def client_of(peer: str) -> Client:
    """Return the client of a connection.

    Args:
        peer: As gRPC formats it: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`, `unix:`.
    """
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return Client(peer, UNKNOWN, 0, UNKNOWN)
    host, _, port = rest.rpartition(":")
    return of_address(host.strip("[]"), int(port) if port.isdecimal() else 0)


def of_address(host: str, port: int) -> Client:
    """Return the client at an address and port; an IPv4-mapped IPv6 address counts as IPv4."""
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
