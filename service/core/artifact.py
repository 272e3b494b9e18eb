"""The contract between trainer and service: what a published model folder contains.

    models/<name>/<version>/
        model.onnx      one self-contained network: pixels in, logits and probabilities out
        manifest.json   who it is, how it was made, what was measured
        golden.json     a few inputs and the outputs the network must give for them
        report/         what the trainer measured, for people; not needed to serve

The service owns the contract because the service refuses what breaks it. One reader and one writer
stand here, so they cannot drift apart. Running a network is `engine`'s work.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.core import golden as goldens
from service.core import manifest as manifests
from service.core.errors import DigestMismatch, ManifestInvalid
from service.core.golden import Golden
from service.core.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    NAME_PATTERN,
    VERSION_PATTERN,
    Manifest,
)

REPORT_FOLDER = "report"

MAX_FILE_BYTES = 64 * 2**20
"""No file of a published folder is larger; what is larger is not read into memory."""


@dataclass(frozen=True)
class Artifact:
    """A published folder in memory, complete and with the right digests."""

    manifest: Manifest
    model: bytes
    golden: Golden

    @property
    def identity(self) -> str:
        """`name/version`, for messages."""
        return f"{self.manifest.name}/{self.manifest.version}"


def versions(root: Path) -> dict[str, list[str]]:
    """List what is published below a models folder.

    Args:
        root: The models folder.

    Returns:
        For each model name, in alphabetical order, its versions, oldest first. Files, and folders
        that are not named like a model or a version, are passed over; so is a half-published one. A
        model whose folder cannot be read has no versions.

    Raises:
        OSError: The folder cannot be read.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(entry.name for entry in root.iterdir()):
        try:
            numbers = versions_of(root, name)
        except OSError:
            found[name] = []
            continue
        if numbers:
            found[name] = numbers
    return found


def versions_of(root: Path, name: str) -> list[str]:
    """List what is published of one model.

    Args:
        root: The models folder.
        name: Whatever a caller takes for a model name.

    Returns:
        Its versions, oldest first; none if there is no such folder, or no model can be called that.

    Raises:
        OSError: Its folder cannot be read.
    """
    if not re.fullmatch(NAME_PATTERN, name) or not (root / name).is_dir():
        return []
    try:
        names = [entry.name for entry in (root / name).iterdir() if entry.is_dir()]
    except FileNotFoundError:  # it was there just now
        return []
    return [
        str(number) for number in sorted(int(name) for name in names if re.fullmatch(VERSION_PATTERN, name))
    ]


def read(root: Path, name: str, version: str) -> Artifact:
    """Read one published folder and check everything that can be checked without running it.

    Args:
        root: The models folder.
        name: Model name, as published.
        version: Published version.

    Returns:
        The artifact, with its digests verified.

    Raises:
        ManifestInvalid: A file is missing, too large or cannot be parsed, or the manifest
            contradicts itself, its folder or the golden examples.
        DigestMismatch: A file is not the one that was published.
    """
    title = f"{name}/{version}"
    folder = root / name / version
    manifest = manifests.parse(title, _read_file(title, folder / MANIFEST_FILE))
    if (manifest.name, manifest.version) != (name, version):
        raise ManifestInvalid(
            title, f"manifest should be of {title}; got {manifest.name}/{manifest.version}."
        )
    model = _read_file(title, folder / MODEL_FILE)
    golden = _read_file(title, folder / GOLDEN_FILE)
    for file, content in ((MODEL_FILE, model), (GOLDEN_FILE, golden)):
        digest = hashlib.sha256(content).hexdigest()
        if digest != manifest.sha256[file]:
            raise DigestMismatch(title, file, manifest.sha256[file], digest)
    return Artifact(manifest, model, goldens.parse(title, golden, manifest))


def publish(
    root: Path,
    manifest: Mapping[str, Any],
    model: bytes,
    golden: Golden,
    report: Mapping[str, bytes],
) -> Artifact:
    """Write a folder under the next free version, all of it or nothing.

    The files are written into a folder whose name is no version, flushed to disk and then renamed, so
    that a reader sees either no folder or a whole one, whatever interrupts the writer.

    Args:
        root: The models folder.
        manifest: The manifest's content but for `version` and `sha256`, which are filled in here.
        model: The ONNX file.
        golden: Its examples.
        report: Files for `report/`, by name.

    Returns:
        The artifact, read back from disk.

    Raises:
        ManifestInvalid: The content breaks the contract; nothing is published.
        OSError: The folder cannot be written; nothing is published.
    """
    golden_file = goldens.write(golden)
    digests = {
        MODEL_FILE: hashlib.sha256(model).hexdigest(),
        GOLDEN_FILE: hashlib.sha256(golden_file).hexdigest(),
    }
    checked = manifests.complete(manifest, "1", digests)
    name = checked.name
    goldens.parse(f"{name}/next", golden_file, checked)
    if len(model) > MAX_FILE_BYTES:
        raise ManifestInvalid(f"{name}/next", f"{MODEL_FILE} should be at most {MAX_FILE_BYTES:,} bytes.")
    (root / name).mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=root / name))
    try:
        staging.chmod(0o755)
        files = {MODEL_FILE: model, GOLDEN_FILE: golden_file}
        files |= {f"{REPORT_FOLDER}/{file}": data for file, data in report.items()}
        for file, data in files.items():
            _write_file(staging / file, data)
        number = int(versions(root).get(name, ["0"])[-1]) + 1
        while True:
            whole = manifests.complete(manifest, str(number), digests)
            _write_file(staging / MANIFEST_FILE, manifests.write(whole))
            try:
                staging.rename(root / name / whole.version)
            except OSError:
                if not (root / name / whole.version).exists():
                    raise
                number += 1  # somebody else was first
            else:
                return read(root, name, whole.version)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_file(path: Path, most: int) -> bytes:
    """Read a file of a published folder, but none that is no plain file or too large.

    Args:
        path: Of the file.
        most: Bytes that it may have.

    Raises:
        OSError: It is not there, no plain file, too large, or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
        raise OSError("not a file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"more than {most:,} bytes")
    return content


def _read_file(title: str, path: Path) -> bytes:
    try:
        return read_file(path, MAX_FILE_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ManifestInvalid(title, f"{path.name} should be readable; got {reason!r}.") from error


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
