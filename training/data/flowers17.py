"""17 Flowers: 1,360 photographs of 17 classes in a tar archive, and the lesson's split as a table.

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

from service.core.drawing import photo
from training.data.download import ProgressCallback, download_file
from training.data.examples import Examples, Split
from training.errors import DataCorrupt, DataMissing

_PARTS = ("train", "valid", "test")

_NAME = re.compile(r"jpg/image_(\d{4})\.jpg")

_MAX_MEMBERS = 10_000
_MAX_MEMBER_BYTES = 4 * 2**20
_MAX_SIDE = 4096
"""Limits far above the real archive's values, against malicious archives."""


@dataclass(frozen=True)
class PhotographSource:
    """A data set of photographs in an archive, with a table of parts.

    Attributes:
        name: Name of the data set in messages.
        folder: Folder of the files, relative to the data folder.
        archive: File name of the archive; its members are `jpg/image_0001.jpg` and so on.
        archive_addresses: URLs of the archive, in order of preference.
        table: File name of the table that assigns photographs to parts.
        table_addresses: URLs of the table, in order of preference.
        classes: Class names; the photographs are sorted by class.
        images_per_class: Number of photographs of each class.
        split_sha256: Digest of the parts in the order of the photographs, separated by spaces.
        copies: Name of a copy of the archive, by the digest of its JPEG files in order.
    """

    name: str
    folder: str
    archive: str
    archive_addresses: tuple[str, ...]
    table: str
    table_addresses: tuple[str, ...]
    classes: tuple[str, ...]
    images_per_class: int
    split_sha256: str
    copies: Mapping[str, str]

    @property
    def count(self) -> int:
        """Number of photographs."""
        return len(self.classes) * self.images_per_class


FLOWERS17 = PhotographSource(
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
    images_per_class=80,
    split_sha256="d3c80381d9cb78c0140e9247550564fd775a8e43fd5364927ce2dd503ba99318",
    copies={
        "c048eb652380c131d5366e7708a13d9c0b46f0d732e87e593c8dc1d4e63301a0": "shorter side 160 pixels",
    },
)


def lesson_split(folder: Path, source: PhotographSource = FLOWERS17) -> Split:
    """Read and preprocess the photographs, divided as in the lesson's table.

    Copies of the archive differ in the size of the photographs, and therefore in their pixels. So photographs
    are checked by name, number and format, and the name of the data set includes the name of the copy.

    Args:
        folder: Data folder, which holds the source's folder.
        source: The data set to read.

    Returns:
        The three parts, (N, 64, 64, 3) each, in the order of the photographs' numbers.

    Raises:
        DataMissing: A file does not exist.
        DataCorrupt: The table or the archive is invalid.
    """
    home = folder / source.folder
    names = (source.archive, source.table)
    if missing := [name for name in names if not (home / name).is_file()]:
        raise DataMissing(source.name, home, missing)
    part_of = np.array(_read_table(home / source.table, source))
    contents = _read_archive(home / source.archive, source)
    pixels = np.stack([_preprocess(content, number) for number, content in enumerate(contents, 1)])
    labels = np.arange(source.count, dtype=np.int64) // source.images_per_class
    pool = Examples(pixels, labels)
    train, valid, test = (pool.select(np.flatnonzero(part_of == part)) for part in _PARTS)
    data_set = f"{source.name}, {_copy_name(contents, source)}"
    return Split("lesson", data_set, source.classes, train, valid, test)


def download(folder: Path, progress: ProgressCallback, source: PhotographSource = FLOWERS17) -> list[str]:
    """Download the archive and the table where they are missing or invalid.

    Args:
        folder: Data folder; the source's folder is created in it.
        progress: Called as bytes arrive.
        source: The data set to download.

    Returns:
        Names of the downloaded files.

    Raises:
        DownloadFailed: No URL returned a file.
        OSError: The folder cannot be written.
    """
    home = folder / source.folder
    files = (
        (source.archive, source.archive_addresses, _read_archive),
        (source.table, source.table_addresses, _read_table),
    )
    return [
        name
        for name, addresses, check in files
        if download_file(home / name, addresses, partial(check, source=source), progress)
    ]


def _read_table(path: Path, source: PhotographSource) -> list[str]:
    """Return the part of each photograph, verified by digest."""
    parts: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8") as rows:
            parts = {row["obs_id"]: row["train_id"] for row in csv.DictReader(rows)}
        ordered = [parts[f"id_{number:06d}"] for number in range(1, source.count + 1)]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        expected = f"a table with obs_id and train_id of {source.count:,} photographs"
        raise DataCorrupt(source.table, expected, f"{len(parts):,} rows; {error!r}") from error
    digest = hashlib.sha256(" ".join(map(str, ordered)).encode()).hexdigest()
    if digest != source.split_sha256:
        raise DataCorrupt(source.table, f"parts with SHA-256 {source.split_sha256}", digest)
    return ordered


def _read_archive(path: Path, source: PhotographSource) -> list[bytes]:
    """Return the JPEG files in the order of their numbers; nothing is unpacked to disk."""
    found: dict[int, bytes] = {}
    try:
        # a stream cannot seek, so the members' declared sizes also bound the decompressed bytes
        with tarfile.open(path, "r|gz") as archive:
            for member in _members(archive, source):
                match = _NAME.fullmatch(member.name)
                content = archive.extractfile(member) if match and member.isreg() else None
                if match and content:
                    found[int(match[1])] = content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataCorrupt(source.archive, "a gzipped tar archive", str(error) or repr(error)) from error
    if sorted(found) != list(range(1, source.count + 1)):
        expected = f"an archive of jpg/image_0001.jpg to jpg/image_{source.count:04d}.jpg"
        raise DataCorrupt(source.archive, expected, f"{len(found):,} photographs")
    return [found[number] for number in sorted(found)]


def _members(archive: tarfile.TarFile, source: PhotographSource) -> Iterator[tarfile.TarInfo]:
    for count, member in enumerate(archive, 1):
        if count > _MAX_MEMBERS or member.size > _MAX_MEMBER_BYTES:
            expected = f"at most {_MAX_MEMBERS:,} files of at most {_MAX_MEMBER_BYTES:,} bytes"
            raise DataCorrupt(source.archive, expected, f"number {count:,} of {member.size:,} bytes")
        yield member


def _preprocess(content: bytes, number: int) -> NDArray[np.uint8]:
    name = f"photograph {number}"
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            if max(picture.size) > _MAX_SIDE:
                raise DataCorrupt(name, f"at most {_MAX_SIDE} pixels a side", f"{picture.size}")
            return photo.prepare(picture)
    except (OSError, SyntaxError) as error:  # Pillow's errors for a broken file
        raise DataCorrupt(name, "a JPEG file", str(error) or repr(error)) from error


def _copy_name(contents: list[bytes], source: PhotographSource) -> str:
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    return source.copies.get(digest, f"a copy with SHA-256 {digest[:16]}…")
