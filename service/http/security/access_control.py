"""Who may send a request: known hosts, other origins' pages, and API keys with their rights and rates."""

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
    """The checks of every request of a listener, at the end of its head.

    Attributes:
        access: API keys and rates.
        hosts: Names under which the service is known.
        cors: Origins whose pages may use it.
        is_operator: Whether the listener is the operators'.
    """

    access: Access
    hosts: KnownHosts
    cors: CorsPolicy
    is_operator: bool = False

    @cached_property
    def is_open(self) -> bool:
        """Whether every request may be sent, except for model management: nothing has to be checked."""
        return self.access.is_open and not self.hosts.is_enforced

    def check_host(self, host: bytes | None) -> None:
        """Check the header Host, where the settings name the hosts that are known.

        Raises:
            Forbidden: It is not known.
        """
        if self.hosts.is_enforced:
            self.hosts.check(host)

    def key(self, headers: Sequence[Header]) -> bytes | None:
        """Return the API key of a request, if keys are used and it has one.

        Raises:
            MalformedRequest: It has two different ones.
        """
        return presented_key(headers) if self.access.has_keys else None

    def authorize(
        self, key: bytes | None, address: str, right: Right | None, model: str | None
    ) -> Grant | None:
        """Decide about one request.

        Args:
            key: As `key` returned it; `Access.verify` must have been awaited if it is needed.
            address: The client's.
            right: What the request needs; None for what everybody may ask, as whether the service is alive.
            model: The model that it names; None if it names none.

        Returns:
            The admission; None where neither keys nor rates apply.

        Raises:
            Unauthenticated, Forbidden, RateExceeded, Overloaded: As `Access.authorize`.
        """
        access = self.access
        if right is None or access.is_open:
            return None  # whether models can be managed without keys is the setting `management`'s to say
        if right is Right.MANAGE and not access.has_keys:
            return None
        return access.authorize(key, address, right, model, self.is_operator)


def host_of(headers: Sequence[Header]) -> bytes | None:
    """Return the header Host; None if there is none.

    Raises:
        Forbidden: It came twice.
    """
    found = [value for name, value in headers if name == b"host"]
    if len(found) > 1:
        raise Forbidden("Host should come once", f"{len(found)} of them")
    return found[0] if found else None
