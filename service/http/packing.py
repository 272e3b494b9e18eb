"""Bodies and answers that are compressed on their way (RFC 9110, section 8.4)."""

import zlib
from collections.abc import Iterator, Mapping

from service.core.errors import MalformedRequest, UnsupportedMediaType
from service.http.drawings import quote

IDENTITY = "identity"

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""What zlib calls the formats; `deflate` is zlib's own, as the standard has it."""

_SLICE = 256 * 2**10
"""Bytes that are unpacked at once: about a fifth of a millisecond, whatever they are packed in."""

_WORTH_PACKING = 1_400
"""Bytes of an answer; a smaller one travels in a single packet anyway."""

_QUICKLY = 1


class Unpacker:
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

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a part of the body holds, in slices; who stops taking them stops the work.

        Raises:
            MalformedRequest: It is not what its coding says, or goes on after its end.
        """
        if self._stream is None:
            yield chunk
            return
        full = True
        while full:
            if self._stream.eof and chunk:
                raise self._malformed("bytes after its end")
            try:
                piece = self._stream.decompress(chunk, _SLICE)
            except zlib.error as error:
                raise self._malformed("other bytes") from error
            chunk = self._stream.unused_data or self._stream.unconsumed_tail
            full = len(piece) == _SLICE or bool(chunk)
            yield piece

    def end(self) -> None:
        """Check that the body was whole.

        Raises:
            MalformedRequest: It was not.
        """
        if self._stream is not None and not self._stream.eof:
            raise self._malformed("its beginning")

    def _malformed(self, got: str) -> MalformedRequest:
        return MalformedRequest("Body", f"one whole stream of {self._coding}, as Content-Encoding says", got)


def pack(answer: bytes, accepted: str) -> tuple[bytes, Mapping[str, str]]:
    """Compress an answer if its caller wants that and it is worth it.

    Args:
        answer: The whole of it.
        accepted: The header Accept-Encoding; empty if it did not come.

    Returns:
        The answer as it should be sent, and the headers that say so.
    """
    headers = {"vary": "Accept-Encoding"}
    coding = _preferred(accepted)
    if coding is None or len(answer) <= _WORTH_PACKING:
        return answer, headers
    stream = zlib.compressobj(_QUICKLY, zlib.DEFLATED, _WINDOWS[coding])
    return stream.compress(answer) + stream.flush(), headers | {"content-encoding": coding}


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
