"""CORS (cross-origin resource sharing): the headers by which pages of other origins may read answers.

The headers of an answer depend on nothing but the request's `Origin`, so they are made once. Credentials
(cookies, TLS client certificates) are never allowed; a page sends its API key in a header.
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
"""Request headers that a page may set. A list, as `*` would not include `Authorization`."""

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
"""Response headers that a page may read, beside those that it always may."""

MAX_AGE_S = 7200
"""Seconds for which a browser may keep the answer to a preflight; Chromium's own limit."""

MANAGEMENT = "/v2/repository"
"""Path prefix of model management, which no page of another origin may use."""

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
    """The origins whose pages may read answers. Immutable; safe to share between threads.

    Attributes:
        is_on: Whether any origin is allowed. If not, no answer has CORS headers.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        """Build the headers of every allowed origin.

        Args:
            origins: As browsers write them, `https://app.example:8443`: lower case, no default port; or `*`
                alone. Empty for none.
        """
        self.is_on = bool(origins)
        self._allows_any = ANY in origins
        # Every answer of a list varies with the origin, those without an origin too: a cache could
        # otherwise give a page an answer that was made for no page. With `*` all answers are alike.
        if self._allows_any:
            self._others = _allowing(ANY)
        else:
            self._others = (_VARY_ORIGIN,) if self.is_on else ()
        self._headers = {
            origin.encode(): (*_allowing(origin), _VARY_ORIGIN) for origin in origins if origin != ANY
        }
        self._other_lines = _lines(self._others)
        self._lines = {origin: _lines(headers) for origin, headers in self._headers.items()}

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return the headers to add to an answer, whatever its status.

        Args:
            origin: The request's `Origin`; None if it has none.
        """
        return self._headers.get(origin, self._others) if origin is not None else self._others

    def lines(self, origin: bytes | None) -> bytes:
        """Return the same headers as lines of HTTP/1.1, each with its line end."""
        return self._lines.get(origin, self._other_lines) if origin is not None else self._other_lines

    def preflight(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> tuple[Header, ...] | None:
        """Answer a preflight, by which a browser asks whether a page may send a request.

        Args:
            method: The request's method.
            path: Its path, decoded, without the root path.
            headers: By name in lower case.

        Returns:
            The headers of an answer with `PREFLIGHT_STATUS` and no body, beside those of `headers`; None if
            this is no preflight, or CORS is off.

        Raises:
            Forbidden: The page may not send that request: its origin, its method, one of its headers, model
                management, or a public page that asks for a private network where every origin is allowed.
        """
        requested_output = headers.get(b"access-control-request-method")
        origin = headers.get(b"origin")
        if method != "OPTIONS" or requested_output is None or origin is None or not self.is_on:
            return None
        is_named = origin in self._headers
        if not (is_named or self._allows_any):
            raise Forbidden("Origin should be one that --cors-origin names", _quote(origin))
        if path.startswith(MANAGEMENT):
            raise Forbidden("Model management should be used from the service's own origin", _quote(origin))
        if requested_output.decode("latin-1") not in ALLOWED_METHODS:
            expected = f"Access-Control-Request-Method should be one of {', '.join(ALLOWED_METHODS)}"
            raise Forbidden(expected, _quote(requested_output))
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


def _allowing(origin: str) -> tuple[Header, ...]:
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
