"""UCI's pen digits: conversion of the original training file to the form of the pen digits, and its download.

The archive is a zip file; in it, the strokes are a UNIPEN file that was compressed by `compress`. Each digit
begins with a comment that gives the digit, the writer and a running number.

Source: E. Alpaydin, F. Alimoglu, "Pen-Based Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, CC BY 4.0.
"""

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import pen_digits
from training.data.download import ProgressCallback, download_file
from training.data.pen_digits import UCI_DIGITS, PenDigit, PenDigitSource
from training.data.unipen.conversion import normalise
from training.errors import DataCorrupt, DataMissing

MEMBER = "pendigits-orig.tra.Z"
"""Name of the training file in the archive. The other file's writers are not learnt from."""

MAX_ARCHIVE_BYTES = 64 * 2**20
"""Largest size of the downloaded archive; UCI's has 2 MB."""

_MAGIC = b"\x1f\x9d"
"""First bytes of a file made by `compress`."""

_COMMENT = re.compile(r"^\.COMMENT[ \t]+(\d)[ \t]+(\d{1,4})[ \t]+\d+[ \t]*$", re.MULTILINE)
_DOWN = re.compile(r"^\.PEN_DOWN[ \t]*\n((?:[ \t]*-?\d+[ \t]+-?\d+[ \t]*\n)+)", re.MULTILINE)


def convert(archive: Path, folder: Path, source: PenDigitSource = UCI_DIGITS) -> tuple[PenDigit, ...]:
    """Convert UCI's archive to a pen digit file.

    Args:
        archive: The zip file.
        folder: Data folder; the source's folder is created in it.
        source: The file to write.

    Returns:
        The digits, in file order.

    Raises:
        DataCorrupt: The archive is invalid or has no digits.
        OSError: The archive cannot be read, or the file cannot be written.
    """
    text = uncompress(_member(archive), archive.name).decode("latin-1").replace("\r\n", "\n")
    digits = tuple(parse(text, source.donors[0]))
    if not digits:
        raise DataCorrupt(archive.name, "pen digits with a comment each", "none")
    pen_digits.parse(pen_digits.to_jsonl(digits), archive.name)
    pen_digits.write(source.path(folder), digits)
    return digits


def download(folder: Path, progress: ProgressCallback, source: PenDigitSource = UCI_DIGITS) -> list[str]:
    """Download UCI's archive and convert it, unless a valid pen digit file exists.

    Returns:
        The name of the file if it was made; empty if it existed.

    Raises:
        DownloadFailed: No address returned the archive.
        DataCorrupt: The archive has no digits.
        OSError: The folder cannot be written.
    """
    try:
        pen_digits.read(folder, source)
    except (DataMissing, DataCorrupt):
        archive = source.path(folder).with_name(source.archive)
        download_file(archive, source.addresses, _member, progress, MAX_ARCHIVE_BYTES)
        convert(archive, folder, source)
        archive.unlink()
        return [source.file]
    return []


def parse(text: str, donor: str) -> Sequence[PenDigit]:
    """Parse the training file; y points upwards in it.

    Args:
        text: Content of the file.
        donor: Donor of the digits; writers are named after it and their number.
    """
    comments = list(_COMMENT.finditer(text))
    ends = [comment.start() for comment in comments[1:]] + [len(text)]
    digits = []
    for comment, end in zip(comments, ends, strict=False):  # without comments there is one end more
        strokes = [_points(match[1]) for match in _DOWN.finditer(text, comment.end(), end)]
        if strokes:
            digits.append(PenDigit(int(comment[1]), donor, f"{donor}/{int(comment[2])}", normalise(strokes)))
    return digits


def uncompress(content: bytes, name: str) -> bytes:
    """Decompress a file made by `compress`.

    Args:
        content: The compressed file.
        name: Name of the file, for messages.

    Raises:
        DataCorrupt: The content is invalid, or too large.

    Source: T. A. Welch, "A Technique for High-Performance Data Compression", 1984. Codes have 9 bits at first
    and are stored in groups of eight; the rest of a group is padding when the width of the codes changes.
    """
    if content[:2] != _MAGIC or len(content) < 4 or not 9 <= content[2] & 0x1F <= 16:
        raise DataCorrupt(name, "a file made by compress", content[:4].hex() or "nothing")
    max_width, has_clear = content[2] & 0x1F, bool(content[2] & 0x80)
    bits, position, width = content[3:], 0, 9  # position in bits
    table = [bytes([value]) for value in range(256)] + [b""] * has_clear
    group = 0  # first bit of the codes of this width
    previous, made, size = b"", [], 0
    while position + width <= 8 * len(bits):
        window = int.from_bytes(bits[position // 8 : position // 8 + 4], "little")
        code = window >> position % 8 & (1 << width) - 1
        position += width
        if has_clear and code == 256:
            position, width = _next_group(position, group, width), 9
            group, previous = position, b""
            del table[257:]
            continue
        if code < len(table) and table[code]:
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            raise DataCorrupt(name, "a file made by compress", f"code {code} of {len(table)}")
        made.append(entry)
        size += len(entry)
        if size > pen_digits.MAX_CONTENT_BYTES:
            raise DataCorrupt(name, f"at most {pen_digits.MAX_CONTENT_BYTES:,} bytes uncompressed", "more")
        if previous and len(table) < 1 << max_width:
            table.append(previous + entry[:1])
        previous = entry
        if len(table) >= 1 << width and width < max_width:
            position, width = _next_group(position, group, width), width + 1
            group = position
    return b"".join(made)


def _next_group(position: int, group: int, width: int) -> int:
    """Return the first bit after the group of eight codes that ends at or after a position."""
    size = 8 * width
    return group + -(-(position - group) // size) * size


def _member(archive: Path) -> bytes:
    """Return the compressed training file of the archive.

    Raises:
        DataCorrupt: The archive is broken or lacks the file.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.rpartition("/")[2] == MEMBER]
            if not names:
                raise DataCorrupt(archive.name, f"a zip file with {MEMBER}", "none of that name")
            with opened.open(names[0]) as file:
                return file.read(MAX_ARCHIVE_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataCorrupt(archive.name, "a zip file", str(error) or "a broken one") from error


def _points(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), np.float64).reshape(-1, 2)
