"""UNIPEN files: what was written, as strokes with labels, from a folder or an archive.

Understood is what isolated characters need: includes, coordinates, pen up and down, segments. What a label
means, and which file of ours the strokes go to, is `strokes`' work.

Source: I. Guyon, "UNIPEN 1.0 Format Definition", 1994; for the layout of the archive, "CDROM-README",
International Unipen Foundation, 1999.
"""

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.errors import DataCorrupt

DIGITS = "data/1a/"
"""Where the archive has its isolated digits; what they include stands in `include/`."""

MAX_FILE_BYTES = 64 * 2**20
"""Of one file in an archive; UNIPEN's largest have some megabytes."""

MAX_ARCHIVE_BYTES = 4 * 2**30
"""Of all files in an archive, unwrapped: eight times UNIPEN's."""

MAX_READ_BYTES = 2**29
"""Of those files in an archive that are read into memory: as many as all of UNIPEN."""

MAX_INCLUDES = 8
"""Files that include one another, one in the other; UNIPEN's reach three."""

MAX_STATEMENTS = 10**6
"""Of one file with all that it includes; UNIPEN's have some thousands."""

MAX_POINTS = 10_000
"""Of one character, and components that it names; the longest of UNIPEN's digits has some hundreds."""

_FURTHEST = 1e7
"""Coordinates beyond this, in the tablet's own units, are no coordinates."""

_STEEPEST = 1000.0
"""Tablets whose x is finer than their y by more than this, or coarser, are none."""

_ENCRYPTED = 1
"""Flag of a file in a zip archive."""

_LEVELS = ("CHARACTER", "CHAR")
"""Kinds of segments that are single characters."""

Points = NDArray[np.float64]

_STATEMENT = re.compile(r"^\.(?=[A-Z])", re.MULTILINE)
_INCLUDE = re.compile(r"^\.INCLUDE[ \t]+(\S+)", re.MULTILINE)
_SEGMENT = re.compile(r'(\S+)\s+(\S+)\s+(?:([^\s"]+)\s+)?"((?:[^"\\]|\\.)*)"', re.DOTALL)
_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?:-(\d{1,9})(?::(\d{1,9}))?)?")


@dataclass(frozen=True, eq=False)
class Segment:
    """What one label stands for.

    Attributes:
        label: As it is written, without quotes and escapes.
        donor: The first folder of the file's name.
        writer: The file's name without its end, below the folder of its category.
        strokes: (points, 2) float64 each, x to the right, y upwards, one unit for both; none where the
            label points at what is not there.
        fault: Why there are no strokes; empty where there are.
    """

    label: str
    donor: str
    writer: str
    strokes: tuple[Points, ...]
    fault: str = ""


@dataclass
class _Component:
    """From pen down to pen up, or in the air: (points, 2), or None where the numbers make no points."""

    is_down: bool
    points: Points | None


@dataclass
class _Set:
    """Components that are numbered together, and the segments that name them."""

    components: list[_Component] = field(default_factory=list)
    segments: list[tuple[str, str]] = field(default_factory=list)


def read(path: Path, category: str = DIGITS) -> Iterator[Segment]:
    """Read the labelled characters of one category.

    Args:
        path: A folder, a tar archive in any wrapping or a zip archive; nothing is unpacked to disk.
        category: The folder of the files to read, below that of the whole collection.

    Yields:
        The segments, by file name and then in the order of the file.

    Raises:
        DataCorrupt: It is no such archive, or larger than any of UNIPEN's, or a file in it is.
        OSError: It cannot be read.
    """
    own = dict(_files(path, lambda name: f"/{category}" in f"/{name}"))
    if not own:
        raise DataCorrupt(path.name, f"a UNIPEN folder or archive with {category} in it", "none")
    root = min((name[: f"/{name}".index(f"/{category}")] for name in own), key=len)
    files = {name.removeprefix(root): text for name, text in own.items() if name.startswith(root)}
    names = sorted(files)
    new = files
    for _ in range(MAX_INCLUDES):
        wanted = {root + name for text in new.values() for name in _included(text) if name not in files}
        if not wanted:
            break
        new = {name.removeprefix(root): text for name, text in _files(path, wanted.__contains__)}
        files = files | new
    for name in names:
        yield from parse(files[name], name.removeprefix(category).removesuffix(".dat"), files)


def check(path: Path) -> None:
    """Check that an archive is whole and has isolated digits in it.

    Raises:
        DataCorrupt: It is not, or has not.
        FileNotFoundError: It is not there.
    """
    if not sum(1 for _ in _files(path, lambda name: f"/{DIGITS}" in f"/{name}")):
        raise DataCorrupt(path.name, f"a UNIPEN archive with {DIGITS} in it", "none")


def parse(text: str, writer: str, files: Mapping[str, str]) -> Iterator[Segment]:
    """Read one file.

    Args:
        text: Its content.
        writer: What to call its writer; begins with the donor and a slash.
        files: What may be included, by name below the collection's folder.

    Yields:
        Its segments that are characters, in its order.

    Raises:
        DataCorrupt: With all that it includes it is larger than any of UNIPEN's.
    """
    ratio, sets, fault = _statements(text, writer, files)
    donor = writer.partition("/")[0]
    for each in sets:
        for places, label in each.segments:
            try:
                strokes = _strokes(places, each.components)
            except _Fault as error:
                yield Segment(label, donor, writer, (), fault or str(error))
            else:
                yield Segment(label, donor, writer, tuple(stroke * (1, ratio) for stroke in strokes))


class _Fault(Exception):
    """A segment cannot be drawn; the message says why, in words that many of them share."""


