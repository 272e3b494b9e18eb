"""Detection of the form of own data at a path."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from training.data.own.forms import folder, idx, npz, pixel_table, stroke_lines
from training.data.own.records import Found
from training.errors import DataRefused, ExtraMissing

FORMS = (
    "a folder with a folder of pictures per class",
    "IDX files (gzipped or not)",
    "a .npz file with x_train and y_train",
    "a .csv table of label, pixel0, pixel1, …",
    "a .parquet file with an image column",
    "a .jsonl file of pen strokes",
)

_TABLES = (".csv", ".csv.gz", ".tsv", ".txt")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")


def read(path: Path, texts: tuple[str, ...] = ()) -> Found:
    """Find out the form of the data at a path, and read it.

    Args:
        path: A file or a folder.
        texts: Name of each integer label; empty for the names in the data, or the integers.

    Raises:
        DataRefused: There is no such path, nothing of a known form, or more than one form.
        ExtraMissing: A package is missing that this form needs.
    """
    if not path.exists():
        raise DataRefused(str(path), "a file or a folder", "nothing there")
    found = _read_folder(path, texts) if path.is_dir() else _read_file(path, texts)
    if found is None:
        raise DataRefused(str(path), f"one of: {'; '.join(FORMS)}", _contents(path))
    return found


def _read_file(path: Path, texts: tuple[str, ...]) -> Found | None:
    name = path.name.lower()
    if name.endswith(_ARCHIVES):
        raise DataRefused(str(path), "unpacked first, into a folder of its own", "an archive")
    if name.endswith(".npz"):
        return npz.read(path, texts)
    if name.endswith(".parquet"):
        return _read_parquet([path], texts)
    if stroke_lines.is_stroke_file(path):
        return stroke_lines.read([path], texts)
    if name.endswith(_TABLES):
        return pixel_table.read([path], texts)
    return idx.read(path, texts)


def _read_folder(path: Path, texts: tuple[str, ...]) -> Found | None:
    files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    forms = {
        "IDX files": idx.image_files(path),
        ".npz": [each for each in files if each.suffix.lower() == ".npz"],
        ".parquet": sorted(path.rglob("*.parquet")),
        ".jsonl": [each for each in files if stroke_lines.is_stroke_file(each)],
        ".csv": [each for each in files if each.name.lower().endswith(_TABLES[:3])],
    }
    present = {name: found for name, found in forms.items() if found}
    if len(present) > 1:
        present.pop(".csv", None)  # a table beside data of another form only describes it
    pictures = folder.read(path)
    if pictures and not present.keys() - {".csv"}:
        return pictures
    if len(present) + (pictures is not None) > 1:
        kinds = ", ".join([*present, *(["pictures"] if pictures else [])])
        raise DataRefused(str(path), "of one form; name one file to choose it", kinds)
    if present.get(".npz"):
        if len(present[".npz"]) > 1:
            names = ", ".join(each.name for each in present[".npz"])
            raise DataRefused(str(path), "with one .npz file; name one to choose it", names)
        return npz.read(present[".npz"][0], texts)
    if present.get(".parquet"):
        return _read_parquet(present[".parquet"], texts)
    if present.get(".jsonl"):
        return stroke_lines.read(present[".jsonl"], texts)
    if present.get(".csv"):
        return pixel_table.read(present[".csv"], texts)
    return idx.read(path, texts) if present else None


def _read_parquet(files: Sequence[Path], texts: tuple[str, ...]) -> Found:
    try:
        # on demand, since pyarrow is in an extra of its own
        parquet = importlib.import_module("training.data.own.forms.parquet")
    except ModuleNotFoundError as error:
        raise ExtraMissing("Parquet files", "pyarrow", "parquet") from error
    found: Found = parquet.read(files, texts)
    return found


def _contents(path: Path) -> str:
    """Return what is at a path, for a message."""
    if path.is_file():
        return f"a file {path.name}"
    names = sorted(each.name for each in path.iterdir())
    return (
        f"a folder of {', '.join(names[:5])}{', …' if len(names) > 5 else ''}" if names else "an empty folder"
    )
