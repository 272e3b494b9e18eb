"""Parser of UNIPEN files: pen strokes with labels.

Supports what isolated characters need: includes, coordinates, pen up and down, segments.

Source: I. Guyon, "UNIPEN 1.0 Format Definition", 1994.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.data.unipen.archive import MAX_FILE_BYTES
from training.errors import DataCorrupt

MAX_INCLUDES = 8
"""Largest nesting depth of includes; UNIPEN's is three."""

MAX_STATEMENTS = 10**6
"""Largest number of statements of a file with its includes; UNIPEN's files have some thousands."""

MAX_POINTS = 10_000
"""Largest number of points and components of a character; UNIPEN's longest digit has some hundreds."""

_MAX_COORDINATE = 1e7
"""Largest absolute coordinate, in the tablet's unit."""

_MAX_ASPECT = 1000.0
"""Largest ratio between the resolutions of x and y, either way."""

_LEVELS = ("CHARACTER", "CHAR")
"""Segment hierarchy levels that are single characters."""

Points = NDArray[np.float64]

_STATEMENT = re.compile(r"^\.(?=[A-Z])", re.MULTILINE)
_INCLUDE = re.compile(r"^\.INCLUDE[ \t]+(\S+)", re.MULTILINE)
_SEGMENT = re.compile(r'(\S+)\s+(\S+)\s+(?:([^\s"]+)\s+)?"((?:[^"\\]|\\.)*)"', re.DOTALL)
_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?:-(\d{1,9})(?::(\d{1,9}))?)?")


@dataclass(frozen=True, eq=False)
class Segment:
    """A labelled character.

    Attributes:
        label: Label without quotes and escapes.
        donor: First folder of the file's name.
        writer: File name without suffix, relative to the folder of its category.
        strokes: (points, 2) float64 each, x to the right, y upwards, one unit for both; empty if the
            segment refers to missing components.
        fault: Reason why there are no strokes; empty if there are.
    """

    label: str
    donor: str
    writer: str
    strokes: tuple[Points, ...]
    fault: str = ""


@dataclass
class _Component:
    """A pen-down or pen-up component: (points, 2), or None if its numbers are no points."""

    is_down: bool
    points: Points | None


@dataclass
class _Set:
    """Components with a common numbering, and the segments that refer to them."""

    components: list[_Component] = field(default_factory=list)
    segments: list[tuple[str, str]] = field(default_factory=list)


class _Fault(Exception):
    """A segment is invalid; the message is a reason that is counted over many segments."""


def parse(text: str, writer: str, files: Mapping[str, str]) -> Iterator[Segment]:
    """Parse one file.

    Args:
        text: Content of the file.
        writer: Name of the writer; begins with the donor and a slash.
        files: Text of the files that can be included, by name relative to the collection's folder.

    Yields:
        The segments that are characters, in file order.

    Raises:
        DataCorrupt: The file with its includes exceeds a limit.
    """
    ratio, sets, fault = _statements(text, writer, files)
    donor = writer.partition("/")[0]
    for each in sets:
        for ranges, label in each.segments:
            try:
                strokes = _strokes(ranges, each.components)
            except _Fault as error:
                yield Segment(label, donor, writer, (), fault or str(error))
            else:
                yield Segment(label, donor, writer, tuple(stroke * (1, ratio) for stroke in strokes))


def included_files(text: str) -> Iterator[str]:
    """Yield the names of the files that a file includes, relative to the collection's folder."""
    return (_include_path(argument) for argument in _INCLUDE.findall(text))


def _include_path(argument: str) -> str:
    return f"include/{argument.removeprefix('./')}"


