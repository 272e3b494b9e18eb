"""Headers of responses, as bytes."""

from functools import lru_cache

Headers = tuple[tuple[bytes, bytes], ...]
"""Names in lower case and values."""


@lru_cache(256)
def header_lines(headers: Headers) -> bytes:
    """Write headers as lines, each with its line end."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])
