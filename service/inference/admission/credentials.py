"""Reads the API key of a request from HTTP header fields or gRPC metadata."""

from collections.abc import Iterable

from service.core.errors import MalformedRequest

_SCHEME = b"bearer "


def presented_key(fields: Iterable[tuple[bytes | str, bytes | str]]) -> bytes | None:
    """Return the API key of a request: `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    An `Authorization` field of another scheme is ignored: it may be meant for a proxy.

    Args:
        fields: Names, in any case, and values.

    Returns:
        The key, not empty; None without one.

    Raises:
        MalformedRequest: Two fields hold different keys.
    """
    found: bytes | None = None
    for name, value in fields:
        lower = name.lower()
        if lower in (b"authorization", "authorization"):
            text = _bytes(value).strip(b" \t")
            if text[: len(_SCHEME)].lower() != _SCHEME:
                continue
            key = text[len(_SCHEME) :].lstrip(b" ")
        elif lower in (b"x-api-key", "x-api-key"):
            key = _bytes(value).strip(b" \t")
        else:
            continue
        if not key:
            continue
        if found is not None and found != key:
            raise MalformedRequest("API key", "the same in every header field", "two different ones")
        found = key
    return found


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
