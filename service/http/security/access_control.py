"""Access control of a listener: host, CORS, API keys with their rights and rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from service.core.errors import Forbidden
from service.http.security.cors import CorsPolicy
from service.http.security.hosts import KnownHosts
from service.http.security.response_headers import Header
from service.inference.admission.access import Access, Grant
from service.inference.admission.credentials import presented_key
from service.inference.admission.keys import Right


@dataclass(frozen=True)
class AccessControl:
    """The checks of every request of a listener, before its body is read.

    Attributes:
        access: API keys and rates.
        hosts: The known hosts.
        cors: The CORS policy.
        is_operator: Whether this is the operators' listener.
    """

    access: Access
    hosts: KnownHosts
    cors: CorsPolicy
    is_operator: bool = False

    @cached_property
    def is_open(self) -> bool:
        """Whether no check is configured; model management has its own."""
        return self.access.is_open and not self.hosts.is_enforced

    def check_host(self, host: bytes | None) -> None:
        """Check the header Host, if the settings name allowed hosts.

        Raises:
            Forbidden: The host is unknown.
        """
        if self.hosts.is_enforced:
            self.hosts.check(host)

    def key(self, headers: Sequence[Header]) -> bytes | None:
        """Return the API key of a request; None if it has none, or keys are not used.

        Raises:
            MalformedRequest: The request has two different keys.
        """
        return presented_key(headers) if self.access.has_keys else None

    def authorize(
        self, key: bytes | None, address: str, right: Right | None, model: str | None
    ) -> Grant | None:
        """Check key, right and rate of one request.

        Args:
            key: As `key` returned it; if `Access.needs_verify`, `Access.verify` must have been awaited.
            address: IP address of the client.
            right: The right that the operation needs; None if it needs no key, as for health checks.
            model: Name of the requested model; None for none.

        Returns:
            The grant; None if neither keys nor rates apply.

        Raises:
            Unauthenticated, Forbidden, RateExceeded, Overloaded: As `Access.authorize`.
        """
        access = self.access
        if right is None or access.is_open:
            return None  # without keys, the setting `management` decides about model management
        if right is Right.MANAGE and not access.has_keys:
            return None
        return access.authorize(key, address, right, model, self.is_operator)


def host_of(headers: Sequence[Header]) -> bytes | None:
    """Return the header Host; None if it is absent.

    Raises:
        Forbidden: The header is repeated.
    """
    found = [value for name, value in headers if name == b"host"]
    if len(found) > 1:
        raise Forbidden("Host should come once", f"{len(found)} of them")
    return found[0] if found else None
