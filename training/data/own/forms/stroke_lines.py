"""Reader of drawings as pen strokes, one JSON object per line."""

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.own.forms.arrays import named
from training.data.own.records import WHOLE, Found, LeftOut, RawPart, Strokes, part_of
from training.errors import DataRefused

ENDINGS = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")

_MAX_LINE_BYTES = 2**20
"""Largest size of one drawing; UNIPEN's longest letter takes 3,000 bytes."""

_MAX_COORDINATE = 1e9


def is_stroke_file(path: Path) -> bool:
    """Return whether a file's name is that of JSON lines."""
    return path.name.lower().endswith(ENDINGS)


def read(files: list[Path], texts: tuple[str, ...] = ()) -> Found:
    """Read drawings as strokes, with writer and donor where they are given.

    Args:
        files: The files; the names of several tell the parts.
        texts: Name of each integer label; empty to use the integers.

    Raises:
        DataRefused: A file is no gzip file, has no drawing, or two files are of one part.
    """
    left_out = list[LeftOut]()
    parts = dict[str, RawPart]()
    for file in files:
        part = part_of(file.name.split(".")[0]) if len(files) > 1 else WHOLE
        if part in parts:
            raise DataRefused(str(file.parent), f"one file per part ({part or 'train, test'})", file.name)
        parts[part] = _read_file(file, texts, left_out)
    if WHOLE in parts and len(parts) > 1:
        names = ", ".join(file.name for file in files)
        raise DataRefused(str(files[0].parent), "of files named train and test", names)
    return Found("JSON lines of pen strokes", parts, left_out)


def _read_file(file: Path, texts: tuple[str, ...], left_out: list[LeftOut]) -> RawPart:
    strokes, labels, names = list[Strokes](), list[str](), list[str]()
    donors, writers = list[str](), list[str]()
    for number, line in enumerate(_lines(file), 1):
        name = f"{file.name}, line {number}"
        if not line.strip():
            continue
        try:
            found = _parse(line)
            labels.append(named(found["label"], texts, name))
        except (ValueError, DataRefused) as error:
            left_out.append(LeftOut(name, str(error)))
            continue
        strokes.append(_strokes(found["strokes"]))
        names.append(name)
        donors.append(str(found.get("donor", "")))
        writers.append(str(found.get("writer", "")))
    if not strokes:
        first = f"; {left_out[0]}" if left_out else ""
        expected = 'of lines {"label": …, "strokes": [[x0, y0, x1, y1, …], …]}'
        raise DataRefused(file.name, expected, f"none{first}")
    is_given = all(writers)
    return RawPart(strokes, labels, names, donors if all(donors) else (), writers if is_given else ())


def _lines(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file, gzipped or not."""
    with file.open("rb") as start:
        is_gzipped = start.read(2) == b"\x1f\x8b"
    opened = gzip.open if is_gzipped else open
    try:
        with opened(file, "rb") as stream:
            while line := stream.readline(_MAX_LINE_BYTES + 1):
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataRefused(file.name, "a complete gzip file", str(error)) from error


def _parse(line: bytes) -> dict[str, object]:
    """Return the object of a line; a ValueError says what is wrong with it."""
    if len(line) > _MAX_LINE_BYTES:
        raise ValueError(f"it should have at most {_MAX_LINE_BYTES:,} bytes; got more")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("it should be a JSON object; got something else") from error
    if not isinstance(found, dict) or "label" not in found or "strokes" not in found:
        raise ValueError("it should be an object with label and strokes; got something else")
    if not isinstance(found["label"], str | int) or not str(found["label"]).strip():
        raise ValueError("its label should be a text or an integer; got something else")
    if not _strokes(found["strokes"]):
        raise ValueError("it should have a stroke; got none")
    return found


def _strokes(value: object) -> Strokes:
    """Return strokes; a ValueError says what is wrong with them."""
    if not isinstance(value, list):
        raise ValueError("its strokes should be a list; got something else")
    return tuple(_stroke(stroke) for stroke in value if stroke != [])


def _stroke(value: object) -> NDArray[np.float64]:
    """Return one stroke, x0, y0, x1, y1, … or [x0, y0], [x1, y1], …, as (points, 2)."""
    try:
        points = np.array(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError("a stroke should be a list of numbers; got something else") from error
    if points.ndim == 1 and len(points) % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"a stroke should be a list x0, y0, x1, y1, …; got shape {points.shape}")
    if not (math.isfinite(points.sum()) and np.abs(points).max() <= _MAX_COORDINATE):
        raise ValueError("coordinates should be within ±1e9; got others")
    return points
