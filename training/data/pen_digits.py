"""Pen digits: handwritten digits as pen strokes, in a gzipped JSON Lines file.

One digit per line: `{"label": 5, "donor": "syn", "writer": "syn/…", "strokes": [[x0, y0, x1, y1, …], …]}`,
integer coordinates, y downwards. The file is converted from UNIPEN's archive by `training.data.unipen`.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.errors import DataCorrupt, DataMissing

SIDE = 1000
"""Larger side of a digit's bounding box, in the unit of its coordinates."""

MAX_CONTENT_BYTES = 64 * 2**20
"""Largest uncompressed size of the file, ten times that of UNIPEN's digits."""

MAX_LINE_BYTES = 2**20
"""Largest size of one digit; UNIPEN's longest takes 2,027 bytes."""

CLASSES = tuple("0123456789")

_KEYS = {"label", "donor", "writer", "strokes"}


@dataclass(frozen=True, eq=False)
class PenDigit:
    """A handwritten digit as pen strokes.

    Attributes:
        label: 0 to 9.
        donor: Contributor of the data: an institution with tablets and writers of its own.
        writer: Name of the writer; begins with the donor.
        strokes: One (points, 2) float64 array per stroke, points >= 1: x to the right, y downwards, bounding
            box from (0, 0), larger side 1,000 (0 for a dot).
    """

    label: int
    donor: str
    writer: str
    strokes: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class PenDigitSource:
    """A pen digit file and the archive that it is converted from.

    Attributes:
        name: Name of the data set in messages.
        folder: Folder of the file, relative to the data folder.
        file: Name of the file.
        sha256: Digest of the uncompressed content that the published figures were measured with. Other valid
            content is read as well, see docs/decisions/0016-conversions-of-the-pen-strokes.md.
        donors: Donors whose digits are converted.
        archive: File name of the archive.
        addresses: URLs of the archive, in order of preference.
    """

    name: str
    folder: str
    file: str
    sha256: str
    donors: tuple[str, ...]
    archive: str
    addresses: tuple[str, ...]

    def path(self, folder: Path) -> Path:
        """Return the path of the file in a data folder."""
        return folder / self.folder / self.file


PEN_DIGITS = PenDigitSource(
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

UCI_DIGITS = PenDigitSource(
    name="UCI's pen digits",
    folder="ink",
    file="pendigits.jsonl.gz",
    sha256="f93bf6af18ab67af849d3b30a07e5960fc2effafafa70baa03f2cf2c1cb17e91",
    donors=("pendigits",),
    archive="pen+based+recognition+of+handwritten+digits.zip",
    addresses=(
        "https://archive.ics.uci.edu/static/public/81/pen+based+recognition+of+handwritten+digits.zip",
    ),
)
"""Training part of E. Alpaydin, F. Alimoglu, "Pen-Based Recognition of Handwritten Digits", UCI, 1998,
CC BY 4.0."""


def read(folder: Path, source: PenDigitSource = PEN_DIGITS) -> tuple[PenDigit, ...]:
    """Read all pen digits, and validate every line.

    Args:
        folder: Data folder, which holds the source's folder.
        source: The file to read.

    Returns:
        The digits, in file order.

    Raises:
        DataMissing: The file does not exist.
        DataCorrupt: The file is no gzip file, or a line is invalid; the message names the line.
    """
    path = source.path(folder)
    if not path.is_file():
        raise DataMissing(source.name, path.parent, [source.file])
    digits = parse(decompress(path), source.file)
    if not digits:
        raise DataCorrupt(source.file, "at least one digit", "none")
    return digits


def parse(content: bytes, name: str) -> tuple[PenDigit, ...]:
    """Parse the uncompressed content of a pen digit file.

    Args:
        content: UTF-8, one JSON object per line.
        name: Name of the file, for messages.

    Raises:
        DataCorrupt: A line is invalid; the message names the line.
    """
    return tuple(
        _parse_digit(line, f"{name}, line {row}") for row, line in enumerate(content.splitlines(), 1)
    )


class Written(Protocol):
    """A character as pen strokes: a `PenDigit`, or another whose label is of another type."""

    @property
    def label(self) -> object:
        """The character."""

    @property
    def donor(self) -> str:
        """Contributor of the data."""

    @property
    def writer(self) -> str:
        """Name of the writer."""

    @property
    def strokes(self) -> tuple[NDArray[np.float64], ...]:
        """One (points, 2) array per stroke."""


def to_jsonl(digits: Iterable[Written]) -> bytes:
    """Return the uncompressed content of a file of pen strokes, coordinates rounded to integers."""
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


def write(path: Path, digits: Iterable[Written]) -> None:
    """Write a pen digit file atomically; the same digits give the same bytes.

    Raises:
        OSError: The file cannot be written.
    """
    compressed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=compressed, mtime=0) as stream:
        stream.write(to_jsonl(digits))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(compressed.getvalue())
    temporary.replace(path)


