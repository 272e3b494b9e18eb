"""Names under which clients may address the service, against DNS rebinding.

In DNS rebinding a page's own host name is made to resolve to the service's address, so that the browser takes
the two for one origin. The name in `Host` is then the attacker's. An address in `Host` cannot be rebound.
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

_LONGEST = 260
"""Bytes of the longest name with a port."""

_REMEMBERED = 256
"""Hosts whose answers are remembered."""

Authority = tuple[str, str | None]
"""Host in lower case without brackets, and port; None for the scheme's default."""


class KnownHosts:
    """The known hosts: addresses, `localhost`, the name that is listened on, and those of the settings.

    Attributes:
        is_enforced: Whether every route checks `Host`, as the settings name hosts; if not, only management.
    """

    def __init__(self, bound: str, allowed: Sequence[str] = ()) -> None:
        """Collect the known hosts.

        Args:
            bound: The setting `host`: an address, or a name.
            allowed: The setting `allowed_host`: hosts with or without a port; one without means every port.

        Raises:
            ValueError: One of `allowed` is no host.
        """
        self.is_enforced = bool(allowed)
        self._allowed = frozenset(_authority(host) for host in allowed)
        self._names = frozenset({"localhost", bound.lower()})
        self._remembered = lru_cache(_REMEMBERED)(self._knows)

    def knows(self, host: bytes) -> bool:
        """Return whether a `Host`, or the authority of a request target, is known."""
        return len(host) <= _LONGEST and self._remembered(host)

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
        """Raise Forbidden if a request's `Host` is missing or not known."""
        if host is None or not self.knows(host):
            expected = "Host should be an address, localhost, or a name that --allowed-host gives"
            raise Forbidden(expected, "none" if host is None else quote(host.decode("latin-1")))

    def is_own(self, origin: bytes, host: bytes) -> bool:
        """Return whether an `Origin` is the service's own.

        Args:
            origin: Of the request.
            host: The request's `Host`, which is known.

        Returns:
            Whether it has the host and port of `Host`, or those of an allowed host. The latter is for proxies
            that put another name into `Host`. The scheme does not count: a proxy may add TLS.
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