def _statements(text: str, writer: str, files: Mapping[str, str]) -> tuple[float, list[_Set], str]:
    """Return the size of a y unit in x units, the sets, and a fault that concerns all of them."""
    columns, sets, scales, fault = ["X", "Y"], [_Set()], {"X": 0.0, "Y": 0.0}, ""
    size = len(text)
    for count, (keyword, argument) in enumerate(_expand(text, files, MAX_INCLUDES), 1):
        if keyword == "INCLUDED":  # precedes the statements of the included file
            size += len(files[_include_path(argument)])
        if size > MAX_FILE_BYTES or count > MAX_STATEMENTS:
            expected = f"at most {MAX_FILE_BYTES:,} bytes and {MAX_STATEMENTS:,} statements with its includes"
            raise DataCorrupt(writer, expected, "more")
        current = sets[-1]
        if keyword == "COORD":
            columns = argument.upper().split()
        elif keyword in ("PEN_DOWN", "PEN_UP") and argument:  # without points it is not numbered
            current.components.append(_Component(keyword == "PEN_DOWN", _points(argument, columns)))
        elif keyword == "SEGMENT":
            match = _SEGMENT.match(argument)
            if match and match[1].upper() in _LEVELS:
                current.segments.append((match[2], re.sub(r"\\(.)", r"\1", match[4])))
        elif keyword == "START_SET" and current.components:
            sets.append(_Set())
        elif keyword == "INCLUDE":
            fault = "an included file is missing"  # existing ones were expanded
        elif (unit := re.fullmatch(r"([XY])_POINTS_PER_(?:INCH|MM)", keyword)) and argument:
            scales[unit[1]] = _number(argument.split()[0])
    ratio = scales["X"] / scales["Y"] if min(scales.values()) > 0 else 1.0
    if not 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT:  # in this form NaN fails too
        ratio = 1.0  # as without a scale
    return ratio, sets, fault


def _expand(text: str, files: Mapping[str, str], depth: int) -> Iterator[tuple[str, str]]:
    """Yield keywords with their arguments; an INCLUDE is replaced by INCLUDED and the file's statements."""
    for statement in _STATEMENT.split(text)[1:]:
        keyword, *rest = statement.split(maxsplit=1)
        argument = rest[0].rstrip() if rest else ""
        name = _include_path(argument)
        if keyword == "INCLUDE" and name in files and depth:
            yield "INCLUDED", argument
            yield from _expand(files[name], files, depth - 1)
        else:
            yield keyword, argument


def _points(argument: str, columns: list[str]) -> Points | None:
    try:
        numbers = np.array(argument.split(), np.float64)
        x, y = columns.index("X"), columns.index("Y")
        table = numbers.reshape(-1, len(columns))[:, [x, y]]
    except ValueError:
        return None
    return table if bool((np.abs(table) <= _MAX_COORDINATE).all()) else None  # in this form NaN fails too


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _strokes(ranges: str, components: list[_Component]) -> list[Points]:
    """Return the pen-down strokes of a range list such as `0-2,4:3-5:17`: component, colon, point.

    Raises:
        _Fault: The list is invalid, refers to missing components, or is too long.
    """
    strokes = []
    room = MAX_POINTS
    for text in ranges.split(","):
        match = _RANGE.fullmatch(text)
        if not match:
            raise _Fault("its range is invalid")
        start, end = int(match[1]), int(match[3] or match[1])
        if not start <= end < len(components):
            raise _Fault("its components are missing")
        for number in range(start, end + 1):
            component = components[number]
            room -= 1
            if room < 0:
                raise _Fault("it is too long")
            if not component.is_down:
                continue
            if component.points is None:
                raise _Fault("its coordinates are invalid")
            first = int(match[2]) if number == start and match[2] else 0
            last = len(component.points) - 1
            if number == end and (match[4] or (match[2] and not match[3])):
                last = min(last, int(match[4] or match[2]))
            if len(stroke := component.points[first : last + 1]):
                strokes.append(stroke)
                room -= len(stroke) - 1
    if room < 0:
        raise _Fault("it is too long")
    if not strokes:
        raise _Fault("it has no point with the pen down")
    return strokes
