"""Conversion of UNIPEN's isolated digits and letters to files of pen strokes, and its download."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import pen_digits, pen_letters
from training.data.download import ProgressCallback, download_file
from training.data.pen_digits import CLASSES, PEN_DIGITS, SIDE, PenDigit, PenDigitSource
from training.data.pen_letters import PEN_LETTERS, PenLetter, PenLetterSource
from training.data.unipen import reader
from training.errors import DataCorrupt, DataMissing

MAX_ARCHIVE_BYTES = 2**30
"""Largest size of the downloaded archive."""

_POINT_BYTES = 4
"""Smallest size of a point in the pen digit file: two numbers and two commas."""

_DOT = 1e-6
"""Largest side of a dot, in the tablet's unit."""


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion.

    Attributes:
        digits: The converted digits, by writer.
        skipped: Number of skipped segments, by reason.
    """

    digits: tuple[PenDigit, ...]
    skipped: Mapping[str, int]


def convert(archive: Path, folder: Path, source: PenDigitSource = PEN_DIGITS) -> Conversion:
    """Convert UNIPEN's archive to the pen digit file.

    Args:
        archive: The archive, or the folder that it was unpacked to.
        folder: Data folder; the source's folder is created in it.
        source: The file to write, and its donors.

    Returns:
        The digits and the numbers of skipped segments; the same archive gives the same bytes.

    Raises:
        DataCorrupt: The archive is invalid, has no digit of these donors, or more than can be read back. An
            existing file is left unchanged.
        OSError: The archive cannot be read, or the file cannot be written.
    """
    digits, skipped, points = [], Counter[str](), 0
    for segment in reader.read(archive):
        if segment.donor not in source.donors:
            continue
        if segment.fault or segment.label not in CLASSES:
            skipped[segment.fault or "its label is no digit"] += 1
            continue
        points += sum(map(len, segment.strokes))
        if points * _POINT_BYTES > pen_digits.MAX_CONTENT_BYTES:
            raise _too_large(archive)
        strokes = normalise(segment.strokes)
        digits.append(PenDigit(CLASSES.index(segment.label), segment.donor, segment.writer, strokes))
    if not digits:
        raise DataCorrupt(archive.name, f"digits of {', '.join(source.donors)}", "none")
    content = pen_digits.to_jsonl(digits)
    if len(content) > pen_digits.MAX_CONTENT_BYTES:
        raise _too_large(archive)
    pen_digits.parse(content, archive.name)
    pen_digits.write(source.path(folder), digits)
    return Conversion(tuple(digits), dict(skipped))


def convert_letters(archive: Path, folder: Path, source: PenLetterSource = PEN_LETTERS) -> int:
    """Convert the letters of UNIPEN's archive to the pen letter file.

    Args:
        archive: The archive, or the folder that it was unpacked to.
        folder: Data folder; the source's folder is created in it.
        source: The file to write, and its donors.

    Returns:
        The number of letters; the same archive gives the same bytes.

    Raises:
        DataCorrupt, OSError: As for `convert`.
    """
    letters, points = [], 0
    for category in (reader.UPPER_CASE, reader.LOWER_CASE):
        prefix = category.removeprefix("data/")
        for segment in reader.read(archive, category):
            if (
                segment.donor not in source.donors
                or segment.fault
                or not pen_letters.is_letter(segment.label)
            ):
                continue
            points += sum(map(len, segment.strokes))
            if points * _POINT_BYTES > pen_digits.MAX_CONTENT_BYTES:
                raise _too_large(archive)
            writer, strokes = f"{prefix}{segment.writer}", normalise(segment.strokes)
            letters.append(PenLetter(segment.label, segment.donor, writer, strokes))
    if not letters:
        raise DataCorrupt(archive.name, f"letters of {', '.join(source.donors)}", "none")
    pen_letters.write(source.path(folder), letters)
    return len(letters)


def download(
    folder: Path,
    progress: ProgressCallback,
    source: PenDigitSource = PEN_DIGITS,
    letters: PenLetterSource | None = None,
) -> list[str]:
    """Download UNIPEN's archive and convert it, unless valid files exist.

    Args:
        folder: Data folder; the source's folder is created in it.
        progress: Called as bytes arrive.
        source: The file of digits to make.
        letters: The file of letters to make; None for none.

    Returns:
        The names of the files that were made; empty if they existed.

    Raises:
        DownloadFailed: No address returned the archive.
        DataCorrupt: The archive has no digits.
        OSError: The folder cannot be written.
    """
    needs_digits = not _is_valid(lambda: pen_digits.read(folder, source))
    needs_letters = letters is not None and not _is_valid(lambda: pen_letters.read(folder, letters))
    if not needs_digits and not needs_letters:
        return []
    archive = source.path(folder).with_name(source.archive)
    download_file(archive, source.addresses, reader.check, progress, MAX_ARCHIVE_BYTES)
    made = []
    if needs_digits:
        convert(archive, folder, source)
        made.append(source.file)
    if letters is not None and needs_letters:
        convert_letters(archive, folder, letters)
        made.append(letters.file)
    archive.unlink()  # a hundred times the size of the files made from it
    return made


def _is_valid(read: Callable[[], object]) -> bool:
    try:
        read()
    except (DataMissing, DataCorrupt):
        return False
    return True


def normalise(strokes: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], ...]:
    """Flip y downwards and scale to a bounding box from (0, 0), larger side 1,000, in integers."""
    points = np.concatenate(strokes) * (1, -1)
    low, side = points.min(axis=0), float(np.ptp(points, axis=0).max())
    scale = SIDE / side if side > _DOT else 0.0
    return tuple(np.rint((stroke * (1, -1) - low) * scale) for stroke in strokes)


def _too_large(archive: Path) -> DataCorrupt:
    return DataCorrupt(archive.name, f"digits of at most {pen_digits.MAX_CONTENT_BYTES:,} bytes", "more")
