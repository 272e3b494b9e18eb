"""Reader of a folder with one folder of picture files per class."""

from pathlib import Path

from training.data.own.records import WHOLE, Found, LeftOut, RawPart, part_of

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Endings of picture files, in lower case."""

_MAX_PICTURES = 1_000_000


def is_picture(path: Path) -> bool:
    """Return whether a file's name is that of a picture file."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def read(root: Path) -> Found | None:
    """List the picture files of each class.

    Args:
        root: A folder with a folder per class, or with folders train, valid and test that hold these.

    Returns:
        The picture files, not opened yet; None if there is no such folder of pictures.
    """
    folders = _folders(root)
    parts = {part_of(folder.name): folder for folder in folders}
    is_divided = bool(folders) and WHOLE not in parts and len(parts) == len(folders)
    found, left_out = {}, list[LeftOut]()
    for part, folder in (parts if is_divided else {WHOLE: root}).items():
        examples = _read_part(folder, root, left_out)
        if len(examples):
            found[part] = examples
    if not found:
        return None
    left_out += [
        LeftOut(path.name, "it is in no folder of a class")
        for path in sorted(root.iterdir())
        if is_picture(path)
    ]
    classes = {label for part in found.values() for label in part.labels}
    remarks = [] if len(classes) > 1 else [f"All pictures are in one folder, {next(iter(classes))}."]
    return Found("a folder with a folder of pictures per class", found, left_out, remarks)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _read_part(folder: Path, root: Path, left_out: list[LeftOut]) -> RawPart:
    paths, labels = list[Path](), list[str]()
    for of_class in _folders(folder):
        for path in sorted(of_class.rglob("*")):
            if not path.is_file() or path.name.startswith(".") or path.name == "Thumbs.db":
                continue
            if not is_picture(path):
                left_out.append(LeftOut(str(path.relative_to(root)), "it is no picture file by its name"))
            elif len(paths) < _MAX_PICTURES:
                paths.append(path)
                labels.append(of_class.name)
    return RawPart(paths, labels, [str(path.relative_to(root)) for path in paths])
