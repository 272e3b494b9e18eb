"""What a picture file costs to decode, told from its first bytes.

Strict on purpose: whatever is unusual may take long, and what is unusual is only said to be unknown.
Whether a file is sound is `picture_body`'s work.
"""

import struct

_GREY, _COLOURED = 1, 4
"""Bytes in which Pillow keeps a pixel, whatever else it is made of than one grey."""

_PNG_GREY = 0

_MOST_CHUNKS = 32

_MOST_BESIDE = 2048
"""Bytes of a file that are not of its pixels: tables, a palette, remarks."""

_SLOW_CHUNKS = {b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"IHDR"}
"""What may unpack to a thousand times its size, or be read entry by entry; and a second head."""

_SCAN, _BASELINE = 0xDA, (0xC0, 0xC1)

_QUICK_SEGMENTS = {0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE}
"""Of JPEG: tables, how often it restarts, JFIF's and Adobe's few bytes, a remark. EXIF data are none."""


def weigh(data: bytes) -> int | None:
    """Return how many bytes the decoded picture takes.

    Args:
        data: The whole file.

    Returns:
        None if it is not a plain PNG, JPEG or WebP file: then decoding it may take any time.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _weigh_png(data)
    if data[:2] == b"\xff\xd8":
        return _weigh_jpeg(data)
    if data[:4] == b"RIFF" and data[8:15] == b"WEBPVP8":
        return _weigh_webp(data)
    return None


def _weigh_png(data: bytes) -> int | None:
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        return None
    width, height, bits, colour = _numbers(">IIBB", data, 16)
    at, beside, chunks = 33, 0, 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        if kind != b"IDAT":
            beside += size
        chunks += 1
        if kind in _SLOW_CHUNKS or beside > _MOST_BESIDE or chunks > _MOST_CHUNKS:
            return None
        at += 12 + size
    return width * height * (_GREY if colour == _PNG_GREY else _COLOURED) * (2 if bits > 8 else 1)


def _weigh_jpeg(data: bytes) -> int | None:
    if data.count(b"\xff\xda") != 1:  # each scan is a pass over all pixels
        return None
    at, weight = 2, None
    while at + 10 <= len(data) and at <= _MOST_BESIDE:
        start, kind, size = _numbers(">BBH", data, at)
        if start != 0xFF or size < 2:
            return None
        if kind == _SCAN:
            return weight
        if kind in _BASELINE and weight is None:
            height, width, channels = _numbers(">HHB", data, at + 5)
            weight = width * height * (_GREY if channels == 1 else _COLOURED)
        elif kind not in _QUICK_SEGMENTS:
            return None
        at += 2 + size
    return None


def _weigh_webp(data: bytes) -> int | None:
    if len(data) < 30:
        return None
    if data[15:16] == b" " and data[23:26] == b"\x9d\x01\x2a":
        width, height = _numbers("<HH", data, 26)
        return _COLOURED * (width & 0x3FFF) * (height & 0x3FFF)
    if data[15:16] == b"L" and data[20:21] == b"\x2f":
        (sides,) = _numbers("<I", data, 21)
        return _COLOURED * ((sides & 0x3FFF) + 1) * ((sides >> 14 & 0x3FFF) + 1)
    return None


def _numbers(form: str, data: bytes, at: int) -> tuple[int, ...]:
    return struct.unpack_from(form, data, at)