def _statements(text: str, writer: str, files: Mapping[str, str]) -> tuple[float, list[_Set], str]:
    """Return what a y unit is in x units, the sets, and what is missing, if anything is."""
    columns, sets, scales, fault = ["X", "Y"], [_Set()], {"X": 0.0, "Y": 0.0}, ""
    size = len(text)
    for count, (keyword, argument) in enumerate(_unfolded(text, files, MAX_INCLUDES), 1):
        if keyword == "INCLUDED":  # comes before the included file is looked at
            size += len(files[_include(argument)])
        if size > MAX_FILE_BYTES or count > MAX_STATEMENTS:
            expected = f"at most {MAX_FILE_BYTES:,} bytes and {MAX_STATEMENTS:,} statements with its includes"
            raise DataCorrupt(writer, expected, "more")
        current = sets[-1]
        if keyword == "COORD":
            columns = argument.upper().split()
        elif keyword in ("PEN_DOWN", "PEN_UP") and argument:  # without points it is no component
            current.components.append(_Component(keyword == "PEN_DOWN", _points(argument, columns)))
        elif keyword == "SEGMENT":
            found = _SEGMENT.match(argument)
            if found and found[1].upper() in _LEVELS:
                current.segments.append((found[2], re.sub(r"\\(.)", r"\1", found[4])))
        elif keyword == "START_SET" and current.components:
            sets.append(_Set())
        elif keyword == "INCLUDE":
            fault = "an included file is missing"  # those that are there were unfolded
        elif (match := re.fullmatch(r"([XY])_POINTS_PER_(?:INCH|MM)", keyword)) and argument:
            scales[match[1]] = _number(argument.split()[0])
    ratio = scales["X"] / scales["Y"] if min(scales.values()) > 0 else 1.0
    if not 1 / _STEEPEST <= ratio <= _STEEPEST:  # written so that NaN fails too
        ratio = 1.0  # as where no scale is given
    return ratio, sets, fault


def _unfolded(text: str, files: Mapping[str, str], depth: int) -> Iterator[tuple[str, str]]:
    """Yield keywords with their arguments, those of included files in their place."""
    for statement in _STATEMENT.split(text)[1:]:
        keyword, *rest = statement.split(maxsplit=1)
        argument = rest[0].rstrip() if rest else ""
        name = _include(argument)
        if keyword == "INCLUDE" and name in files and depth:
            yield "INCLUDED", argument
            yield from _unfolded(files[name], files, depth - 1)
        else:
            yield keyword, argument


def _included(text: str) -> Iterator[str]:
    return (_include(argument) for argument in _INCLUDE.findall(text))


def _include(argument: str) -> str:
    """Return the name of an included file, below the collection's folder."""
    return f"include/{argument.removeprefix('./')}"


def _points(argument: str, columns: list[str]) -> Points | None:
    try:
        numbers = np.array(argument.split(), np.float64)
        x, y = columns.index("X"), columns.index("Y")
        table = numbers.reshape(-1, len(columns))[:, [x, y]]
    except ValueError:
        return None
    return table if bool((np.abs(table) <= _FURTHEST).all()) else None  # written so that NaN fails too


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _strokes(places: str, components: list[_Component]) -> list[Points]:
    """Return what a list like `0-2,4:3-5:17` points at: components by number, points after the colon.

    Raises:
        _Fault: It points at what is not there, or at more than a character has.
    """
    strokes = []
    room = MAX_POINTS
    for place in places.split(","):
        found = _RANGE.fullmatch(place)
        if not found:
            raise _Fault("its range is none")
        start, end = int(found[1]), int(found[3] or found[1])
        if not start <= end < len(components):
            raise _Fault("its components are not there")
        for number in range(start, end + 1):
            component = components[number]
            room -= 1
            if room < 0:
                raise _Fault("it is too long")
            if not component.is_down:
                continue
            if component.points is None:
                raise _Fault("its coordinates are none")
            first = int(found[2]) if number == start and found[2] else 0
            last = len(component.points) - 1
            if number == end and (found[4] or (found[2] and not found[3])):
                last = min(last, int(found[4] or found[2]))
            if len(stroke := component.points[first : last + 1]):
                strokes.append(stroke)
                room -= len(stroke) - 1
    if room < 0:
        raise _Fault("it is too long")
    if not strokes:
        raise _Fault("it has no point with the pen down")
    return strokes


def _files(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Yield names and texts of the wanted files below a folder or in an archive."""
    total = taken = 0
    try:
        for name, size, read in _members(path):
            total += size
            if total > MAX_ARCHIVE_BYTES:
                raise DataCorrupt(path.name, f"at most {MAX_ARCHIVE_BYTES:,} bytes unwrapped", "more")
            if is_wanted(name) and size <= MAX_FILE_BYTES:
                taken += size
                if taken > MAX_READ_BYTES:
                    raise DataCorrupt(path.name, f"at most {MAX_READ_BYTES:,} bytes of these files", "more")
                yield name, read().decode("latin-1").replace("\r\n", "\n")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        finding = str(error) or "a broken one"
        raise DataCorrupt(path.name, "a UNIPEN folder or archive", finding) from error


def _members(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield every file's name, its size, and what reads it, to be called before the next one."""
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
    """Return a file of a zip archive, and never unwrap more than the size that it declares.

    Raises:
        BadZipFile: It is broken, encrypted, or wrapped in a way whose reader could not be held to that.
    """
    if info.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile("an encrypted one")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("one whose files are neither stored nor deflated")
    with archive.open(info) as file:
        return file.read(info.file_size)
