"""The client's address behind trusted proxies: the headers Forwarded (RFC 7239) and X-Forwarded-For."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

_FOR = re.compile(r'(?:^|[;,\s])for="?(\[[^\]]*\]|[^;,"\s]*)', re.IGNORECASE)

_REMEMBERED = 1024


class TrustedProxies:
    """Networks of proxies whose headers are believed."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self.contains = lru_cache(_REMEMBERED)(self._contains)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the address of the client that sent a request.

        Of the addresses that proxies have added, the last that is no trusted proxy: everything before it may
        be the client's invention.

        Args:
            peer: Address of the other end of the connection.
            headers: Of the request, names in lower case.
        """
        if not self.contains(peer):
            return peer
        forwarded: list[str] = []
        plain: list[str] = []
        for name, value in headers:
            if name == b"forwarded":
                forwarded += _FOR.findall(value.decode("latin-1"))
            elif name == b"x-forwarded-for":
                plain += value.decode("latin-1").split(",")
        client = peer
        for hop in reversed(forwarded or plain):
            address = _bare(hop)
            if address is None:
                break
            client = address
            if not self.contains(address):
                break
        return client

    def _contains(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _bare(hop: str) -> str | None:
    """Return the address of `192.0.2.1:80`, `[2001:db8::1]:80` or an address alone; None for others."""
    hop = hop.strip()
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return None
