"""Chunks of PNG and WebP files and segments of JPEG files, scanned without decoding the image."""

import re
from itertools import islice

from service.core.errors import BrokenPicture

_JPEG_START, _JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
_JPEG_MARKERS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not the restart markers within a scan

_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
"""Types of WebP chunks that contain pixels."""

_MAX_CHUNKS = 20_000
_MAX_SCANS = 100
"""Upper limit for untrusted files, as the manual of libjpeg-turbo advises."""


def check_count(data: bytes, field: str) -> None:
    """Check that a file has no more chunks, segments or scans than can be read in milliseconds.

    Args:
        data: The whole file.
        field: Name of the file in messages.

    Raises:
        BrokenPicture: There are too many.
    """
    is_jpeg = data[:2] == _JPEG_START
    segments = sum(1 for _ in islice(_JPEG_MARKERS.finditer(data), _MAX_CHUNKS)) if is_jpeg else 0
    if segments == _MAX_CHUNKS or (segments and data.count(_JPEG_SCAN) > _MAX_SCANS):
        expected = f"a JPEG of at most {_MAX_CHUNKS:,} segments and {_MAX_SCANS} scans"
        raise BrokenPicture(field, expected, "more")
    at, chunks = 8, 0  # after a PNG's signature: length, type, content and checksum of each chunk
    while data[1:4] == b"PNG" and at < len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise BrokenPicture(field, f"a PNG of at most {_MAX_CHUNKS:,} chunks", "more")


def scan_count(data: bytes) -> int:
    """Return the number of scans of a JPEG file, or slightly more."""
    return data.count(_JPEG_SCAN)


def metadata_bytes(data: bytes) -> int:
    """Return the size of a file's metadata in bytes: EXIF data, colour profiles, comments."""
    if data[:2] == _JPEG_START:
        return max(0, data.find(_JPEG_SCAN))
    is_png = data[1:4] == b"PNG"  # length, type, content, checksum; in WebP: type, length, content
    total, at = 0, 8 if is_png else 12
    while at + 8 <= len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        if is_png:
            size = int.from_bytes(first, "big")
            total += 0 if second == b"IDAT" else size
            at += size + 12
        else:
            size = int.from_bytes(second, "little")
            total += 0 if first in _WEBP_PIXELS else size
            at += size + size % 2 + 8
    return min(total, len(data))
