"""The contract between trainer and service: what a published model folder contains.

    models/<name>/<version>/
        model.onnx      one self-contained network: pixels in, logits and probabilities out
        manifest.json   who it is, how it was made, what was measured
        golden.json     a few inputs and the outputs the network must give for them
        report/         what the trainer measured, for people; not needed to serve

Beside the models, `SHA256SUMS` may list the digests of the first three: `checksums`.

The service owns the contract because the service refuses what breaks it. One reader and one writer
stand here, so they cannot drift apart. Running a network is `engine`'s work.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.core.artifact import checksums, staging
from service.core.artifact import golden as goldens
from service.core.artifact import manifest as manifests
from service.core.artifact.files import read_file
from service.core.artifact.golden import Golden
from service.core.artifact.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    NAME_PATTERN,
    VERSION_PATTERN,
    Manifest,
)
from service.core.errors import DigestMismatch, ManifestInvalid

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
        ManifestInvalid: A file is missing, too large or cannot be parsed, `SHA256SUMS` among them, or the
            manifest contradicts itself, its folder or the golden examples.
        DigestMismatch: A file is not the one that was published: it has another digest than the manifest
            or `SHA256SUMS` says.
    """
    title = f"{name}/{version}"
    folder = root / name / version
    listed = checksums.read(root)
    written = _read_file(title, folder / MANIFEST_FILE)
    _check_digest(title, MANIFEST_FILE, hashlib.sha256(written).hexdigest(), listed)
    manifest = manifests.parse(title, written)
    if (manifest.name, manifest.version) != (name, version):
        raise ManifestInvalid(
            title, f"manifest should be of {title}; got {manifest.name}/{manifest.version}."
        )
    model = _read_file(title, folder / MODEL_FILE)
    golden = _read_file(title, folder / GOLDEN_FILE)
    for file, content in ((MODEL_FILE, model), (GOLDEN_FILE, golden)):
        digest = hashlib.sha256(content).hexdigest()
        _check_digest(title, file, digest, listed)
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
    with staging.staging(root / name) as folder:
        files = {MODEL_FILE: model, GOLDEN_FILE: golden_file}
        files |= {f"{REPORT_FOLDER}/{file}": data for file, data in report.items()}
        for file, data in files.items():
            _write_file(folder / file, data)
        number = int(versions(root).get(name, ["0"])[-1]) + 1
        while True:
            whole = manifests.complete(manifest, str(number), digests)
            _write_file(folder / MANIFEST_FILE, manifests.write(whole))
            try:
                folder.rename(root / name / whole.version)
            except OSError:
                if not (root / name / whole.version).exists():
                    raise
                number += 1  # somebody else was first
            else:
                return read(root, name, whole.version)


def _check_digest(title: str, file: str, digest: str, listed: Mapping[str, str]) -> None:
    """Compare a file with the digest that `SHA256SUMS` lists, if it lists one."""
    expected = listed.get(f"{title}/{file}", digest)
    if digest != expected:
        raise DigestMismatch(title, file, expected, digest)


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
