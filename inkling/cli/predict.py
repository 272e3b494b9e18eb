"""Command `inkling predict`: classifies files, and writes one row per image."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from inkling.cli import table
from inkling.errors import MalformedRequest, RequestError
from inkling.model import Model
from inkling.predictions import Prediction
from service.inference.preprocessing import Preprocessing

_COLUMNS = ("file", "row", "label", "confidence", "sure", "error")


def run(model: Model, files: list[Path], form: str, top: int, prepare: Preprocessing) -> int:
    """Classify files and write the result to standard output.

    Args:
        model: The model.
        files: Pictures, `.npy` arrays, and strokes in `.json` or `.jsonl`.
        form: `table`, `json` or `csv`.
        top: Number of top classes in JSON.
        prepare: Preprocessing, as `Model.predict` takes it.

    Returns:
        The exit status: 1 if an image could not be predicted; its row has the error.
    """
    rows: list[dict[str, Any]] = []
    for path in files:
        name = str(path).encode(errors="replace").decode()
        try:
            rows += [{"file": name, **row} for row in _rows(model, path, top, prepare)]
        except (RequestError, OSError) as error:
            rows.append({"file": name, "error": getattr(error, "strerror", None) or str(error)})
    table.write(rows, _COLUMNS, form)
    return int(any("error" in row for row in rows))


def _rows(model: Model, path: Path, top: int, prepare: Preprocessing) -> Iterator[dict[str, Any]]:
    """Yield the members of each image in a file."""
    if path.suffix.lower() not in (".npy", ".jsonl"):
        yield _row(model.predict(path, top=top, prepare=prepare)[0])
        return
    images = _load_array(path) if path.suffix.lower() == ".npy" else _load_lines(path)
    try:
        found = model.predict(images, top=top, prepare=prepare)
    except RequestError:
        if len(images) == 1:
            raise
    else:
        yield from ({"row": row, **_row(prediction)} for row, prediction in enumerate(found))
        return
    for row, image in enumerate(images):  # one by one, to name the wrong ones
        try:
            yield {"row": row, **_row(model.predict([image], top=top, prepare=prepare)[0])}
        except RequestError as error:
            yield {"row": row, "error": str(error).replace("Image 0", f"Image {row}")}


def _row(prediction: Prediction) -> dict[str, Any]:
    row = asdict(prediction)
    if not prediction.prepared:
        del row["prepared"]
    if not prediction.several:
        del row["several"]
    if prediction.unclear is None:
        del row["unclear"]
    return row


def _load_array(path: Path) -> Any:  # noqa: ANN401 - np.load returns any array
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise MalformedRequest("File", "a NumPy .npy file of plain numbers", "something else") from error


def _load_lines(path: Path) -> list[Any]:
    try:
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except orjson.JSONDecodeError as error:
        raise MalformedRequest("File", "JSON, one object a line", "something else") from error
    if not lines:
        raise MalformedRequest("File", "at least one line", "none")
    return [
        {"strokes": line["strokes"]} if isinstance(line, dict) and "strokes" in line else line
        for line in lines
    ]
