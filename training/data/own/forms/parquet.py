"""Reader of Parquet files with an image column, as Hugging Face's data sets have them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from training.data.own.forms.arrays import named
from training.data.own.records import WHOLE, Found, LeftOut, RawPart, part_of
from training.errors import DataRefused

_IMAGE_NAMES = ("image", "img", "picture", "pixels")
_LABEL_NAMES = ("label", "labels", "class", "fine_label", "target", "y")
_WRITER_NAMES = ("writer", "writer_id")


def read(files: Sequence[Path], texts: tuple[str, ...] = ()) -> Found:
    """Read picture files and labels from Parquet files.

    The image column has the bytes of a picture file, or a struct with these in its field `bytes`.

    Args:
        files: The files; the names of several tell the parts, several files of one part are joined.
        texts: Name of each integer label; empty for the names in the file's own description, or the integers.

    Raises:
        DataRefused: A file is broken, or has no such columns.
    """
    left_out = list[LeftOut]()
    found = dict[str, list[RawPart]]()
    for file in files:
        part = part_of(file.name) if len(files) > 1 else WHOLE
        found.setdefault(part, []).append(_read_file(file, texts, left_out))
    if len(found) == 1:
        found = {WHOLE: next(iter(found.values()))}
    parts = {part: _joined(pieces) for part, pieces in found.items()}
    return Found("Parquet with pictures", parts, left_out)


def _joined(pieces: Sequence[RawPart]) -> RawPart:
    writers = [writer for piece in pieces for writer in piece.writers]
    pictures = [content for piece in pieces for content in piece.content if isinstance(content, bytes)]
    return RawPart(
        pictures,
        [label for piece in pieces for label in piece.labels],
        [name for piece in pieces for name in piece.names],
        writers=writers,
    )


def _read_file(file: Path, texts: tuple[str, ...], left_out: list[LeftOut]) -> RawPart:
    try:
        opened = parquet.ParquetFile(file)
        names = list(opened.schema_arrow.names)
        image = _column(names, _IMAGE_NAMES, "an image column", file)
        label = _column(names, _LABEL_NAMES, "a label column", file)
        writer = [name for name in names if name.lower() in _WRITER_NAMES]
        table = opened.read(columns=[image, label, *writer])
    except (pyarrow.ArrowException, OSError) as error:
        raise DataRefused(file.name, "a Parquet file", str(error)) from error
    texts = texts or _texts(opened.schema_arrow.metadata or {}, label)
    pictures, labels, rows = list[bytes](), list[str](), list[str]()
    writers = list[str]()
    columns = [table.column(name).to_pylist() for name in (image, label, *writer)]
    for number, (cell, word, *by) in enumerate(zip(*columns, strict=True), 1):
        name = f"{file.name}, row {number}"
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes) or word is None:
            left_out.append(LeftOut(name, "it should have a picture file's bytes and a label; got none"))
            continue
        pictures.append(content)
        labels.append(named(word, texts, name))
        rows.append(name)
        writers += map(str, by)
    return RawPart(pictures, labels, rows, writers=writers)


def _column(names: Sequence[str], known: Sequence[str], what: str, file: Path) -> str:
    for wanted in known:
        for name in names:
            if name.lower() == wanted:
                return name
    raise DataRefused(file.name, f"with {what} ({', '.join(known)})", ", ".join(names))


def _texts(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...]:
    """Return the names of integer labels in Hugging Face's description of the file."""
    try:
        described: Any = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError):
        return ()
    return tuple(map(str, described)) if isinstance(described, list) else ()
