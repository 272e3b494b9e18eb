"""Files of a UNIPEN collection in a folder, a tar archive or a zip archive, with limits on their size."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from training.errors import DataCorrupt

MAX_FILE_BYTES = 64 * 2**20
"""Largest file in an archive; UNIPEN's largest have some megabytes."""

MAX_ARCHIVE_BYTES = 4 * 2**30
"""Largest total size of an archive, uncompressed: eight times UNIPEN's."""

MAX_READ_BYTES = 2**29
"""Largest total size of the files that are read into memory: as much as all of UNIPEN."""

_ENCRYPTED = 1
"""Flag of a file in a zip archive."""


def read_files(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Read selected files of a folder or an archive; nothing is unpacked to disk.

    Args:
        path: A folder, a tar archive with any compression, or a zip archive.
        is_wanted: Predicate on a file's name. Wanted files above `MAX_FILE_BYTES` are skipped.

    Yields:
        Name and text of each wanted file, with LF line ends.

    Raises:
        DataCorrupt: The archive is broken or exceeds a limit.
        OSError: The archive cannot be read.
    """
    total = read_bytes = 0
    try:
        for name, size, read in _members(path):
            total += size
            if total > MAX_ARCHIVE_BYTES:
                raise DataCorrupt(path.name, f"at most {MAX_ARCHIVE_BYTES:,} bytes uncompressed", "more")
            if is_wanted(name) and size <= MAX_FILE_BYTES:
                read_bytes += size
                if read_bytes > MAX_READ_BYTES:
                    raise DataCorrupt(path.name, f"at most {MAX_READ_BYTES:,} bytes of these files", "more")
                yield name, read().decode("latin-1").replace("\r\n", "\n")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        finding = str(error) or "a broken one"
        raise DataCorrupt(path.name, "a UNIPEN folder or archive", finding) from error


def _members(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield name, size and reader of every file; a reader is valid until the next item is requested."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and not file.is_symlink():
                yield file.relative_to(path).as_posix(), file.stat().st_size, file.read_bytes
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, partial(_unzip, archive, info)
    else:
        with tarfile.open(path) as tape:
            for member in tape:
                content = tape.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name.removeprefix("./"), member.size, content.read


def _unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a file of a zip archive, at most as many bytes as it declares.

    Raises:
        BadZipFile: The file is broken, encrypted, or compressed with a method whose reader does not bound
            its memory.
    """
    if info.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile("an encrypted one")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("one whose files are neither stored nor deflated")
    with archive.open(info) as file:
        return file.read(info.file_size)
