"""Known host names, as a protection against DNS rebinding.

In a DNS rebinding attack the host name of the attacker's page resolves to the address of the service, so that
the browser treats both as one origin. `Host` is then the attacker's name. An IP address in `Host` is safe.
"""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from service.core.errors import Forbidden
from service.core.wording import quote

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_](?:[a-z0-9_.-]{0,252})))(?::([0-9]{1,5})?)?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_MAX_BYTES = 260
"""Bytes of the longest host with a port."""

_CACHED = 256
"""Number of cached hosts."""

Authority = tuple[str, str | None]
"""Host in lower case without brackets, and port; None for the default port."""


class KnownHosts:
    """The known hosts: IP addresses, `localhost`, the settings `host` and `allowed_host`.

    Attributes:
        is_enforced: Whether every request is checked, as `allowed_host` is set; otherwise only management is.
    """

    def __init__(self, bound: str, allowed: Sequence[str] = ()) -> None:
        """Create.

        Args:
            bound: The setting `host`: an address or a name.
            allowed: The setting `allowed_host`: hosts with a port, or without for every port.

        Raises:
            ValueError: An allowed host is invalid.
        """
        self.is_enforced = bool(allowed)
        self._allowed = frozenset(_authority(host) for host in allowed)
        self._names = frozenset({"localhost", bound.lower()})
        self._knows_cached = lru_cache(_CACHED)(self._knows)

    def knows(self, host: bytes) -> bool:
        """Return whether the value of `Host`, or the authority of a request target, is known."""
        return len(host) <= _MAX_BYTES and self._knows_cached(host)

    def _knows(self, host: bytes) -> bool:
        try:
            name, port = _authority(host.decode("latin-1"))
        except ValueError:
            return False
        return (
            name in self._names
            or (name, None) in self._allowed
            or (name, port) in self._allowed
            or _is_address(name)
        )

    def check(self, host: bytes | None) -> None:
        """Raise Forbidden if the header Host is missing or unknown."""
        if host is None or not self.knows(host):
            expected = "Host should be an address, localhost, or a name that --allowed-host gives"
            raise Forbidden(expected, "none" if host is None else quote(host.decode("latin-1")))

    def is_own(self, origin: bytes, host: bytes) -> bool:
        """Return whether an origin is the service's own.

        It must have the host and port of `Host`, or those of an allowed host, because a proxy may change
        `Host`. The scheme is ignored, because a proxy may add TLS.

        Args:
            origin: The header Origin.
            host: The header Host, which is known.
        """
        found = _ORIGIN.fullmatch(origin.decode("latin-1"))
        if found is None:
            return False
        default = _DEFAULT_PORTS[found[1]]
        try:
            name, port = _authority(found[2])
            own_name, own_port = _authority(host.decode("latin-1"))
        except ValueError:
            return False
        return (name, port or default) in {
            (own_name, own_port or default),
            *((allowed, port or default) for allowed, port in self._allowed),
        }


def _authority(text: str) -> Authority:
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        raise ValueError(f"Host should be a name or an address, with or without a port; got {quote(text)}.")
    address, name, port = found.groups()
    return address or name.removesuffix("."), port or None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
