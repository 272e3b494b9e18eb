"""Predicts one part of a bulk run, and writes it as a file that is either complete or absent."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from inkling.bulk.sources import Source
from inkling.errors import RequestError
from inkling.inputs import CHUNK, Item
from inkling.model import Model
from service.inference.preprocessing import Preprocessing

_MAX_ERROR = 300
"""Characters of an error in the output."""


def write(
    model: Model, source: Source, start: int, stop: int, prepare: Preprocessing, full: bool, path: Path
) -> None:
    """Predict the rows of one part and write them.

    Args:
        model: The model.
        source: The input.
        start: Number of the first row.
        stop: Number of the row after the last one.
        prepare: Preprocessing, as `Model.predict` takes it.
        full: Whether to write the probability of every class.
        path: The file; it is written under another name and renamed.
    """
    tables = []
    row = start
    for images, columns in source.read(start, stop):
        found = _predict(model, images, prepare, full)
        count = len(found["label"])
        tables.append(pa.table({"row": pa.array(np.arange(row, row + count)), **columns, **found}))
        row += count
    if row != stop:
        raise OSError(f"Rows {start:,} to {stop:,} should be in the input; it has changed.")
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    parquet.write_table(pa.concat_tables(tables).unify_dictionaries(), staged, compression="zstd")
    with staged.open("rb+") as file:
        os.fsync(file.fileno())
    staged.replace(path)


def schema_columns(full: bool, labels: int) -> dict[str, Any]:
    """Return the types of the columns of predictions, by name."""
    columns = {
        "label": pa.dictionary(pa.int32(), pa.string()),
        "index": pa.int32(),
        "confidence": pa.float32(),
        "sure": pa.bool_(),
        "error": pa.string(),
    }
    return columns | ({"probabilities": pa.list_(pa.float32(), labels)} if full else {})


def _predict(model: Model, images: Any, prepare: Preprocessing, full: bool) -> dict[str, Any]:  # noqa: ANN401 - any of `Images`
    """Return the columns of predictions; an image that is not valid has its error instead."""
    chunks: list[dict[str, Any]] = []
    size = CHUNK if isinstance(images, np.ndarray) else 64
    if isinstance(images, np.ndarray) and images.size == np.prod(model.shape):
        images = images.reshape(1, *model.shape)
    for start in range(0, len(images), size):
        group = images[start : start + size]
        try:
            chunks += [_columns(run, full) for run, _ in model.runs(group, prepare)]
        except (RequestError, OSError):
            chunks += [_single(model, image, prepare, full) for image in group]
    types = schema_columns(full, len(model.labels))
    return {name: pa.chunked_array([chunk[name] for chunk in chunks], kind) for name, kind in types.items()}


def _single(model: Model, image: Item, prepare: Preprocessing, full: bool) -> dict[str, Any]:
    try:
        ((run, _),) = model.runs([image], prepare)
    except (RequestError, OSError) as error:
        text = (getattr(error, "strerror", None) or str(error)).removeprefix("Image 0 ")[:_MAX_ERROR]
        types = schema_columns(full, len(model.labels))
        return {**{name: pa.nulls(1, kind) for name, kind in types.items()}, "error": pa.array([text])}
    return _columns(run, full)


def _columns(run: Any, full: bool) -> dict[str, Any]:  # noqa: ANN401 - a `Run`
    scores = run.scores.probabilities
    index = scores.argmax(axis=1).astype(np.int32)
    count = len(scores)
    columns = {
        "label": pa.DictionaryArray.from_arrays(index, pa.array(run.model.manifest.labels)),
        "index": pa.array(index),
        "confidence": pa.array(scores[np.arange(count), index]),
        "sure": pa.nulls(count, pa.bool_()) if run.sure is None else pa.array(run.sure),
        "error": pa.nulls(count, pa.string()),
    }
    if full:
        columns["probabilities"] = pa.FixedSizeListArray.from_arrays(
            pa.array(scores.ravel()), scores.shape[1]
        )
    return columns
