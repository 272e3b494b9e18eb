"""Bodies and answers that are compressed on their way (RFC 9110, section 8.4)."""

import zlib

from service.core.errors import MalformedRequest, UnsupportedMediaType
from service.core.wording import quote
from service.http.messages.responses import Headers

IDENTITY = "identity"

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib calls the formats; `deflate` is zlib's own, as the standard has it."""

_SLICE = 256 * 2**10
"""Bytes that are unpacked at once: about a fifth of a millisecond, whatever they are packed in."""

_WORTH_PACKING = 1_400
"""Bytes of an answer; a smaller one travels in a single packet anyway."""

_QUICKLY = 1
_VARY: Headers = ((b"vary", b"Accept-Encoding"),)


class Decompressor:
    """Unpacks one body while it arrives."""

    def __init__(self, coding: str) -> None:
        """Begin.

        Args:
            coding: The header Content-Encoding as it came.

        Raises:
            UnsupportedMediaType: It is none of gzip, deflate and identity, or several.
        """
        self._coding = coding.strip().lower()
        if self._coding != IDENTITY and self._coding not in _WINDOWS:
            raise UnsupportedMediaType("Content-Encoding", ("gzip", "deflate", IDENTITY), quote(self._coding))
        self._stream = None if self._coding == IDENTITY else zlib.decompressobj(_WINDOWS[self._coding])
        self._packed = b""
        self._is_full = False  # the last slice was: the stream may hold more without further input

    @property
    def has_more(self) -> bool:
        """Whether bytes are left that `step` has not decompressed."""
        return bool(self._packed) or self._is_full

    def push(self, packed: bytes) -> None:
        """Take the next compressed bytes; `step` decompresses them."""
        self._packed = self._packed + packed if self._packed else packed

    def step(self) -> bytes:
        """Return the next slice of decompressed bytes.

        Raises:
            MalformedRequest: The bytes are not what the coding says, or go on after its end.
        """
        if self._stream is None:
            packed, self._packed = self._packed, b""
            return packed
        if self._stream.eof and self._packed:
            raise self._malformed("bytes after its end")
        try:
            piece = self._stream.decompress(self._packed, _SLICE)
        except zlib.error as error:
            raise self._malformed("other bytes") from error
        self._packed = self._stream.unused_data or self._stream.unconsumed_tail
        self._is_full = len(piece) == _SLICE
        return piece

    def end(self) -> None:
        """Check that the body was whole.

        Raises:
            MalformedRequest: It was not.
        """
        if self._stream is not None and not self._stream.eof:
            raise self._malformed("its beginning")

    def _malformed(self, got: str) -> MalformedRequest:
        return MalformedRequest("Body", f"one whole stream of {self._coding}, as Content-Encoding says", got)


def pack(answer: bytes, accepted: str) -> tuple[bytes, Headers]:
    """Compress an answer if its caller wants that and it is worth it.

    Args:
        answer: The whole of it.
        accepted: The header Accept-Encoding; empty if it did not come.

    Returns:
        The answer as it should be sent, and the headers that say so.
    """
    if not accepted or len(answer) <= _WORTH_PACKING:
        return answer, _VARY
    coding = _preferred(accepted)
    if coding is None:
        return answer, _VARY
    stream = zlib.compressobj(_QUICKLY, zlib.DEFLATED, _WINDOWS[coding])
    return stream.compress(answer) + stream.flush(), (*_VARY, (b"content-encoding", coding.encode()))


def _preferred(accepted: str) -> str | None:
    """Return gzip or deflate if the caller likes it no less than neither; gzip where both are liked."""
    qualities: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        key, _, value = parameter.partition("=")
        qualities[name.strip()] = _quality(value.strip()) if key.strip() == "q" else 1.0
    others = qualities.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda coding: qualities.get(coding, others))
    liked = qualities.get(best, others)
    return best if liked > 0 and liked >= qualities.get(IDENTITY, 0.0) else None


def _quality(text: str) -> float:
    """Return a weight; what is none counts as refused."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0
