"""Response headers that tell browsers what an answer may be used for. All are constants."""

Header = tuple[bytes, bytes]
"""Name in lower case, and value."""

_HSTS_S = 31_536_000
"""Seconds, a year, for which a browser that came over TLS comes over TLS only."""

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
"""Content security policy of a page; `data:` and `blob:` are pictures that the page makes or was given."""

_UNUSED = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")

DOCUMENT_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in _POLICY.items()),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of the pages and their files, beside `constant_headers`.

A page loads scripts, styles and data from this service alone, is shown in no frame, and sends no referrer:
its address may hold a drawing.
"""


def constant_headers(tls: bool, cors: bool) -> tuple[Header, ...]:
    """Return the headers that every answer has, errors included.

    Args:
        tls: Whether the connection is encrypted by this process.
        cors: Whether pages of other origins may use the API.
    """
    headers: list[Header] = [
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"cross-origin" if cors else b"same-origin"),
    ]
    if tls:
        headers.append((b"strict-transport-security", b"max-age=%d" % _HSTS_S))
    return tuple(headers)
