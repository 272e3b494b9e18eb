"""Reader of NumPy's `.npz` files, as Keras writes them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.own.forms.arrays import to_images, to_labels
from training.data.own.records import TEST, TRAIN, VALID, WHOLE, Found, RawPart, row_names
from training.errors import DataRefused

_PAIRS = (
    (TRAIN, "x_train", "y_train"),
    (TRAIN, "train_images", "train_labels"),
    (VALID, "x_val", "y_val"),
    (VALID, "x_valid", "y_valid"),
    (VALID, "val_images", "val_labels"),
    (TEST, "x_test", "y_test"),
    (TEST, "test_images", "test_labels"),
    (WHOLE, "x", "y"),
    (WHOLE, "images", "labels"),
    (WHOLE, "data", "target"),
    (WHOLE, "data", "labels"),
)
"""Part, name of the images and name of the labels, in lower case."""


def read(path: Path, texts: tuple[str, ...] = ()) -> Found:
    """Read images and labels from a `.npz` file.

    Args:
        path: The file.
        texts: Name of each integer label; empty to use the integers.

    Raises:
        DataRefused: The file is broken, or has no images and labels under known names.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = {name.lower(): name for name in archive.files}
            pairs = [pair for pair in _PAIRS if pair[1] in names and pair[2] in names]
            if not pairs:
                expected = "with x_train and y_train, or x and y, or images and labels"
                raise DataRefused(path.name, expected, ", ".join(archive.files) or "nothing")
            parts = {
                part: _part(archive[names[images]], archive[names[labels]], f"{path.name}, {images}", texts)
                for part, images, labels in pairs
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataRefused(path.name, "a NumPy archive without pickled objects", str(error)) from error
    if WHOLE in parts and len(parts) > 1:
        del parts[WHOLE]
    return Found("a NumPy archive", parts)


def _part(images: NDArray[Any], labels: NDArray[Any], name: str, texts: tuple[str, ...]) -> RawPart:
    pixels, words = to_images(images, name), to_labels(labels, f"the labels of {name}", texts)
    if len(pixels) != len(words):
        raise DataRefused(name, f"{len(words):,} images, one per label", f"{len(pixels):,}")
    return RawPart(pixels, words, row_names(name, len(words), 0))
