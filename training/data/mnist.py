"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, in four IDX files.

Its official split is its makers'; the lesson's is rebuilt in kind.
"""

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.download import Progress, fetch_file
from training.data.examples import Examples, Split
from training.errors import DataCorrupt, DataMissing

_IDX_UINT8 = 0x08


@dataclass(frozen=True)
class SourceFile:
    """One gzipped IDX file.

    Attributes:
        name: Its file name, with mirrors and on disk alike.
        sha256: Of the content without its wrapping, since gzip files of one content differ.
        shape: Of the array within.
    """

    name: str
    sha256: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the content: a header of 4 + 4 * dimensions, then a byte an element."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


@dataclass(frozen=True)
class Source:
    """Where a data set in IDX files comes from and what it must be.

    Attributes:
        name: For people.
        folder: Below the data folder.
        mirrors: Addresses that file names are appended to, the first choice first.
        classes: Their names, in the order of their numbers.
        lesson_counts: Images of each class in the lesson's train, valid and test parts.
    """

    name: str
    folder: str
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    lesson_counts: tuple[int, int, int]
    train_pixels: SourceFile
    train_labels: SourceFile
    test_pixels: SourceFile
    test_labels: SourceFile

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All of its files."""
        return self.train_pixels, self.train_labels, self.test_pixels, self.test_labels


MNIST = Source(
    name="MNIST",
    folder="mnist",
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    classes=tuple("0123456789"),
    lesson_counts=(3000, 1500, 1500),
    train_pixels=SourceFile(
        "train-images-idx3-ubyte.gz",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        (60000, 28, 28),
    ),
    train_labels=SourceFile(
        "train-labels-idx1-ubyte.gz",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        (60000,),
    ),
    test_pixels=SourceFile(
        "t10k-images-idx3-ubyte.gz",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        (10000, 28, 28),
    ),
    test_labels=SourceFile(
        "t10k-labels-idx1-ubyte.gz",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        (10000,),
    ),
)


def official_split(folder: Path, source: Source = MNIST) -> Split:
    """Read a data set and cut it as its makers did.

    Args:
        folder: The data folder, which holds the source's own folder.
        source: Which data set.

    Returns:
        Its train and test parts, verified by digest; there is no valid part.

    Raises:
        DataMissing: A file is not there.
        DataCorrupt: A file is not the one it should be.
    """
    home = folder / source.folder
    if missing := [file.name for file in source.files if not (home / file.name).is_file()]:
        raise DataMissing(source.name, home, missing)
    arrays = {file.name: parse_idx(_read(home / file.name, file), file.name) for file in source.files}
    for file in source.files:
        if arrays[file.name].shape != file.shape:
            raise DataCorrupt(file.name, f"of shape {file.shape}", f"{arrays[file.name].shape}")
    train, test = (
        Examples(arrays[pixels.name], arrays[labels.name].astype(np.int64))
        for pixels, labels in (
            (source.train_pixels, source.train_labels),
            (source.test_pixels, source.test_labels),
        )
    )
    return Split("official", source.name, source.classes, train, None, test)


def lesson_split(official: Split, seed: int, counts: tuple[int, int, int] = MNIST.lesson_counts) -> Split:
    """Cut a data set as the lesson did: equally many images of every class in every part.

    The lesson's table does not say which image a row is, so its split is rebuilt in kind: images are
    drawn from all that there are, the official test images among them. A network fitted on it is
    therefore good for comparison with the lesson's figures, and never published.

    Args:
        official: The whole data set, in whatever parts.
        seed: Of the drawing; the same seed gives the same rows.
        counts: Images of each class in train, valid and test.

    Returns:
        The three parts, each in the order of the pooled images.

    Raises:
        DataCorrupt: A class has too few images.
    """
    whole = Examples(
        np.concatenate([part.pixels for part in official.parts.values()]),
        np.concatenate([part.labels for part in official.parts.values()]),
    )
    generator = np.random.default_rng(seed)
    chosen: list[list[NDArray[np.int64]]] = [[], [], []]
    ends = np.cumsum(counts)
    for label in np.unique(whole.labels):
        rows = generator.permutation(np.flatnonzero(whole.labels == label))
        if len(rows) < ends[-1]:
            raise DataCorrupt(
                official.data_set, f"at least {ends[-1]} images of class {label}", f"{len(rows)}"
            )
        for part, piece in zip(chosen, np.split(rows[: ends[-1]], ends[:-1]), strict=True):
            part.append(piece)
    train, valid, test = (whole.take(np.sort(np.concatenate(part))) for part in chosen)
    return Split("lesson", official.data_set, official.classes, train, valid, test)


def fetch(folder: Path, progress: Progress, source: Source = MNIST) -> list[str]:
    """Fetch the files of a data set that are not there or not as they should be.

    Args:
        folder: The data folder; the source's own folder is made in it.
        progress: Called as bytes arrive.
        source: Which data set.

    Returns:
        Names of the files that were fetched; what was there and right is left alone.

    Raises:
        DownloadFailed: None of the mirrors gave a file.
        OSError: The folder cannot be written.
    """
    home = folder / source.folder
    return [
        file.name
        for file in source.files
        if fetch_file(
            home / file.name,
            [mirror + file.name for mirror in source.mirrors],
            partial(_read, file=file),
            progress,
        )
    ]


def parse_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    The format: two zero bytes, a byte for the type of the elements (8 is an unsigned byte), a byte
    for the number of dimensions, each dimension as 4 bytes, big-endian, then the elements.

    Args:
        content: The whole file, unwrapped.
        name: Of the file, for messages.

    Returns:
        A read-only view into the content, one to four dimensions.

    Raises:
        DataCorrupt: The content is anything else.

    Source: "The IDX file format", on the page of the MNIST database, Y. LeCun, C. Cortes, C. Burges.
    """
    if len(content) < 4 or content[:3] != bytes([0, 0, _IDX_UINT8]) or not 1 <= content[3] <= 4:
        raise DataCorrupt(
            name, "an IDX file of unsigned bytes", f"a start of 0x{content[:4].hex() or '(none)'}"
        )
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise DataCorrupt(name, f"at least its header of {header} bytes", f"{len(content)}")
    shape = tuple(int(size) for size in np.frombuffer(content[4:header], ">u4"))
    if len(content) - header != math.prod(shape):
        raise DataCorrupt(
            name, f"{math.prod(shape):,} elements for shape {shape}", f"{len(content) - header:,}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read(path: Path, file: SourceFile) -> bytes:
    """Return the content of a gzipped file, verified by its digest."""
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(file.size + 1)  # one more tells a longer file from the right one
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataCorrupt(file.name, "a whole gzip file", str(error) or "something else") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise DataCorrupt(file.name, f"of content with SHA-256 {file.sha256}", digest)
    return content
