"""Reader of IDX files, the form of MNIST, Fashion-MNIST, Kuzushiji-MNIST and EMNIST."""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.mnist import parse_idx
from training.data.own.forms.arrays import named
from training.data.own.records import TEST, TRAIN, WHOLE, Found, RawPart, part_of, row_names
from training.errors import DataRefused

_MAX_BYTES = 4 * 2**30
"""Largest uncompressed size of a file; EMNIST's largest has 547 million bytes."""

_IMAGES = re.compile(r"(?P<before>.*)images(?P<between>[-.]?)idx3(?P<after>.*)", re.IGNORECASE)

_DEPTH = 3
"""Levels of folders that are searched: torchvision's files are in MNIST/raw/."""


def image_files(path: Path) -> list[Path]:
    """Return the IDX files of images at a path: a file, or a folder with or without folders in it."""
    if path.is_file():
        return [path] if _IMAGES.fullmatch(path.name) else []
    levels = ["/".join(["*"] * depth) for depth in range(1, _DEPTH + 1)]
    found = sorted(each for level in levels for each in path.glob(level) if each.is_file())
    names = dict[str, Path]()
    for each in found:
        if _IMAGES.fullmatch(each.name):
            names.setdefault(each.name.removesuffix(".gz"), each)  # torchvision keeps both forms
    return list(names.values())


def read(path: Path, texts: tuple[str, ...] = ()) -> Found | None:
    """Read pairs of IDX files.

    EMNIST's images are stored with rows and columns exchanged; they are turned upright. A mapping file beside
    them gives the names of the labels.

    Args:
        path: A folder, or a file of images; its other parts are found beside it.
        texts: Name of each label; empty for the mapping file's, or the integers.

    Returns:
        The parts; None if there is no IDX file.

    Raises:
        DataRefused: A file is missing or broken, or there are several data sets.
    """
    files = image_files(path)
    if path.is_file() and files:
        files = [file for file in image_files(path.parent) if _data_set(file) == _data_set(path)]
    if not files:
        return None
    if len({_data_set(file) for file in files}) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in files)
        raise DataRefused(str(path), "of one data set; name one file of images to choose it", names)
    mapping = _mapping(files[0])
    remarks = []
    if texts:
        mapping = dict(enumerate(texts))
    elif mapping:
        remarks.append(f"The labels are named by the mapping file: {' '.join(mapping.values())}.")
    is_turned = "emnist" in files[0].name.lower()
    if is_turned:
        remarks.append("EMNIST's images are stored with rows and columns exchanged; they are turned upright.")
    parts = {part_of(file.name): _read_part(file, mapping, is_turned) for file in files}
    if len(parts) < len(files) or (WHOLE in parts and len(parts) > 1):
        names = ", ".join(file.name for file in files)
        raise DataRefused(str(path), f"one file of images for each of {TRAIN} and {TEST}", names)
    if set(parts) == {TEST}:  # a test part alone is divided like any other data
        parts = {WHOLE: parts[TEST]}
    return Found("IDX files", parts, remarks=remarks)


def _read_part(file: Path, mapping: dict[int, str], is_turned: bool) -> RawPart:
    labels_file = _labels_file(file)
    images = parse_idx(_content(file), file.name)
    labels = parse_idx(_content(labels_file), labels_file.name)
    if images.ndim != 3:
        raise DataRefused(file.name, "of three dimensions", f"shape {images.shape}")
    if labels.shape != images.shape[:1]:
        expected = f"of {len(images):,} labels, one per image of {file.name}"
        raise DataRefused(labels_file.name, expected, f"shape {labels.shape}")
    pixels: NDArray[np.uint8] = images.transpose(0, 2, 1).copy() if is_turned else images
    texts = [
        mapping[label] if label in mapping else named(label, (), labels_file.name)
        for label in labels.tolist()
    ]
    return RawPart(pixels, texts, row_names(file.name, len(texts)))


def _labels_file(file: Path) -> Path:
    match = _IMAGES.fullmatch(file.name)
    assert match is not None
    wanted = f"{match['before']}labels{match['between']}idx1{match['after']}".removesuffix(".gz")
    for name in (wanted, f"{wanted}.gz"):
        if (file.parent / name).is_file():
            return file.parent / name
    raise DataRefused(str(file.parent), f"with the labels of {file.name}, in {wanted}", "no such file")


def _data_set(file: Path) -> tuple[str, str]:
    """Return what the files of one data set have in common: the folder, and the name without its part."""
    match = _IMAGES.fullmatch(file.name)
    assert match is not None
    words = [word for word in re.split(r"[-_.]", match["before"]) if word and not part_of(word)]
    return str(file.parent), "-".join(words)


def _mapping(file: Path) -> dict[int, str]:
    """Return the texts in EMNIST's mapping file: on each line a label and the codes of its characters."""
    paths = sorted(file.parent.glob(f"{_data_set(file)[1]}-mapping.txt"))
    if not paths:
        return {}
    texts = {}
    for line in paths[0].read_text("utf-8").splitlines():
        label, *codes = line.split()
        texts[int(label)] = "".join(chr(int(code)) for code in codes)
    return texts


def _content(path: Path) -> bytes:
    """Return the uncompressed content; browsers unpack gzip files and keep the name."""
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    if not is_gzipped:
        return path.read_bytes()
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataRefused(path.name, "a complete gzip file", str(error) or "something else") from error
    if len(content) > _MAX_BYTES:
        raise DataRefused(path.name, f"at most {_MAX_BYTES:,} bytes uncompressed", "more")
    return content
