"""Inputs of a bulk run: an `.npy` file, a folder of pictures, or Parquet files, read in parts by row."""

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from inkling.errors import MalformedRequest
from inkling.inputs import Images

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Suffixes of picture files in a folder."""

_ARRAY_ROWS, _FILE_ROWS = 65_536, 1_024
"""Rows of one part: some seconds of work, which a killed run loses."""


class Source(Protocol):
    """Images in a fixed order, readable by row number from any process."""

    @property
    def rows(self) -> int:
        """Number of images."""

    @property
    def part_rows(self) -> int:
        """Number of images of one part; the last one may have fewer."""

    @property
    def fingerprint(self) -> str:
        """Digest of names, sizes and times of the files: other files have another one."""

    def read(self, start: int, stop: int) -> Iterator[tuple[Images, dict[str, list[Any]]]]:
        """Yield the images from row `start` up to `stop` in groups, with further columns of the output."""


@dataclass(frozen=True)
class ArraySource:
    """An `.npy` file of images, mapped into memory: only the pages that are read are in it.

    Attributes:
        path: The file.
        rows: Number of images.
    """

    path: Path
    rows: int
    part_rows: int = _ARRAY_ROWS

    @property
    def fingerprint(self) -> str:
        """As `Source`."""
        return _fingerprint([self.path])

    def read(self, start: int, stop: int) -> Iterator[tuple[Images, dict[str, list[Any]]]]:
        """As `Source`."""
        array = _mapped(self.path)
        yield (array if self.rows == 1 else array[start:stop]), {}


@dataclass(frozen=True)
class FolderSource:
    """The picture files in a folder and its subfolders, by name.

    Attributes:
        folder: The folder.
        names: Paths of the files relative to it, sorted.
    """

    folder: Path
    names: Sequence[str]
    part_rows: int = _FILE_ROWS

    @property
    def rows(self) -> int:
        """As `Source`."""
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """As `Source`."""
        return _fingerprint([self.folder / name for name in self.names])

    def read(self, start: int, stop: int) -> Iterator[tuple[Images, dict[str, list[Any]]]]:
        """As `Source`."""
        names = list(self.names[start:stop])
        yield [self.folder / name for name in names], {"file": names}


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files with a column of images: picture files, lists of pixels, or strokes.

    Attributes:
        paths: The files.
        starts: Number of the first row of each file, and the number of all rows.
        column: Name of the column.
        keep: Columns that are copied to the output.
    """

    paths: Sequence[Path]
    starts: Sequence[int]
    column: str
    keep: Sequence[str] = ()
    part_rows: int = 8_192

    @property
    def rows(self) -> int:
        """As `Source`."""
        return self.starts[-1]

    @property
    def fingerprint(self) -> str:
        """As `Source`."""
        return _fingerprint(self.paths)

    def read(self, start: int, stop: int) -> Iterator[tuple[Images, dict[str, list[Any]]]]:
        """As `Source`."""
        for path, first, end in zip(self.paths, self.starts, self.starts[1:], strict=False):
            if first < stop and start < end:
                yield from self._read_file(path, max(start - first, 0), min(stop, end) - first)

    def _read_file(self, path: Path, start: int, stop: int) -> Iterator[tuple[Images, dict[str, list[Any]]]]:
        """Read rows of one file; row groups outside of them are passed over."""
        with parquet.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            firsts = np.concatenate(([0], np.cumsum(sizes)))
            groups = [i for i in range(len(sizes)) if firsts[i] < stop and firsts[i + 1] > start]
            position = int(firsts[groups[0]]) if groups else 0
            columns = [self.column, *self.keep]
            for batch in file.iter_batches(1024, row_groups=groups, columns=columns):
                low, high = max(start - position, 0), min(stop - position, len(batch))
                position += len(batch)
                if low < high:
                    part = batch.slice(low, high - low)
                    kept = {name: part.column(name) for name in self.keep}
                    yield _images_of(part.column(self.column)), kept


def open_source(path: Path, column: str, keep: Sequence[str], size: int) -> Source:
    """Find out what an input is.

    Args:
        path: An `.npy` file, a folder, a Parquet file, or a pattern of Parquet files such as `*.parquet`.
        column: Column of images in Parquet files.
        keep: Columns of Parquet files that are copied to the output.
        size: Numbers of one image of the model.

    Raises:
        MalformedRequest: The input is none of these, or has no images.
        OSError: It cannot be read.
    """
    if path.is_dir() and not any(path.glob("*.parquet")):
        return _folder(path)
    if path.suffix.lower() == ".npy":
        array = _mapped(path)
        rows = 1 if array.size == size or array.ndim < 2 else len(array)
        if not array.size:
            raise MalformedRequest("Input", "at least one image", "none")
        return ArraySource(path.absolute(), rows)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else _matching(path)
    if not files or any(file.suffix.lower() != ".parquet" for file in files):
        expected = "an .npy file, a folder of pictures or Parquet files"
        got = repr(str(path)) if path.exists() else f"{str(path)!r}, which does not exist"
        raise MalformedRequest("Input", expected, got)
    return _parquet(files, column, keep)


def _matching(path: Path) -> list[Path]:
    return [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path)))]  # noqa: PTH207 - Path.glob takes no absolute pattern


def _folder(folder: Path) -> FolderSource:
    names = sorted(
        str((Path(where) / file).relative_to(folder))
        for where, _, files in os.walk(folder)
        for file in files
        if file.lower().endswith(PICTURES)
    )
    if not names:
        raise MalformedRequest("Input", f"a folder with files {', '.join(PICTURES)}", "one without")
    return FolderSource(folder.absolute(), names)


def _parquet(files: list[Path], column: str, keep: Sequence[str]) -> ParquetSource:
    starts = [0]
    for path in files:
        try:
            with parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
                starts.append(starts[-1] + file.metadata.num_rows)
        except (ValueError, OSError) as error:  # pyarrow's errors are ValueErrors
            raise MalformedRequest(f"File {str(path)!r}", "a Parquet file", "something else") from error
        for name in (column, *keep):
            if name not in names:
                raise MalformedRequest(f"Column of {str(path)!r}", f"one of {', '.join(names)}", repr(name))
    if not starts[-1]:
        raise MalformedRequest("Input", "at least one row", "none")
    return ParquetSource([path.absolute() for path in files], starts, column, keep)


def _images_of(column: Any) -> Images:  # noqa: ANN401 - an array of pyarrow
    """Return a column as images: lists of pixels of equal lengths as an array, anything else by item."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        flat = column.flatten()
        rows = len(column)
        if not column.null_count and pa.types.is_primitive(flat.type) and rows and len(flat) % rows == 0:
            lengths = (
                np.diff(column.offsets) if hasattr(column, "offsets") else np.full(rows, len(flat) // rows)
            )
            if bool(np.all(lengths == len(flat) // rows)) and not flat.null_count:
                return _pixels(flat.to_numpy(zero_copy_only=False).reshape(rows, -1))
    return [_pixels(np.array(item)) if _is_numbers(item) else item for item in column.to_pylist()]


def _is_numbers(item: object) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(number, int | float) for number in item)


def _pixels(array: NDArray[Any]) -> NDArray[Any]:
    """Return integers 0..255 as uint8; other numbers unchanged."""
    is_bytes = array.dtype.kind in "ui" and array.size and array.min() >= 0 and array.max() <= 255
    return array.astype(np.uint8) if is_bytes else array


def _mapped(path: Path) -> Any:  # noqa: ANN401 - an array of any kind
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise MalformedRequest("Input", "a NumPy .npy file of plain numbers", "something else") from error


def _fingerprint(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
