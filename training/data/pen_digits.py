"""Digits written with a pen, as strokes: UNIPEN's isolated digits in a small file of our own.

The file holds a digit a line, `{"label": 5, "donor": "syn", "writer": "syn/…", "strokes": [[x0, y0, x1, y1,
…], …]}`, whole numbers, y downwards. How UNIPEN itself writes them is `unipen`'s work.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.download import Progress, fetch_file
from training.data.unipen import format as unipen
from training.errors import DataCorrupt, DataMissing

SIDE = 1000
"""The larger side of a digit's bounding box, in its units."""

MAX_CONTENT_BYTES = 64 * 2**20
"""Of the unwrapped file, ten times what UNIPEN's digits take; a file that holds more is not read on."""

MAX_LINE_BYTES = 2**20
"""Of one digit; the longest of UNIPEN's takes 2,027."""

CLASSES = tuple("0123456789")

_POINT_BYTES = 4
"""The least that a point takes: two numbers and two commas."""

_DOT = 1e-6
"""Digits no larger than this, in the tablet's own units, are dots."""

_KEYS = {"label", "donor", "writer", "strokes"}


@dataclass(frozen=True, eq=False)
class PenDigit:
    """A digit as its writer moved the pen.

    Attributes:
        label: 0 to 9.
        donor: Who gave the data: an institution with tablets and writers of its own.
        writer: Who wrote it; begins with the donor.
        strokes: From pen down to pen up, one (points, 2) float64 array each, points >= 1: x to the right,
            y downwards, bounding box from (0, 0), its larger side 1,000 (0 for a dot).
    """

    label: int
    donor: str
    writer: str
    strokes: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class Source:
    """A file of pen digits and where it comes from.

    Attributes:
        name: For people.
        folder: Below the data folder.
        file: Its name there.
        sha256: Of the unwrapped content that our published figures come from; another valid content is
            read as well, see docs/decisions/0016-another-conversion-is-read-too.md.
        donors: Those whose digits are taken from UNIPEN's archive; the others stay unseen.
        archive: The archive's file name.
        addresses: Where the archive may be had, the first choice first.
    """

    name: str
    folder: str
    file: str
    sha256: str
    donors: tuple[str, ...]
    archive: str
    addresses: tuple[str, ...]

    def path(self, folder: Path) -> Path:
        """Return where the file is in this data folder."""
        return folder / self.folder / self.file


INK = Source(
    name="The pen strokes",
    folder="ink",
    file="digits.jsonl.gz",
    sha256="96c276044a721f0f82244381d131b19fe2168ed6fd2de11d5e600b777b07fdd9",
    donors=("apa", "apb", "ced", "gmd", "syn"),
    archive="unipen-CDROM-train_r01_v07.tgz",
    addresses=(
        "https://zenodo.org/records/1195803/files/unipen-CDROM-train_r01_v07.tgz",
        "https://zenodo.org/api/records/1195803/files/unipen-CDROM-train_r01_v07.tgz/content",
    ),
)

MAX_ARCHIVE_BYTES = 2**30
"""Of UNIPEN's archive, wrapped."""


@dataclass(frozen=True)
class Conversion:
    """What came of an archive.

    Attributes:
        digits: Those that could be read, by writer.
        left_out: For each reason, how many segments could not.
    """

    digits: tuple[PenDigit, ...]
    left_out: Mapping[str, int]


def read(folder: Path, source: Source = INK) -> tuple[PenDigit, ...]:
    """Read all pen digits, every line checked.

    Args:
        folder: The data folder, which holds the source's own folder.
        source: Which file.

    Returns:
        The digits, in the order of the file.

    Raises:
        DataMissing: The file is not there.
        DataCorrupt: It is no gzip file, or a line is no digit; the message names the line.
    """
    path = source.path(folder)
    if not path.is_file():
        raise DataMissing(source.name, path.parent, [source.file])
    digits = parse(_unwrapped(path), source.file)
    if not digits:
        raise DataCorrupt(source.file, "at least one digit", "none")
    return digits


