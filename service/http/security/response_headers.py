"""Constant security headers of responses."""

Header = tuple[bytes, bytes]
"""Name in lower case, and value."""

_HSTS_S = 31_536_000
"""Seconds, a year, for which browsers use only TLS after one request over TLS."""

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""Content security policy of the pages; `data:` and `blob:` are for images that the page creates."""

_UNUSED = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")

DOCUMENT_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in _POLICY.items()),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of the pages and their files, besides `constant_headers`.

Pages load scripts, styles and data only from this service, cannot be framed, and send no referrer, because
their URL may contain a drawing.
"""


def constant_headers(tls: bool, cors: bool) -> tuple[Header, ...]:
    """Return the headers of every response, including errors.

    Args:
        tls: Whether this process terminates TLS.
        cors: Whether pages of other origins may use the API.
    """
    headers: list[Header] = [
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"cross-origin" if cors else b"same-origin"),
    ]
    if tls:
        headers.append((b"strict-transport-security", b"max-age=%d" % _HSTS_S))
    return tuple(headers)
