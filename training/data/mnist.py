"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, in four gzipped IDX files.

`official_split` is the division by MNIST's authors, `lesson_split` a random one like the lesson's.
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

from training.data.download import ProgressCallback, download_file
from training.data.examples import Examples, Split, concatenate
from training.errors import DataCorrupt, DataMissing

_IDX_UINT8 = 0x08


@dataclass(frozen=True)
class IdxFile:
    """A gzipped IDX file.

    Attributes:
        name: File name, on the mirrors and on disk.
        sha256: Digest of the uncompressed content, since gzip files of one content differ.
        shape: Shape of the array.
    """

    name: str
    sha256: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of the uncompressed content: a header of 4 + 4 * dimensions, then one byte per element."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


@dataclass(frozen=True)
class IdxSource:
    """A data set of IDX files and its mirrors.

    Attributes:
        name: Name of the data set in messages.
        folder: Folder of the files, relative to the data folder.
        mirrors: URLs that file names are appended to, in order of preference.
        classes: Class names, by class index.
        lesson_counts: Images per class in the lesson's train, valid and test parts.
    """

    name: str
    folder: str
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    lesson_counts: tuple[int, int, int]
    train_pixels: IdxFile
    train_labels: IdxFile
    test_pixels: IdxFile
    test_labels: IdxFile

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All files of the data set."""
        return self.train_pixels, self.train_labels, self.test_pixels, self.test_labels


MNIST = IdxSource(
    name="MNIST",
    folder="mnist",
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    classes=tuple("0123456789"),
    lesson_counts=(3000, 1500, 1500),
    train_pixels=IdxFile(
        "train-images-idx3-ubyte.gz",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        (60000, 28, 28),
    ),
    train_labels=IdxFile(
        "train-labels-idx1-ubyte.gz",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        (60000,),
    ),
    test_pixels=IdxFile(
        "t10k-images-idx3-ubyte.gz",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        (10000, 28, 28),
    ),
    test_labels=IdxFile(
        "t10k-labels-idx1-ubyte.gz",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        (10000,),
    ),
)


def official_split(folder: Path, source: IdxSource = MNIST) -> Split:
    """Read the data set in its official division.

    Args:
        folder: Data folder, which holds the source's folder.
        source: The data set to read.

    Returns:
        The train and test parts, verified by digest; there is no valid part. Files that a browser has
        unpacked are read too, and those in torchvision's folders.

    Raises:
        DataMissing: A file does not exist.
        DataCorrupt: A file has the wrong content.
    """
    home = folder / source.folder
    paths = {file.name: _find(folder, source, file) for file in source.files}
    if missing := [name for name, path in paths.items() if not path.is_file()]:
        raise DataMissing(source.name, home, missing)
    arrays = {file.name: parse_idx(_read(paths[file.name], file), file.name) for file in source.files}
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
    """Divide a data set at random as the lesson did: equally many images of each class in each part.

    The lesson does not publish its division, so this one only has the same class counts. Images are drawn
    from the whole data set, official test images included. A network fitted on this split is comparable
    with the lesson's figures, and is never published.

    Args:
        official: The whole data set, in any division.
        seed: Seed of the random division.
        counts: Images per class in train, valid and test.

    Returns:
        The three parts, each in the order of the whole data set.

    Raises:
        DataCorrupt: A class has too few images.
    """
    pool = concatenate(list(official.parts.values()))
    generator = np.random.default_rng(seed)
    chosen: list[list[NDArray[np.int64]]] = [[], [], []]
    ends = np.cumsum(counts)
    for label in np.unique(pool.labels):
        rows = generator.permutation(np.flatnonzero(pool.labels == label))
        if len(rows) < ends[-1]:
            raise DataCorrupt(
                official.data_set, f"at least {ends[-1]} images of class {label}", f"{len(rows)}"
            )
        for part, piece in zip(chosen, np.split(rows[: ends[-1]], ends[:-1]), strict=True):
            part.append(piece)
    train, valid, test = (pool.select(np.sort(np.concatenate(part))) for part in chosen)
    return Split("lesson", official.data_set, official.classes, train, valid, test)


def download(folder: Path, progress: ProgressCallback, source: IdxSource = MNIST) -> list[str]:
    """Download the files that are missing or have the wrong content.

    Args:
        folder: Data folder; the source's folder is created in it.
        progress: Called as bytes arrive.
        source: The data set to download.

    Returns:
        Names of the downloaded files.

    Raises:
        DownloadFailed: No mirror returned a file.
        OSError: The folder cannot be written.
    """
    return [
        file.name
        for file in source.files
        if download_file(
            _find(folder, source, file),
            [mirror + file.name for mirror in source.mirrors],
            partial(_read, file=file),
            progress,
        )
    ]


def parse_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """Parse an IDX file of unsigned bytes.

    Format: two zero bytes, one byte for the element type (8 is an unsigned byte), one byte for the number of
    dimensions, each dimension as 4 bytes, big-endian, then the elements.

    Args:
        content: The whole file, uncompressed.
        name: Name of the file, for messages.

    Returns:
        A read-only view into the content, with one to four dimensions.

    Raises:
        DataCorrupt: The content is no such file.

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


def _find(folder: Path, source: IdxSource, file: IdxFile) -> Path:
    """Return the path of a file, as it was downloaded, unpacked or stored by torchvision.

    If there is none, the path where it should be.
    """
    home = folder / source.folder
    plain = file.name.removesuffix(".gz")
    names = file.name, plain, plain.replace("-idx", ".idx")  # Safari and Windows write the last one
    places = home, home / "raw", folder / source.name / "raw"
    found = (place / name for place in places for name in names if (place / name).is_file())
    return next(found, home / file.name)


def _read(path: Path, file: IdxFile) -> bytes:
    """Return the uncompressed content of a file, gzipped or not, verified by digest."""
    with path.open("rb") as stream:
        start = stream.read(2)
    is_gzipped = start != bytes(2)  # an IDX file begins with two zero bytes; browsers keep the name
    try:
        with gzip.open(path, "rb") if is_gzipped else path.open("rb") as stream:
            content = stream.read(file.size + 1)  # one byte more, to detect a longer file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataCorrupt(file.name, "a complete gzip file", str(error) or "something else") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise DataCorrupt(file.name, f"of content with SHA-256 {file.sha256}", digest)
    return content
