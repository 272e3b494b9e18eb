"""CSRF (cross-site request forgery): refuses management requests from pages of other origins.

Browsers send `Origin` with every POST, and `Sec-Fetch-Site` over TLS and to loopback addresses. Other clients
send neither.
"""

from collections.abc import Iterable

from service.core.errors import Forbidden
from service.core.wording import quote
from service.http.security.hosts import KnownHosts
from service.http.security.response_headers import Header

_OWN_SITES = (b"same-origin", b"none")
"""Values of `Sec-Fetch-Site` for a page of the service, and for a request by the user."""


def check(headers: Iterable[Header], hosts: KnownHosts) -> None:
    """Check that a request comes from a page of the service, or from no page.

    Args:
        headers: Headers of the request, names in lower case; repeated ones are joined by commas.
        hosts: The known hosts.

    Raises:
        Forbidden: `Host` is missing or unknown, or `Sec-Fetch-Site` or `Origin` is that of another origin.
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
