"""File formats, recognised by the first bytes of a file."""

import re

PNG, JPEG, WEBP = "PNG", "JPEG", "WebP"
NPY, ZIP = "a NumPy file", "a zip archive"

PICTURES = (PNG, JPEG, WEBP)
"""Image formats that are decoded."""

_PREFIXES = {
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\x93NUMPY": NPY,
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,  # without files
    b"GIF87a": "a GIF",
    b"GIF89a": "a GIF",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"%PDF-": "a PDF",
}
"""Formats by the beginning of their files."""

_HEIF_BRANDS = {b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIC", b"avif": "an AVIF"}

_FIRST = frozenset(prefix[0] for prefix in _PREFIXES) | frozenset(b"\xffRB")
"""First bytes of all formats; a file with another first byte is recognised as none of them at once."""

_BASE64_PICTURE = re.compile(rb"\s*(?:data:image/|iVBORw0KGgo|/9j/|UklGR)")

_BASE64_FIRST = frozenset(bytes([code]) for code in b"dDi/U \t\r\n\v\f")

_JSON_OBJECT = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*["}]')

_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*[\[{]")


def format_of(data: bytes) -> str | None:
    """Return the format of a file; None for text, numbers and unknown formats.

    Args:
        data: The whole file.

    Returns:
        One of the constants of this module, or the name of another format for messages.
    """
    if not data or data[0] not in _FIRST:
        return _HEIF_BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if data[0] == 0xFF:
        return JPEG if _is_jpeg(data) else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[:2] == b"BM":
        return "a BMP" if int.from_bytes(data[2:6], "little") == len(data) else None
    return next((kind for prefix, kind in _PREFIXES.items() if data.startswith(prefix)), None)


def _is_jpeg(data: bytes) -> bool:
    """Return whether data begins with the start marker of a JPEG file, a segment and a marker.

    The start marker and the first byte of the next one alone could be three pixels.
    """
    if len(data) < 6 or data[:3] != b"\xff\xd8\xff" or not 0xC0 <= data[3] <= 0xFE:
        return False
    after = 4 + int.from_bytes(data[4:6], "big")
    return data[after : after + 1] == b"\xff"


def may_be_base64_picture(data: bytes | memoryview) -> bool:
    """Return whether data begins as base64 of a PNG, JPEG or WebP file, or as a `data:` URL of an image."""
    return data[:1] in _BASE64_FIRST and _BASE64_PICTURE.match(data) is not None


def is_json(data: bytes) -> bool:
    """Return whether data begins as a JSON object or list."""
    return _JSON.match(data) is not None


def is_json_object(data: bytes) -> bool:
    """Return whether data begins and ends as a JSON object, more strictly than `is_json`."""
    return _JSON_OBJECT.match(data) is not None and data[-64:].rstrip().endswith(b"}")
