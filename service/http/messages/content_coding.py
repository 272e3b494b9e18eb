"""Content codings (RFC 9110, section 8.4): decompression of requests, compression of responses."""

import zlib

from service.core.errors import MalformedRequest, UnsupportedMediaType
from service.core.wording import quote
from service.http.messages.responses import Headers

IDENTITY = "identity"

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The argument `wbits` of zlib for each coding; `deflate` is the zlib format, as in the RFC."""

_SLICE = 256 * 2**10
"""Size of a decompressed slice in bytes; it takes about 0.2 milliseconds."""

_MIN_BYTES = 1_400
"""Size in bytes up to which a response is not compressed: it fits into one packet."""

_LEVEL = 1
_VARY: Headers = ((b"vary", b"Accept-Encoding"),)


class Decompressor:
    """Decompresses a body in slices while it arrives."""

    def __init__(self, coding: str) -> None:
        """Create a decompressor.

        Args:
            coding: The header Content-Encoding.

        Raises:
            UnsupportedMediaType: It is not exactly one of gzip, deflate and identity.
        """
        self._coding = coding.strip().lower()
        if self._coding != IDENTITY and self._coding not in _WINDOWS:
            raise UnsupportedMediaType("Content-Encoding", ("gzip", "deflate", IDENTITY), quote(self._coding))
        self._stream = None if self._coding == IDENTITY else zlib.decompressobj(_WINDOWS[self._coding])
        self._compressed = b""
        self._is_full = False  # whether the last slice was full: the stream may have more output

    @property
    def has_more(self) -> bool:
        """Whether bytes are left for `step`."""
        return bool(self._compressed) or self._is_full

    def push(self, piece: bytes) -> None:
        """Add compressed bytes; `step` decompresses them."""
        self._compressed = self._compressed + piece if self._compressed else piece

    def step(self) -> bytes:
        """Return the next slice of decompressed bytes.

        Raises:
            MalformedRequest: The bytes are not valid for the coding, or continue after its end.
        """
        if self._stream is None:
            piece, self._compressed = self._compressed, b""
            return piece
        if self._stream.eof and self._compressed:
            raise self._malformed("bytes after its end")
        try:
            piece = self._stream.decompress(self._compressed, _SLICE)
        except zlib.error as error:
            raise self._malformed("other bytes") from error
        self._compressed = self._stream.unused_data or self._stream.unconsumed_tail
        self._is_full = len(piece) == _SLICE
        return piece

    def end(self) -> None:
        """Raise MalformedRequest if the compressed data is incomplete."""
        if self._stream is not None and not self._stream.eof:
            raise self._malformed("its beginning")

    def _malformed(self, got: str) -> MalformedRequest:
        return MalformedRequest("Body", f"one whole stream of {self._coding}, as Content-Encoding says", got)


def compress(body: bytes, accept_encoding: str) -> tuple[bytes, Headers]:
    """Compress the body of a response, if the client prefers that and it is not small.

    Args:
        body: The body.
        accept_encoding: The header Accept-Encoding; empty if it is absent.

    Returns:
        The body to send, and its headers.
    """
    if not accept_encoding or len(body) <= _MIN_BYTES:
        return body, _VARY
    coding = _preferred(accept_encoding)
    if coding is None:
        return body, _VARY
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    return stream.compress(body) + stream.flush(), (*_VARY, (b"content-encoding", coding.encode()))


def _preferred(accept_encoding: str) -> str | None:
    """Return gzip or deflate, if its quality is at least that of identity; gzip if both are equal."""
    qualities: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameter = part.partition(";")
        key, _, value = parameter.partition("=")
        qualities[name.strip()] = _quality(value.strip()) if key.strip() == "q" else 1.0
    others = qualities.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda coding: qualities.get(coding, others))
    quality = qualities.get(best, others)
    return best if quality > 0 and quality >= qualities.get(IDENTITY, 0.0) else None


def _quality(text: str) -> float:
    """Return a quality value 0..1; 0 if it is invalid."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0
