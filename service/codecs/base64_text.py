"""Decoder of base64 as tools write it: with line breaks, in the URL-safe alphabet, or without padding."""

import binascii
import io
import re

from service.core.errors import MalformedRequest
from service.core.wording import quote

_DATA_URL = re.compile(rb"\s*data:([^,]{0,256}),", re.IGNORECASE)

_IMAGE = re.compile(rb"image/.*|application/octet-stream|binary/octet-stream|")

_WHITE_SPACE = b" \t\r\n\v\f"

_URL_SAFE = bytes.maketrans(b"-_", b"+/")

_GAP = re.compile(rb"[^ \t\r\n\v\f][ \t]+[^ \t\r\n\v\f]")
_UNKNOWN = re.compile(rb"[^A-Za-z0-9+/= \t\r\n\v\f_-]")

_STEP_BYTES = 65_536
"""Characters decoded at once: a copy of the whole text would not be in the memory that a body costs."""

_GROUP = 4

_EXPECTED = "base64 of a PNG, JPEG or WebP file, alone or as a data: URL"


def decode(text: str | bytes | memoryview, field: str) -> bytes:
    """Decode base64, alone or as a `data:` URL.

    White space at line ends and around the text, the URL-safe alphabet and missing padding are accepted.

    Args:
        text: The URL or base64.
        field: Name of the value in messages.

    Raises:
        MalformedRequest: The text is neither.
    """
    start = _data_start(text, field)
    try:
        # base64.b64decode would copy the text.
        return binascii.a2b_base64(text[start:] if start else text, strict_mode=True)
    except ValueError:  # binascii.Error is one too
        return _decode_in_steps(text, start, field)


def _data_start(text: str | bytes | memoryview, field: str) -> int:
    """Return the position of the base64: after the head of a `data:` URL, or 0."""
    head = text[:512]
    head = head.encode("ascii", "replace") if isinstance(head, str) else bytes(head)
    found = _DATA_URL.match(head)
    if found is None:
        if head.lstrip()[:5].lower() in (b"http:", b"https"):
            raise MalformedRequest(field, _EXPECTED, "an address, which is not fetched")
        if head.lstrip()[:5].lower() != b"data:":
            return 0
    parts = [] if found is None else found[1].lower().split(b";")
    if found is None or len(parts) < 2 or not _IMAGE.fullmatch(parts[0]) or parts[-1] != b"base64":
        raise MalformedRequest(field, "a data: URL of an image in base64", quote(_text(head[:40])))
    return found.end()


def _decode_in_steps(text: str | bytes | memoryview, start: int, field: str) -> bytes:
    found = io.BytesIO()
    rest, is_ended = b"", False
    for at in range(start, len(text), _STEP_BYTES):
        piece = text[at : at + _STEP_BYTES]
        # A character that is not ASCII becomes a ?, which is found below at its own position.
        codes = piece.encode("ascii", "replace") if isinstance(piece, str) else bytes(piece)
        _check_characters(codes, piece, at - start, field)
        rest += codes.translate(_URL_SAFE, _WHITE_SPACE)
        whole = len(rest) - len(rest) % _GROUP
        if is_ended and rest.strip(b"="):
            raise _no_base64(field, "something follows its padding")
        try:
            found.write(binascii.a2b_base64(rest[:whole], strict_mode=True))
        except binascii.Error as error:
            raise _no_base64(field, "padding before its end") from error
        is_ended = is_ended or rest[:whole].endswith(b"=")
        rest = rest[whole:]
    rest = rest.rstrip(b"=")
    if is_ended and rest:
        raise _no_base64(field, "something follows its padding")
    if len(rest) == 1 or b"=" in rest:
        raise _no_base64(field, "its length is not that of whole bytes, so it may be cut off")
    found.write(binascii.a2b_base64(rest + b"=" * (-len(rest) % _GROUP)))
    return found.getvalue()


def _check_characters(codes: bytes, piece: str | bytes | memoryview, before: int, field: str) -> None:
    """Raise MalformedRequest for a character that is not base64, or a space within a line."""
    unknown = _UNKNOWN.search(codes)
    if unknown is not None:
        at = unknown.start()
        character = piece[at] if isinstance(piece, str) else _text(codes[at : at + 1])
        raise _no_base64(field, f"{quote(character)} at character {before + at + 1:,}")
    gap = _GAP.search(codes)
    if gap is not None:
        raise _no_base64(field, f"a space within a line, at character {before + gap.start() + 2:,}")


def _no_base64(field: str, reason: str) -> MalformedRequest:
    return MalformedRequest(field, _EXPECTED, f"text that is no base64 ({reason})")


def _text(codes: bytes) -> str:
    return codes.decode("latin-1")