def parse(content: bytes, name: str) -> tuple[PenDigit, ...]:
    """Read the unwrapped content of a file of pen digits.

    Args:
        content: UTF-8, a JSON object a line.
        name: Of the file, for messages.

    Raises:
        DataCorrupt: A line is no digit; the message names the line.
    """
    return tuple(_digit(line, f"{name}, line {row}") for row, line in enumerate(content.splitlines(), 1))


def content(digits: Iterable[PenDigit]) -> bytes:
    """Return the unwrapped content of a file of these digits, coordinates rounded to whole numbers."""
    lines = (
        json.dumps(
            {
                "label": digit.label,
                "donor": digit.donor,
                "writer": digit.writer,
                "strokes": [np.rint(stroke).astype(int).ravel().tolist() for stroke in digit.strokes],
            },
            separators=(",", ":"),
        )
        for digit in digits
    )
    return "".join(f"{line}\n" for line in lines).encode()


def write(path: Path, digits: Iterable[PenDigit]) -> None:
    """Write digits to a file; the same digits give the same bytes.

    Raises:
        OSError: The file cannot be written.
    """
    wrapped = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=wrapped, mtime=0) as stream:
        stream.write(content(digits))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(wrapped.getvalue())
    aside.replace(path)  # so that an interruption leaves no half of it


def convert(archive: Path, folder: Path, source: Source = INK) -> Conversion:
    """Write the file of pen digits from UNIPEN's archive.

    Args:
        archive: The archive, or the folder that it was unpacked to.
        folder: The data folder; the source's own folder is made in it.
        source: Which file, of which donors.

    Returns:
        What was written, and what was left out; the same archive gives the same bytes.

    Raises:
        DataCorrupt: It is no such archive, or holds no digit of these donors, or more than could be read
            again; what was there before is left as it is.
        OSError: The archive cannot be read, or the file not be written.
    """
    digits, left_out, points = [], Counter[str](), 0
    for segment in unipen.read(archive):
        if segment.donor not in source.donors:
            continue
        if segment.fault or segment.label not in CLASSES:
            left_out[segment.fault or "its label is no digit"] += 1
            continue
        points += sum(map(len, segment.strokes))
        if points * _POINT_BYTES > MAX_CONTENT_BYTES:
            raise DataCorrupt(archive.name, f"digits of at most {MAX_CONTENT_BYTES:,} bytes", "more")
        strokes = _normalised(segment.strokes)
        digits.append(PenDigit(CLASSES.index(segment.label), segment.donor, segment.writer, strokes))
    if not digits:
        raise DataCorrupt(archive.name, f"digits of {', '.join(source.donors)}", "none")
    whole = content(digits)
    if len(whole) > MAX_CONTENT_BYTES:
        raise DataCorrupt(archive.name, f"digits of at most {MAX_CONTENT_BYTES:,} bytes", "more")
    parse(whole, archive.name)
    write(source.path(folder), digits)
    return Conversion(tuple(digits), dict(left_out))


def fetch(folder: Path, progress: Progress, source: Source = INK) -> list[str]:
    """Fetch UNIPEN's archive and convert it, where the file of pen digits is not there or broken.

    Args:
        folder: The data folder; the source's own folder is made in it.
        progress: Called as bytes arrive.
        source: Which file.

    Returns:
        The file's name where it had to be made; what was there and right is left alone.

    Raises:
        DownloadFailed: No address gave the archive.
        DataCorrupt: The archive holds no digits.
        OSError: The folder cannot be written.
    """
    try:
        read(folder, source)
    except (DataMissing, DataCorrupt):
        archive = source.path(folder).with_name(source.archive)
        fetch_file(archive, source.addresses, unipen.check, progress, MAX_ARCHIVE_BYTES)
        convert(archive, folder, source)
        archive.unlink()  # a hundred times the size of what was needed
        return [source.file]
    return []


def digest(digits: Iterable[PenDigit]) -> str:
    """Return the SHA-256 of these digits, which is that of the unwrapped file that holds them alone."""
    return hashlib.sha256(content(digits)).hexdigest()


def donors(digits: Iterable[PenDigit]) -> tuple[str, ...]:
    """Return the donors there are, by name."""
    return tuple(sorted({digit.donor for digit in digits}))


