"""PNG encoders: of an array with Pillow, and of an enlarged array without holding its pixels in memory.

Pillow needs the whole enlarged image, up to 64 MB. `write_enlarged` enlarges and compresses a few rows at a
time. Rows that repeat the row above are written as "no difference" (filter type 2, Up), which makes the file
several times smaller. Format: PNG specification, third edition, W3C, 2025.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGBA = 6
_FILTER_NONE, _FILTER_UP = 0, 2
_LEVEL = 1
_BLOCK_BYTES = 2**18
_CHUNK_BYTES = 2**16


def write(image: NDArray[np.uint8]) -> bytes:
    """Encode an image as PNG: (H, W) uint8 grey, (H, W, 3) RGB or (H, W, 4) RGBA."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def write_enlarged(image: NDArray[np.uint8], scale: int) -> bytes:
    """Encode an image as PNG, with each pixel enlarged to a square.

    Args:
        image: (H, W, 4) uint8 RGBA.
        scale: Side of a square in pixels, >= 1.

    Returns:
        A PNG file of H * scale by W * scale pixels.
    """
    height, width = image.shape[:2]
    stream = io.BytesIO()
    stream.write(_SIGNATURE)
    header = struct.pack(">IIBBBBB", width * scale, height * scale, 8, _RGBA, 0, 0, 0)
    _write_chunk(stream, b"IHDR", header)
    compressor = zlib.compressobj(_LEVEL)
    pending = b""
    rows = max(1, _BLOCK_BYTES // (4 * width * scale * scale))
    for top in range(0, height, rows):
        lines = image[top : top + rows].repeat(scale, axis=1).reshape(-1, 4 * width * scale)
        block = np.zeros((len(lines), scale, 1 + lines.shape[1]), np.uint8)
        block[:, :, 0] = _FILTER_UP
        block[:, 0, 0] = _FILTER_NONE
        block[:, 0, 1:] = lines
        pending += compressor.compress(block.tobytes())
        if len(pending) >= _CHUNK_BYTES:
            _write_chunk(stream, b"IDAT", pending)
            pending = b""
    _write_chunk(stream, b"IDAT", pending + compressor.flush())
    _write_chunk(stream, b"IEND", b"")
    return stream.getvalue()


def _write_chunk(stream: io.BytesIO, kind: bytes, data: bytes) -> None:
    stream.write(struct.pack(">I", len(data)) + kind)
    stream.write(data)
    stream.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
