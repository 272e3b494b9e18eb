"""17 Flowers: 1,360 photographs, 80 of each of 17 kinds, in a tar archive, and the lesson's table of parts.

Source: Nilsback, Zisserman, "A visual vocabulary for flower classification", 2006.
"""

import csv
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core import photo
from training.data.download import Progress, fetch_file
from training.data.examples import Examples, Split
from training.errors import DataCorrupt, DataMissing

_PARTS = ("train", "valid", "test")

_NAME = re.compile(r"jpg/image_(\d{4})\.jpg")

_MOST_MEMBERS = 10_000
_MOST_MEMBER_BYTES = 4 * 2**20
_MOST_SIDE = 4096
"""Bounds far above anything in the archive, so that one of another making does no harm."""


@dataclass(frozen=True)
class Source:
    """Where the photographs come from and what they must be.

    Attributes:
        name: For people.
        folder: Below the data folder.
        archive: File name of the photographs, `jpg/image_0001.jpg` and so on within.
        archive_addresses: Where it may be had, the first choice first.
        table: File name of the table that says which part a photograph is in.
        table_addresses: Likewise.
        classes: Their names; the photographs stand in their order.
        of_a_class: Photographs of each class.
        split_sha256: Digest of the parts in the order of the photographs, with a space between them.
        copies: What an archive is called, by the digest of its JPEG files in their order.
    """

    name: str
    folder: str
    archive: str
    archive_addresses: tuple[str, ...]
    table: str
    table_addresses: tuple[str, ...]
    classes: tuple[str, ...]
    of_a_class: int
    split_sha256: str
    copies: Mapping[str, str]

    @property
    def photographs(self) -> int:
        """How many there are."""
        return len(self.classes) * self.of_a_class


FLOWERS17 = Source(
    name="17 Flowers",
    folder="flowers17",
    archive="17flowers.tgz",
    archive_addresses=("https://www.robots.ox.ac.uk/~vgg/data/flowers/17/17flowers.tgz",),
    table="flowers_17.csv",
    table_addresses=("https://statsmaths.github.io/ml_data/flowers_17.csv",),
    classes=(
        "daffodil",
        "snowdrop",
        "lily valley",
        "bluebell",
        "crocus",
        "iris",
        "tigerlily",
        "tulip",
        "fritillary",
        "sunflower",
        "daisy",
        "colts foot",
        "dandelion",
        "cowslip",
        "buttercup",
        "windflower",
        "pansy",
    ),
    of_a_class=80,
    split_sha256="d3c80381d9cb78c0140e9247550564fd775a8e43fd5364927ce2dd503ba99318",
    copies={
        "c048eb652380c131d5366e7708a13d9c0b46f0d732e87e593c8dc1d4e63301a0": "shorter side 160 pixels",
    },
)


def lesson_split(folder: Path, source: Source = FLOWERS17) -> Split:
    """Read the photographs, prepare them, and cut them exactly as the lesson's table says.

    Archives differ in how large their photographs are, and then their pixels do too. So photographs
    are checked by name, number and form, and the split's data set bears the name of the copy.

    Args:
        folder: The data folder, which holds the source's own folder.
        source: Which photographs.

    Returns:
        The three parts, (N, 64, 64, 3) each in the order of the photographs' numbers.

    Raises:
        DataMissing: A file is not there.
        DataCorrupt: The table or the archive is not what it should be.
    """
    home = folder / source.folder
    names = (source.archive, source.table)
    if missing := [name for name in names if not (home / name).is_file()]:
        raise DataMissing(source.name, home, missing)
    part_of = np.array(_parts(home / source.table, source))
    contents = _photographs(home / source.archive, source)
    pixels = np.stack([_prepared(content, number) for number, content in enumerate(contents, 1)])
    labels = np.arange(source.photographs, dtype=np.int64) // source.of_a_class
    whole = Examples(pixels, labels)
    train, valid, test = (whole.take(np.flatnonzero(part_of == part)) for part in _PARTS)
    data_set = f"{source.name}, {_copy(contents, source)}"
    return Split("lesson", data_set, source.classes, train, valid, test)


def fetch(folder: Path, progress: Progress, source: Source = FLOWERS17) -> list[str]:
    """Fetch the archive and the table where they are not there or not as they should be.

    Args:
        folder: The data folder; the source's own folder is made in it.
        progress: Called as bytes arrive.
        source: Which photographs.

    Returns:
        Names of the files that were fetched; what was there and right is left alone.

    Raises:
        DownloadFailed: No address gave a file.
        OSError: The folder cannot be written.
    """
    home = folder / source.folder
    wanted = (
        (source.archive, source.archive_addresses, _photographs),
        (source.table, source.table_addresses, _parts),
    )
    return [
        name
        for name, addresses, check in wanted
        if fetch_file(home / name, addresses, partial(check, source=source), progress)
    ]


def _parts(path: Path, source: Source) -> list[str]:
    """Return the part of each photograph, verified by digest."""
    parts: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8") as rows:
            parts = {row["obs_id"]: row["train_id"] for row in csv.DictReader(rows)}
        ordered = [parts[f"id_{number:06d}"] for number in range(1, source.photographs + 1)]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        what = f"a table with obs_id and train_id of {source.photographs:,} photographs"
        raise DataCorrupt(source.table, what, f"{len(parts):,} rows; {error!r}") from error
    digest = hashlib.sha256(" ".join(map(str, ordered)).encode()).hexdigest()
    if digest != source.split_sha256:
        raise DataCorrupt(source.table, f"parts with SHA-256 {source.split_sha256}", digest)
    return ordered


def _photographs(path: Path, source: Source) -> list[bytes]:
    """Return the JPEG files in the order of their numbers; nothing is unpacked onto the disk."""
    found: dict[int, bytes] = {}
    try:
        # a stream: nothing is sought, so the members' bounds hold for what is inflated too
        with tarfile.open(path, "r|gz") as archive:
            for member in _members(archive, source):
                match = _NAME.fullmatch(member.name)
                content = archive.extractfile(member) if match and member.isreg() else None
                if match and content:
                    found[int(match[1])] = content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataCorrupt(source.archive, "a gzipped tar archive", str(error) or repr(error)) from error
    if sorted(found) != list(range(1, source.photographs + 1)):
        what = f"an archive of jpg/image_0001.jpg to jpg/image_{source.photographs:04d}.jpg"
        raise DataCorrupt(source.archive, what, f"{len(found):,} photographs")
    return [found[number] for number in sorted(found)]


def _members(archive: tarfile.TarFile, source: Source) -> Iterator[tarfile.TarInfo]:
    for count, member in enumerate(archive, 1):
        if count > _MOST_MEMBERS or member.size > _MOST_MEMBER_BYTES:
            what = f"at most {_MOST_MEMBERS:,} files of at most {_MOST_MEMBER_BYTES:,} bytes"
            raise DataCorrupt(source.archive, what, f"number {count:,} of {member.size:,} bytes")
        yield member


def _prepared(content: bytes, number: int) -> NDArray[np.uint8]:
    name = f"photograph {number}"
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            if max(picture.size) > _MOST_SIDE:
                raise DataCorrupt(name, f"at most {_MOST_SIDE} pixels a side", f"{picture.size}")
            return photo.prepare(picture)
    except (OSError, SyntaxError) as error:  # what Pillow raises for a file that is broken
        raise DataCorrupt(name, "a JPEG file", str(error) or repr(error)) from error


def _copy(contents: list[bytes], source: Source) -> str:
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    return source.copies.get(digest, f"a copy with SHA-256 {digest[:16]}…")