def digest(digits: Iterable[Written]) -> str:
    """Return the SHA-256 of the uncompressed file of these digits."""
    return hashlib.sha256(to_jsonl(digits)).hexdigest()


def donors(digits: Iterable[PenDigit]) -> tuple[str, ...]:
    """Return the donors of digits, sorted by name."""
    return tuple(sorted({digit.donor for digit in digits}))


def summary(digits: Sequence[PenDigit], source: PenDigitSource = PEN_DIGITS) -> list[str]:
    """Return lines of text: digits, writers and class counts per donor, and the digest."""
    lines = []
    for donor in donors(digits):
        own = [digit for digit in digits if digit.donor == donor]
        labels = Counter(digit.label for digit in own)
        counts = [labels[label] for label in range(len(CLASSES))]
        writers = len({digit.writer for digit in own})
        lines.append(
            f"{donor:<6}{len(own):>6,} digits, {writers:>3} writers, "
            f"{min(counts):,} to {max(counts):,} per class"
        )
    found = digest(digits)
    is_same = found == source.sha256
    lines.append(
        f"{len(digits):,} digits, sha256 {found[:12]}: "
        + ("those of the published figures" if is_same else "not those of the published figures")
    )
    return lines


def decompress(path: Path) -> bytes:
    """Return the uncompressed content of a file of pen strokes.

    Raises:
        DataCorrupt: The file is no gzip file, or its content is too large.
    """
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(MAX_CONTENT_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataCorrupt(path.name, "a complete gzip file", str(error) or "something else") from error
    if len(content) > MAX_CONTENT_BYTES:
        raise DataCorrupt(path.name, f"at most {MAX_CONTENT_BYTES:,} bytes uncompressed", "more")
    return content


def parse_line(line: bytes, name: str) -> tuple[object, str, str, tuple[NDArray[np.float64], ...]]:
    """Parse and validate one line of a file of pen strokes, but for its label.

    Args:
        line: UTF-8, a JSON object with label, donor, writer and strokes.
        name: Name of the line, for messages.

    Returns:
        Label, donor, writer and strokes.

    Raises:
        DataCorrupt: The line is invalid.
    """
    if len(line) > MAX_LINE_BYTES:
        raise DataCorrupt(name, f"at most {MAX_LINE_BYTES:,} bytes", f"{len(line):,}")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataCorrupt(name, "a JSON object", excerpt(line.decode("utf-8", "replace"))) from error
    if not isinstance(found, dict) or set(found) != _KEYS:
        got = ", ".join(sorted(found)) if isinstance(found, dict) else excerpt(found)
        raise DataCorrupt(name, f"an object with {', '.join(sorted(_KEYS))}", got or "none of them")
    for key in ("donor", "writer"):
        if not isinstance(found[key], str) or not found[key]:
            raise DataCorrupt(name, f"of a {key} by name", excerpt(found[key]))
    if not isinstance(found["strokes"], list) or not found["strokes"]:
        raise DataCorrupt(name, "of at least one stroke", excerpt(found["strokes"]))
    strokes = tuple(
        _parse_stroke(numbers, f"{name}, stroke {row}") for row, numbers in enumerate(found["strokes"], 1)
    )
    extent = max(float(stroke.max()) for stroke in strokes)
    if extent not in (0, SIDE) or any(min(stroke[:, axis].min() for stroke in strokes) for axis in (0, 1)):
        raise DataCorrupt(name, f"drawn from 0 to {SIDE:,}", f"another box, up to {extent:g}")
    return found["label"], found["donor"], found["writer"], strokes


def _parse_digit(line: bytes, name: str) -> PenDigit:
    label, donor, writer, strokes = parse_line(line, name)
    if type(label) is not int or not 0 <= label < len(CLASSES):
        raise DataCorrupt(name, "of a label from 0 to 9", excerpt(label))
    return PenDigit(label, donor, writer, strokes)


def _parse_stroke(numbers: object, name: str) -> NDArray[np.float64]:
    if not isinstance(numbers, list) or not numbers or len(numbers) % 2:
        got = f"{len(numbers)} numbers" if isinstance(numbers, list) else excerpt(numbers)
        raise DataCorrupt(name, "a list x0, y0, x1, y1, … of at least one point", got)
    for number in numbers:
        if type(number) is not int or not 0 <= number <= SIDE:
            raise DataCorrupt(name, f"of integers from 0 to {SIDE:,}", excerpt(number))
    return np.array(numbers, np.float64).reshape(-1, 2)


def excerpt(value: object) -> str:
    """Return the first 40 characters of a value, for a message."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
