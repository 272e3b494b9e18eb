"""Decoded size of an image file, from its first bytes.

Returns None for files with any feature that can make decoding slow. Whether a file is valid is checked by
`image_files`.
"""

import struct

_GREY, _COLOUR = 1, 4
"""Bytes per pixel in Pillow's memory: 1 for 8-bit greyscale, 4 for all other modes of 8 bits."""

_PNG_GREY = 0

_MAX_CHUNKS = 32

_MAX_METADATA = 2048
"""Bytes that are not pixels: tables, a palette, comments."""

_SLOW_CHUNKS = {b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"IHDR"}
"""PNG chunks that decompress to 1,000 times their size or are parsed entry by entry; a second header."""

_SCAN, _BASELINE = 0xDA, (0xC0, 0xC1)

_QUICK_SEGMENTS = {0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE}
"""JPEG segments that are parsed quickly: tables, restart interval, JFIF, Adobe, comment. EXIF is not one."""


def decoded_bytes(data: bytes) -> int | None:
    """Return the size of the decoded image in memory.

    Args:
        data: The whole file.

    Returns:
        Bytes; None if the file is not a plain PNG, JPEG or WebP, and decoding may take any time.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png_bytes(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg_bytes(data)
    if data[:4] == b"RIFF" and data[8:15] == b"WEBPVP8":
        return _webp_bytes(data)
    return None


def _png_bytes(data: bytes) -> int | None:
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        return None
    width, height, bits, colour = _numbers(">IIBB", data, 16)
    at, metadata, chunks = 33, 0, 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        if kind != b"IDAT":
            metadata += size
        chunks += 1
        if kind in _SLOW_CHUNKS or metadata > _MAX_METADATA or chunks > _MAX_CHUNKS:
            return None
        at += 12 + size
    return width * height * (_GREY if colour == _PNG_GREY else _COLOUR) * (2 if bits > 8 else 1)


def _jpeg_bytes(data: bytes) -> int | None:
    if data.count(b"\xff\xda") != 1:  # each scan is a pass over all pixels
        return None
    at, decoded = 2, None
    while at + 10 <= len(data) and at <= _MAX_METADATA:
        start, kind, size = _numbers(">BBH", data, at)
        if start != 0xFF or size < 2:
            return None
        if kind == _SCAN:
            return decoded
        if kind in _BASELINE and decoded is None:
            height, width, channels = _numbers(">HHB", data, at + 5)
            decoded = width * height * (_GREY if channels == 1 else _COLOUR)
        elif kind not in _QUICK_SEGMENTS:
            return None
        at += 2 + size
    return None


def _webp_bytes(data: bytes) -> int | None:
    if len(data) < 30:
        return None
    if data[15:16] == b" " and data[23:26] == b"\x9d\x01\x2a":
        width, height = _numbers("<HH", data, 26)
        return _COLOUR * (width & 0x3FFF) * (height & 0x3FFF)
    if data[15:16] == b"L" and data[20:21] == b"\x2f":
        (sides,) = _numbers("<I", data, 21)
        return _COLOUR * ((sides & 0x3FFF) + 1) * ((sides >> 14 & 0x3FFF) + 1)
    return None


def _numbers(layout: str, data: bytes, at: int) -> tuple[int, ...]:
    return struct.unpack_from(layout, data, at)
