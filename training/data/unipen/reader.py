"""Reader of a UNIPEN collection: the labelled isolated characters.

Source of the collection's layout: "CDROM-README", International Unipen Foundation, 1999.
"""

from collections.abc import Iterator
from pathlib import Path

from training.data.unipen.archive import read_files
from training.data.unipen.parser import MAX_INCLUDES, Segment, included_files, parse
from training.errors import DataCorrupt

DIGITS = "data/1a/"
"""Folder of the isolated digits; the files that they include are in `include/`."""

UPPER_CASE, LOWER_CASE = "data/1b/", "data/1c/"
"""Folders of the isolated letters."""


def read(path: Path, category: str = DIGITS) -> Iterator[Segment]:
    """Read the labelled isolated characters of a collection.

    Args:
        path: A folder, a tar archive with any compression, or a zip archive.
        category: Folder of the characters in the collection.

    Yields:
        The segments, by file name and then in file order.

    Raises:
        DataCorrupt: The archive is invalid, or a limit is exceeded.
        OSError: The archive cannot be read.
    """
    found = dict(read_files(path, lambda name: f"/{category}" in f"/{name}"))
    if not found:
        raise DataCorrupt(path.name, f"a UNIPEN folder or archive with {category} in it", "none")
    root = min((name[: f"/{name}".index(f"/{category}")] for name in found), key=len)
    files = {name.removeprefix(root): text for name, text in found.items() if name.startswith(root)}
    names = sorted(files)
    new = files
    for _ in range(MAX_INCLUDES):
        wanted = {root + name for text in new.values() for name in included_files(text) if name not in files}
        if not wanted:
            break
        new = {name.removeprefix(root): text for name, text in read_files(path, wanted.__contains__)}
        files = files | new
    for name in names:
        yield from parse(files[name], name.removeprefix(category).removesuffix(".dat"), files)


def check(path: Path) -> None:
    """Check that an archive is complete and has isolated digits in it.

    Raises:
        DataCorrupt: The archive is broken, or has no isolated digits.
        FileNotFoundError: The archive does not exist.
    """
    if not sum(1 for _ in read_files(path, lambda name: f"/{DIGITS}" in f"/{name}")):
        raise DataCorrupt(path.name, f"a UNIPEN archive with {DIGITS} in it", "none")
