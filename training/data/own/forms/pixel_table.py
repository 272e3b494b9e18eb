"""Reader of tables of pixels as text, `label,pixel0,pixel1,…`, as Kaggle has them."""

import csv
import gzip
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training.data.own.forms.arrays import named, to_images
from training.data.own.records import WHOLE, Found, LeftOut, RawPart, part_of
from training.errors import DataRefused

_LABEL_NAMES = ("label", "labels", "class", "target", "y", "digit", "letter", "character", "species")
_DELIMITERS = ",;\t"
_MIN_PIXELS = 16
_MAX_LINE = 2**22
"""Characters of a line; 64 x 64 colour pixels take 49,152."""


def read(files: list[Path], texts: tuple[str, ...] = ()) -> Found:
    """Read tables with one image per row.

    The label is in the column of that name, otherwise in the first one; all other columns are pixels.

    Args:
        files: The tables; the names of several tell the parts.
        texts: Name of each integer label; empty to use the integers.

    Raises:
        DataRefused: A table has no label or no square number of pixels, or two tables are of one part.
    """
    left_out = list[LeftOut]()
    parts = dict[str, RawPart]()
    remarks = []
    for file in files:
        part = part_of(file.name) if len(files) > 1 else WHOLE
        found = _read_table(file, texts, left_out)
        if found is None:
            remarks.append(f"{file.name} has no labels and is not used.")
        elif part in parts:
            raise DataRefused(str(file.parent), f"one table per part ({part or 'train, test'})", file.name)
        else:
            parts[part] = found
    if len(parts) == 1:
        parts = {WHOLE: next(iter(parts.values()))}
    if WHOLE in parts and len(parts) > 1:
        raise DataRefused(str(files[0].parent), "of tables named train and test", _names(files))
    if not parts:
        raise DataRefused(_names(files), "a table with labels", "none")
    return Found("a table of labels and pixels", parts, left_out, remarks)


def _names(files: list[Path]) -> str:
    return ", ".join(file.name for file in files)


def _read_table(file: Path, texts: tuple[str, ...], left_out: list[LeftOut]) -> RawPart | None:
    lines = _lines(file)
    first = next(lines, (0, ""))[1]
    delimiter = max(_DELIMITERS, key=first.count)
    cells = next(csv.reader([first], delimiter=delimiter), [])
    has_header = sum(_is_number(cell) for cell in cells) < len(cells) - 1 or _is_label_name(cells[0])
    column = _label_column(cells) if has_header else 0
    pixels = len(cells) - 1
    if column is None and _side(len(cells)):
        return None
    if column is None or not _side(pixels):
        expected = "a table of one label and a square number of pixels, such as 784, in each row"
        raise DataRefused(file.name, expected, f"{len(cells)} columns")
    images, labels, names = list[np.ndarray](), list[str](), list[str]()
    for number, line in lines if has_header else _again(first, lines):
        name = f"{file.name}, line {number}"
        try:
            label, row = _parse(line, delimiter, column, pixels)
            labels.append(named(int(label) if label.isdecimal() else label, texts, name))
        except (ValueError, DataRefused) as error:
            left_out.append(LeftOut(name, str(error)))
            continue
        images.append(row)
        names.append(name)
    if not images:
        return None
    return RawPart(to_images(_scaled(np.stack(images)), file.name), labels, names)


def _again(first: str, rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield 1, first
    yield from rest


def _scaled(rows: np.ndarray) -> np.ndarray:
    """Return rows of whole numbers as bytes; others are scaled by `to_images`."""
    return rows if (rows != np.rint(rows)).any() else rows.astype(np.uint8)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that is not empty."""
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8-sig", errors="replace") as stream:
            number = 0
            while line := stream.readline(_MAX_LINE):
                number += 1
                if line.strip():
                    yield number, line.strip("\r\n")
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataRefused(file.name, "a complete gzip file", str(error)) from error


def _parse(line: str, delimiter: str, column: int, pixels: int) -> tuple[str, np.ndarray]:
    """Return the label and the pixels of a row; a ValueError says what is wrong."""
    cells = line.split(delimiter)
    if len(cells) != pixels + 1:
        raise ValueError(f"it should have {pixels + 1:,} cells; got {len(cells):,}")
    label = cells.pop(column).strip().strip('"')
    if not label:
        raise ValueError("it should have a label; got an empty cell")
    try:
        row = np.array(cells, dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"its pixels should be numbers; {error}") from error
    if not (row.min() >= 0 and row.max() <= 255):  # in this form NaN fails too
        raise ValueError(f"its pixels should be from 0 to 255; got {row.min():g} to {row.max():g}")
    return label, row


def _label_column(header: list[str]) -> int | None:
    """Return the column of the labels; None if all columns are pixels by name."""
    for column, cell in enumerate(header):
        if _is_label_name(cell):
            return column
    return None if header[0].strip().lower().startswith("pixel") else 0


def _is_label_name(cell: str) -> bool:
    return cell.strip().strip('"').lower() in _LABEL_NAMES


def _is_number(cell: str) -> bool:
    with warnings.catch_warnings():
        try:
            return math.isfinite(float(cell))
        except ValueError:
            return False


def _side(pixels: int) -> int:
    """Return the side of a square of so many pixels; 0 if there is none."""
    side = math.isqrt(pixels)
    return side if side * side == pixels and pixels >= _MIN_PIXELS else 0
