"""CSRF (cross-site request forgery): refuses management calls that come from pages of other origins.

Browsers send `Origin` with every POST, and `Sec-Fetch-Site` over TLS and to loopback addresses. Other clients
send neither.
"""

from collections.abc import Iterable

from service.core.errors import Forbidden
from service.core.wording import quote
from service.http.security.hosts import KnownHosts
from service.http.security.response_headers import Header

_OWN_SITES = (b"same-origin", b"none")
"""Values of `Sec-Fetch-Site` from a page of the service, and from the user."""


def check(headers: Iterable[Header], hosts: KnownHosts) -> None:
    """Refuse a request that changes something unless it is the service's own page's, or no page's.

    Args:
        headers: Of the request, names in lower case; one that comes twice counts as one joined by commas.
        hosts: Under which the service is known.

    Raises:
        Forbidden: `Host` is missing or unknown, `Sec-Fetch-Site` names another site or origin, or `Origin` is
            another one or `null`.
    """
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        values[name] = b"%b, %b" % (values[name], value) if name in values else value
    host = values.get(b"host")
    hosts.check(host)
    assert host is not None
    site = values.get(b"sec-fetch-site")
    if site is not None and site not in _OWN_SITES:
        raise Forbidden("Sec-Fetch-Site should be same-origin or none", quote(site.decode("latin-1")))
    origin = values.get(b"origin")
    if origin is not None and not hosts.is_own(origin, host):
        raise Forbidden("Origin should be the service's own", quote(origin.decode("latin-1")))