def describe(digits: Sequence[PenDigit], source: Source = INK) -> list[str]:
    """Return lines for people: digits, writers and classes by donor, and which file this is."""
    lines = []
    for donor in donors(digits):
        own = [digit for digit in digits if digit.donor == donor]
        labels = Counter(digit.label for digit in own)
        counts = [labels[label] for label in range(len(CLASSES))]
        writers = len({digit.writer for digit in own})
        lines.append(
            f"{donor:<6}{len(own):>6,} digits, {writers:>3} writers, "
            f"{min(counts):,} to {max(counts):,} a class"
        )
    found = digest(digits)
    same = found == source.sha256
    lines.append(
        f"{len(digits):,} digits, sha256 {found[:12]}: "
        + ("those of our figures" if same else "not those of our figures, which may differ on these")
    )
    return lines


def _normalised(strokes: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], ...]:
    """Turn y downwards and fit strokes into the box from (0, 0), larger side 1,000, in whole numbers."""
    points = np.concatenate(strokes) * (1, -1)
    low, side = points.min(axis=0), float(np.ptp(points, axis=0).max())
    scale = SIDE / side if side > _DOT else 0.0
    return tuple(np.rint((stroke * (1, -1) - low) * scale) for stroke in strokes)


def _unwrapped(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as stream:
            unwrapped = stream.read(MAX_CONTENT_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataCorrupt(path.name, "a whole gzip file", str(error) or "something else") from error
    if len(unwrapped) > MAX_CONTENT_BYTES:
        raise DataCorrupt(path.name, f"at most {MAX_CONTENT_BYTES:,} bytes unwrapped", "more")
    return unwrapped


def _digit(line: bytes, name: str) -> PenDigit:
    if len(line) > MAX_LINE_BYTES:
        raise DataCorrupt(name, f"at most {MAX_LINE_BYTES:,} bytes", f"{len(line):,}")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataCorrupt(name, "a JSON object", _start(line.decode("utf-8", "replace"))) from error
    if not isinstance(found, dict) or set(found) != _KEYS:
        got = ", ".join(sorted(found)) if isinstance(found, dict) else _start(found)
        raise DataCorrupt(name, f"an object with {', '.join(sorted(_KEYS))}", got or "none of them")
    if type(found["label"]) is not int or not 0 <= found["label"] < len(CLASSES):
        raise DataCorrupt(name, "of a label from 0 to 9", _start(found["label"]))
    for key in ("donor", "writer"):
        if not isinstance(found[key], str) or not found[key]:
            raise DataCorrupt(name, f"of a {key} by name", _start(found[key]))
    if not isinstance(found["strokes"], list) or not found["strokes"]:
        raise DataCorrupt(name, "of at least one stroke", _start(found["strokes"]))
    strokes = tuple(
        _stroke(numbers, f"{name}, stroke {row}") for row, numbers in enumerate(found["strokes"], 1)
    )
    extent = max(float(stroke.max()) for stroke in strokes)
    if extent not in (0, SIDE) or any(min(stroke[:, axis].min() for stroke in strokes) for axis in (0, 1)):
        raise DataCorrupt(name, f"drawn from 0 to {SIDE:,}", f"another box, up to {extent:g}")
    return PenDigit(found["label"], found["donor"], found["writer"], strokes)


def _stroke(numbers: object, name: str) -> NDArray[np.float64]:
    if not isinstance(numbers, list) or not numbers or len(numbers) % 2:
        got = f"{len(numbers)} numbers" if isinstance(numbers, list) else _start(numbers)
        raise DataCorrupt(name, "a list x0, y0, x1, y1, … of at least one point", got)
    for number in numbers:
        if type(number) is not int or not 0 <= number <= SIDE:
            raise DataCorrupt(name, f"of whole numbers from 0 to {SIDE:,}", _start(number))
    return np.array(numbers, np.float64).reshape(-1, 2)


def _start(found: object) -> str:
    """Return how something begins, for a message."""
    text = found if isinstance(found, str) else repr(found)
    return text if len(text) <= 40 else f"{text[:40]}…"
