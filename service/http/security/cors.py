"""CORS (cross-origin resource sharing): response headers that let pages of other origins read responses.

The headers depend only on the request's `Origin`, so they are built once. Credentials (cookies, TLS client
certificates) are never allowed; a page sends its API key in a header.
"""

from collections.abc import Mapping, Sequence

from service.core.errors import Forbidden
from service.core.wording import quote
from service.http.security.response_headers import Header

ANY = "*"
"""The setting that allows every origin."""

PREFLIGHT_STATUS = 204

ALLOWED_METHODS = ("GET", "HEAD", "POST")

ALLOWED_HEADERS = (
    "accept",
    "accept-language",
    "authorization",
    "content-encoding",
    "content-language",
    "content-type",
    "if-none-match",
    "inference-header-content-length",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-request-id",
)
"""Request headers that a page may set. Listed, because `*` does not include `Authorization`."""

EXPOSED_HEADERS = (
    "etag",
    "inference-header-content-length",
    "inkling-model",
    "inkling-version",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server-timing",
    "www-authenticate",
    "x-request-id",
)
"""Response headers that a page may read, besides those that are always readable."""

MAX_AGE_S = 7200
"""Seconds for which a browser may cache a preflight response; the limit of Chromium."""

MANAGEMENT = "/v2/repository"
"""Path prefix of model management, which pages of other origins may not use."""

_VARY_ORIGIN: Header = (b"vary", b"Origin")

_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", ", ".join(ALLOWED_METHODS).encode()),
    (b"access-control-allow-headers", ", ".join(ALLOWED_HEADERS).encode()),
    (b"access-control-max-age", str(MAX_AGE_S).encode()),
    (
        b"vary",
        b"Access-Control-Request-Method, Access-Control-Request-Headers, "
        b"Access-Control-Request-Private-Network",
    ),
)

_PRIVATE_NETWORK: Header = (b"access-control-allow-private-network", b"true")


class CorsPolicy:
    """The CORS policy. Immutable, so it can be shared between threads.

    Attributes:
        is_on: Whether any origin is allowed; if not, no response has CORS headers.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        """Build the headers of every allowed origin.

        Args:
            origins: Allowed origins as browsers send them, such as `https://app.example:8443`; or only `*`;
                or empty.
        """
        self.is_on = bool(origins)
        self._allows_any = ANY in origins
        # With a list every response varies with the origin, also for a request without one: otherwise a
        # cache could return that response to a page. With `*` all responses are the same.
        if self._allows_any:
            self._others = _allow(ANY)
        else:
            self._others = (_VARY_ORIGIN,) if self.is_on else ()
        self._headers = {
            origin.encode(): (*_allow(origin), _VARY_ORIGIN) for origin in origins if origin != ANY
        }
        self._other_lines = _lines(self._others)
        self._lines = {origin: _lines(headers) for origin, headers in self._headers.items()}

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return the CORS headers of a response.

        Args:
            origin: The request's `Origin`; None if it is absent.
        """
        return self._headers.get(origin, self._others) if origin is not None else self._others

    def lines(self, origin: bytes | None) -> bytes:
        """Return the CORS headers of a response as lines, each ending with CRLF."""
        return self._lines.get(origin, self._other_lines) if origin is not None else self._other_lines

    def preflight(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> tuple[Header, ...] | None:
        """Return the response headers of a preflight request.

        Args:
            method: Method of the request.
            path: Path, decoded, without the root path.
            headers: Headers by name in lower case.

        Returns:
            The headers of a response with `PREFLIGHT_STATUS` and no body, besides those of `headers`; None if
            the request is no preflight, or CORS is off.

        Raises:
            Forbidden: The origin, the method or a header is not allowed, the path is model management, or the
                page requests access to a private network and every origin is allowed.
        """
        requested_method = headers.get(b"access-control-request-method")
        origin = headers.get(b"origin")
        if method != "OPTIONS" or requested_method is None or origin is None or not self.is_on:
            return None
        is_named = origin in self._headers
        if not (is_named or self._allows_any):
            raise Forbidden("Origin should be one that --cors-origin names", _quote(origin))
        if path.startswith(MANAGEMENT):
            raise Forbidden("Model management should be used from the service's own origin", _quote(origin))
        if requested_method.decode("latin-1") not in ALLOWED_METHODS:
            expected = f"Access-Control-Request-Method should be one of {', '.join(ALLOWED_METHODS)}"
            raise Forbidden(expected, _quote(requested_method))
        for name in headers.get(b"access-control-request-headers", b"").lower().split(b","):
            if name.strip() and name.strip().decode("latin-1") not in ALLOWED_HEADERS:
                expected = f"Access-Control-Request-Headers should be among {', '.join(ALLOWED_HEADERS)}"
                raise Forbidden(expected, _quote(name.strip()))
        if headers.get(b"access-control-request-private-network") != b"true":
            return _PREFLIGHT
        if not is_named:
            expected = "Origin of a page that asks for a private network should be named by --cors-origin"
            raise Forbidden(expected, _quote(origin))
        return (*_PREFLIGHT, _PRIVATE_NETWORK)


def _allow(origin: str) -> tuple[Header, ...]:
    value = origin.encode()
    return (
        (b"access-control-allow-origin", value),
        (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode()),
        (b"timing-allow-origin", value),
    )


def _lines(headers: Sequence[Header]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def _quote(value: bytes) -> str:
    return quote(value.decode("latin-1"))
