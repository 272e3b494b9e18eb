"""Writes rows as a table for people, as JSON or as CSV."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def write(rows: Sequence[Row], columns: Sequence[str], form: str) -> None:
    """Write rows to standard output.

    Args:
        rows: Values by column; None and missing ones are empty.
        columns: The columns of a table or of CSV; JSON has all members.
        form: `table`, `json` or `csv`.
    """
    if form == "json":
        present = [{name: value for name, value in row.items() if value is not None} for row in rows]
        sys.stdout.write(f"{json.dumps(present, indent=2)}\n")
        return
    if form == "csv":
        values = [[row.get(name) for name in columns] for row in rows]
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *values])
        return
    cells = [[printable(row.get(name)) for name in columns] for row in rows]
    shown = [i for i in range(len(columns)) if any(line[i] for line in cells)]
    lines = [[line[i] for i in shown] for line in [list(columns), *cells]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(f"{text.rstrip()}\n")


def printable(value: object) -> str:
    """Return a value as text, without characters that control a terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
