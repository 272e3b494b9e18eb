"""Pen letters: handwritten letters as pen strokes, which serve as non-digits.

The file has the form of the pen digits, with a letter as the label. Letters that a reader could take for a
digit are read and left out by `without_lookalikes`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import pen_digits
from training.data.pen_digits import excerpt
from training.errors import DataCorrupt, DataMissing

LOOKALIKES: Mapping[str, str] = {
    "O": "0",
    "o": "0",
    "D": "0, where its corners are round",
    "Q": "0 with a slash, or 2 in cursive",
    "I": "1, with or without serifs",
    "i": "1, where the dot is missing or joined",
    "l": "1",
    "J": "1 or 7 with a hook",
    "j": "1 or 7 with a hook, where the dot is missing",
    "S": "5",
    "s": "5",
    "Z": "2, or 7 with a bar and a foot",
    "z": "2",
    "B": "8",
    "b": "6",
    "G": "6",
    "g": "9 with a curled tail",
    "q": "9",
    "Y": "4, open at the top",
    "y": "4, open at the top",
}
"""Letters that are no evidence of a non-digit, and the digit that a reader takes them for.

The list was decided by shape. `ink` 1, which had seen no real letter, calls 48 to 97 % of the drawings of
each of them sure. It does so with other letters too (L 83 %, P 68 %, u 63 %, e 55 %); they are no digit to a
reader, and so they are what a network has to learn.
"""


@dataclass(frozen=True, eq=False)
class PenLetter:
    """A handwritten letter as pen strokes.

    Attributes:
        label: The letter, A to Z or a to z.
        donor: Contributor of the data, see `PenDigit`.
        writer: Name of the writer.
        strokes: As of a `PenDigit`.
    """

    label: str
    donor: str
    writer: str
    strokes: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class PenLetterSource:
    """A pen letter file.

    Attributes:
        name: Name of the data set in messages.
        folder: Folder of the file, relative to the data folder.
        file: Name of the file.
        sha256: Digest of the uncompressed content that the published figures were measured with.
        donors: Donors whose letters are converted.
    """

    name: str
    folder: str
    file: str
    sha256: str
    donors: tuple[str, ...]

    def path(self, folder: Path) -> Path:
        """Return the path of the file in a data folder."""
        return folder / self.folder / self.file


PEN_LETTERS = PenLetterSource(
    name="The pen letters",
    folder="ink",
    file="letters.jsonl.gz",
    sha256="119ad3729f29a177a08d9ee8076f76b22d7ef6a42897ff43160878bf140a5f50",
    donors=("apa", "apb", "ced", "gmd", "kai", "lav", "mot", "sie", "syn"),
)


def read(folder: Path, source: PenLetterSource = PEN_LETTERS) -> tuple[PenLetter, ...]:
    """Read all pen letters, and validate every line.

    Raises:
        DataMissing: The file does not exist.
        DataCorrupt: The file is no gzip file, or a line is invalid; the message names the line.
    """
    path = source.path(folder)
    if not path.is_file():
        raise DataMissing(source.name, path.parent, [source.file])
    lines = pen_digits.decompress(path).splitlines()
    return tuple(_parse_letter(line, f"{source.file}, line {row}") for row, line in enumerate(lines, 1))


def write(path: Path, letters: Iterable[PenLetter]) -> None:
    """Write a pen letter file atomically; the same letters give the same bytes.

    Raises:
        OSError: The file cannot be written.
    """
    pen_digits.write(path, letters)


def is_letter(label: object) -> bool:
    """Return whether a label is one of A to Z or a to z."""
    return isinstance(label, str) and len(label) == 1 and label.isascii() and label.isalpha()


def without_lookalikes(letters: Iterable[PenLetter]) -> tuple[PenLetter, ...]:
    """Return the letters that no reader takes for a digit."""
    return tuple(letter for letter in letters if letter.label not in LOOKALIKES)


def _parse_letter(line: bytes, name: str) -> PenLetter:
    label, donor, writer, strokes = pen_digits.parse_line(line, name)
    if not is_letter(label):
        raise DataCorrupt(name, "of a label from A to Z or a to z", excerpt(label))
    return PenLetter(str(label), donor, writer, strokes)


def summary(letters: Sequence[PenLetter]) -> list[str]:
    """Return lines of text: letters and writers per donor, how many are no digit, and the digest."""
    lines = []
    for donor in sorted({letter.donor for letter in letters}):
        own = [letter for letter in letters if letter.donor == donor]
        writers = len({letter.writer for letter in own})
        lines.append(f"{donor:<6}{len(own):>6,} letters, {writers:>3} writers")
    kept = len(without_lookalikes(letters))
    lines.append(f"{len(letters):,} letters, {kept:,} of them no digit to a reader")
    found = pen_digits.digest(letters)
    is_same = found == PEN_LETTERS.sha256
    lines.append(
        f"{len(letters):,} letters, sha256 {found[:12]}: "
        + ("those of the published figures" if is_same else "not those of the published figures")
    )
    return lines
