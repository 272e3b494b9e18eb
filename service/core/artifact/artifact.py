"""Format of a published model folder, and its reader and writer.

    models/<name>/<version>/
        model.onnx      one self-contained network: pixels to logits and probabilities
        manifest.json   name, layers, training run, measurements
        golden.json     a few inputs, and the outputs that the network must reproduce
        report/         figures and charts; not needed to serve

`SHA256SUMS` in the models folder may list the digests of the first three files (`checksums`).
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
"""Maximum size of a file in a published folder."""


@dataclass(frozen=True)
class Artifact:
    """A published folder in memory, with verified digests."""

    manifest: Manifest
    model: bytes
    golden: Golden

    @property
    def identity(self) -> str:
        """`name/version`, for messages."""
        return f"{self.manifest.name}/{self.manifest.version}"


def versions(root: Path) -> dict[str, list[str]]:
    """List the published models and versions in a folder.

    Args:
        root: The models folder.

    Returns:
        The versions of each model, oldest first, by model name in alphabetical order. Files, and folders
        with other names, are ignored. A model whose folder cannot be read has no versions.

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
    """List the published versions of one model.

    Args:
        root: The models folder.
        name: Model name, valid or not.

    Returns:
        The versions, oldest first; empty if there is no such folder or the name is not valid.

    Raises:
        OSError: Its folder cannot be read.
    """
    if not re.fullmatch(NAME_PATTERN, name) or not (root / name).is_dir():
        return []
    try:
        names = [entry.name for entry in (root / name).iterdir() if entry.is_dir()]
    except FileNotFoundError:  # removed in the meantime
        return []
    return [
        str(number) for number in sorted(int(name) for name in names if re.fullmatch(VERSION_PATTERN, name))
    ]


def read(root: Path, name: str, version: str) -> Artifact:
    """Read a published folder, and verify all that does not need the network to run.

    Args:
        root: The models folder.
        name: Model name, as published.
        version: Published version.

    Returns:
        The artifact, with its digests verified.

    Raises:
        ManifestInvalid: A file, or `SHA256SUMS`, is missing, too large or cannot be parsed, or the manifest
            is inconsistent with itself, its folder or the golden examples.
        DigestMismatch: The digest of a file differs from the one in the manifest or in `SHA256SUMS`.
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
    """Publish a network as the next free version, atomically.

    The files are written to a staging folder, flushed to disk, and the folder is renamed.

    Args:
        root: The models folder.
        manifest: The manifest without `version` and `sha256`, which are added.
        model: The ONNX file.
        golden: The golden examples.
        report: Files for `report/`, by name.

    Returns:
        The artifact, read back from disk.

    Raises:
        ManifestInvalid: The content is not valid; nothing is published.
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
                number += 1  # taken by another publisher
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
