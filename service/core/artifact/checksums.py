"""SHA256SUMS: digests of all published versions, outside their folders.

A manifest contains the digests of its folder, but replacing the folder replaces the manifest. `SHA256SUMS` in
the models folder lists the immutable files of every version in the format of `sha256sum`. Versions that it
does not list are not checked against it.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from service.core.artifact.files import read_file
from service.core.artifact.locks import locked
from service.core.artifact.manifest import GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE
from service.core.errors import ManifestInvalid

CHECKSUMS_FILE = "SHA256SUMS"

IMMUTABLE = (GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE)
"""Files of a version that never change; its report may."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")

_MAX_BYTES = 2**20


def read(root: Path) -> dict[str, str]:
    """Read `SHA256SUMS`.

    Args:
        root: The models folder.

    Returns:
        The SHA-256 of each file in hexadecimal, by its path, such as `ink/1/model.onnx`; empty if there is
        no `SHA256SUMS`.

    Raises:
        ManifestInvalid: The file cannot be read, or a line is not a digest and a path.
    """
    try:
        content = read_file(root / CHECKSUMS_FILE, _MAX_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = error.strerror or str(error)
        raise ManifestInvalid(CHECKSUMS_FILE, f"file should be readable; got {reason!r}.") from error
    found: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or found.setdefault(match[2], match[1]) != match[1]:
            reason = f"line {number} should be a SHA-256 and a path that is not listed yet; got another."
            raise ManifestInvalid(CHECKSUMS_FILE, reason)
    return found


def of_version(root: Path, name: str, version: str) -> dict[str, str]:
    """Compute the digests of a version's immutable files.

    Args:
        root: The models folder.
        name: Model name.
        version: Published version.

    Raises:
        OSError: A file cannot be read.
    """
    return {
        f"{name}/{version}/{file}": hashlib.sha256((root / name / version / file).read_bytes()).hexdigest()
        for file in IMMUTABLE
    }


def add(root: Path, name: str, version: str) -> None:
    """Add a version; existing entries are not changed.

    Args:
        root: The models folder.
        name: Model name.
        version: Published version.

    Raises:
        ManifestInvalid: The existing list cannot be read.
        OSError: A file cannot be read, or the list not be written.
    """
    with locked(root):
        _write(root, of_version(root, name, version) | read(root))


def update(root: Path, versions: Mapping[str, Sequence[str]]) -> None:
    """Add all published versions, and drop files that no longer exist; existing entries are not changed.

    Args:
        root: The models folder.
        versions: As `artifact.versions` returns them.

    Raises:
        ManifestInvalid: The existing list cannot be read.
        OSError: A file cannot be read, or the list not be written.
    """
    found: dict[str, str] = {}
    for name, numbers in versions.items():
        for version in numbers:
            found |= of_version(root, name, version)
    with locked(root):  # versions published meanwhile are listed, and kept
        listed = {path: digest for path, digest in read(root).items() if (root / path).is_file()}
        _write(root, found | listed)


def _write(root: Path, digests: Mapping[str, str]) -> None:
    """Replace the file atomically."""
    lines = [f"{digest}  {path}\n" for path, digest in sorted(digests.items(), key=_by_version)]
    descriptor, name = tempfile.mkstemp(prefix=f".{CHECKSUMS_FILE}-", dir=root)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(root / CHECKSUMS_FILE)
    finally:
        Path(name).unlink(missing_ok=True)


def _by_version(entry: tuple[str, str]) -> list[tuple[int, str]]:
    """Sort key of a path: by model, version as a number, and file."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in entry[0].split("/")]
