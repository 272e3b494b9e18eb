"""IP address of a client behind trusted proxies: the headers X-Forwarded-For and Forwarded (RFC 7239).

Each proxy appends the address that it received the request from. The list is read from its end: the client is
the last address that is no trusted proxy. Anything before it may be forged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

X_FORWARDED_FOR = "x-forwarded-for"
FORWARDED = "forwarded"

_MAX_HOPS = 32
"""Number of addresses that are read, from the end."""

_MAX_ELEMENT = 512
"""Characters of the longest valid element."""

_CACHED = 1024
"""Number of cached addresses."""

_BLANKS = " \t"
_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]{1,40}))?"
_IPV4 = re.compile(rf"([0-9.]{{7,15}}){_PORT}")
_IPV6 = re.compile(rf"\[([0-9A-Fa-f:.]{{2,45}})\]{_PORT}|([0-9A-Fa-f:.]{{2,45}})")

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a term of the RFC
_VALUE = r'(?:"((?:[^"\\]|\\.)*)"|([][:!#$%&\'*+.^_`|~0-9A-Za-z-]+))'
_PAIR = re.compile(rf"({_TOKEN})={_VALUE}")
_NEXT = re.compile(r"[ \t]*;[ \t]*")


class TrustedProxies:
    """The trusted proxies: networks and the header in which they name the client."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network], header: str = X_FORWARDED_FOR) -> None:
        """Create.

        Args:
            networks: Networks of the proxies.
            header: The header that they set, `x-forwarded-for` or `forwarded`. The other is ignored, because
                proxies forward it as the client sent it.
        """
        self._networks = tuple(networks)
        self._header = header.encode()
        self._hops = _forwarded if header == FORWARDED else _x_forwarded_for
        self.contains = lru_cache(_CACHED)(self._contains)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the IP address of the client that sent a request.

        The search ends at a hop that is no address (`unknown`, an obfuscated name, malformed text); the
        result is then the address of the proxy that added it.

        Args:
            peer: Address of the peer of the connection.
            headers: Headers of the request, names in lower case.

        Returns:
            The address in the format of `ipaddress`, an IPv4-mapped IPv6 address as IPv4; `peer` unchanged if
            it is no trusted proxy, or sent no address.
        """
        if not self.contains(peer):
            return peer
        lines = [value.decode("latin-1") for name, value in headers if name == self._header and value]
        client = peer
        read = 0
        for line in reversed(lines):
            for hop in self._hops(line):
                read += 1
                if hop is None or read > _MAX_HOPS:
                    return client
                client = str(hop)
                if not self.contains(client):
                    return client
        return client

    def _contains(self, address: str) -> bool:
        try:
            parsed = _unmapped(ip_address(address))
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


Hop = IPv4Address | IPv6Address | None
"""Address of one hop; None if it is not a valid address."""


def _elements(line: str) -> Iterator[str]:
    """Yield the non-empty elements of a list from its end (RFC 9110, section 5.6.1.2).

    A comma within a quoted string separates too; both halves then lack a quotation mark, and are malformed.
    """
    for element in reversed(line.rsplit(",", _MAX_HOPS)):
        stripped = element.strip(_BLANKS)
        if stripped:
            yield stripped


def _x_forwarded_for(line: str) -> Iterator[Hop]:
    return (_address(node) if len(node) <= _MAX_ELEMENT else None for node in _elements(line))


def _forwarded(line: str) -> Iterator[Hop]:
    return (_for(element) if len(element) <= _MAX_ELEMENT else None for element in _elements(line))


def _for(element: str) -> Hop:
    """Return the address in an element of Forwarded, such as `for=192.0.2.1;proto=http`."""
    found: list[str] = []
    position = 0
    while True:
        pair = _PAIR.match(element, position)
        if pair is None:
            return None
        name, quoted, plain = pair.groups()
        if name.lower() == "for":
            found.append(plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        if pair.end() == len(element):
            return _address(found[0]) if len(found) == 1 else None
        separator = _NEXT.match(element, pair.end())
        if separator is None:
            return None
        position = separator.end()


@lru_cache(_CACHED)
def _address(node: str) -> Hop:
    """Parse an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`."""
    try:
        if found := _IPV4.fullmatch(node):
            return IPv4Address(found[1])
        if found := _IPV6.fullmatch(node):
            return _unmapped(IPv6Address(found[1] or found[2]))
    except ValueError:
        pass
    return None


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address of an IPv4-mapped IPv6 address; other addresses unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
