"""`service/core/artifact/checksums.py`: digests outside the folders of the models."""

import hashlib
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.core.artifact import artifact, checksums
from service.core.errors import DigestMismatch, ManifestInvalid
from service.inference.models.registry import Registry
from tests import toys


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a models folder with two listed versions of `quadrants`."""
    for sign in (1, -1):
        toys.publish(tmp_path, weights=sign * toys.quadrant_weights())
        checksums.update(tmp_path, artifact.versions(tmp_path))
    return tmp_path


def lines(root: Path) -> list[str]:
    return (root / "SHA256SUMS").read_text().splitlines()


def served(root: Path) -> list[str]:
    registry = Registry(root)
    registry.load()
    return [model.version for model in registry.models()]


def test_immutable_files_are_listed(root: Path) -> None:
    """
    Sorted by model, version and file; without reports.
    """
    assert [line.split("  ")[1] for line in lines(root)] == [
        f"quadrants/{version}/{file}"
        for version in (1, 2)
        for file in ("golden.json", "manifest.json", "model.onnx")
    ]
    assert checksums.read(root) == {
        path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in checksums.read(root)
    }


def test_versions_are_sorted_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "quadrants" / "8").mkdir(parents=True)
    for _ in range(2):
        toys.publish(tmp_path)
    checksums.update(tmp_path, {"quadrants": ["9", "10"]})

    assert [line.split("/")[1] for line in lines(tmp_path)] == ["9"] * 3 + ["10"] * 3


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_list_is_verified_by_sha256sum(root: Path) -> None:
    """
    `sha256sum --check` succeeds, and fails after one byte was changed.
    """
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=root, check=False).returncode == 0

    (root / "quadrants" / "1" / "golden.json").write_bytes(b"[]")
    assert subprocess.run(check, cwd=root, check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize("file", ["model.onnx", "golden.json", "manifest.json"])
def test_versions_that_differ_from_the_list_are_refused(root: Path, file: str) -> None:
    """
    Even if the folder was replaced with a manifest of its own; the other version is served.
    """
    digest = checksums.read(root)[f"quadrants/2/{file}"]
    toys.publish(root / "elsewhere", weights=2 * toys.quadrant_weights())
    shutil.rmtree(root / "quadrants" / "2")
    shutil.copytree(root / "elsewhere" / "quadrants" / "1", root / "quadrants" / "2")
    manifest = json.loads((root / "quadrants" / "2" / "manifest.json").read_text()) | {"version": "2"}
    (root / "quadrants" / "2" / "manifest.json").write_text(json.dumps(manifest))
    if file != "manifest.json":  # as if the list named this file alone
        kept = [line for line in lines(root) if line.endswith(f"2/{file}")]
        (root / "SHA256SUMS").write_text("\n".join(kept) + "\n")

    with pytest.raises(DigestMismatch, match=rf"SHA-256 of {file} should be {digest}; got "):
        artifact.read(root, "quadrants", "2")
    assert served(root) == ["1"]


def test_versions_that_are_not_listed_are_served(root: Path) -> None:
    """
    New versions, or no list.
    """
    toys.publish(root, weights=3 * toys.quadrant_weights())
    assert served(root) == ["1", "2", "3"]

    (root / "SHA256SUMS").unlink()
    assert checksums.read(root) == {}
    assert served(root) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n", "line 1 should be"),
        (b"abc  quadrants/1/model.onnx\n", "line 1 should be"),
        (b"\xff" * 80, "line 1 should be"),
        (b"0" * 64 + b"  a\n" + b"1" * 64 + b"  a\n", "line 2 should be"),
        (b"0" * 2**20 + b"\n", "file should be readable; got 'more than"),
    ],
    ids=["empty line", "short digest", "no text", "a path with two digests", "too large"],
)
def test_no_model_is_served_if_the_list_is_invalid(root: Path, content: bytes, reason: str) -> None:
    """
    The message names the list and does not quote it.
    """
    (root / "SHA256SUMS").write_bytes(content)

    with pytest.raises(ManifestInvalid, match=f"SHA256SUMS: {reason}"):
        artifact.read(root, "quadrants", "1")
    assert served(root) == []


def test_folders_instead_of_the_list_are_refused(root: Path) -> None:
    (root / "SHA256SUMS").unlink()
    (root / "SHA256SUMS").mkdir()

    with pytest.raises(ManifestInvalid, match="SHA256SUMS: file should be readable; got 'not a file'"):
        checksums.read(root)


def test_listed_digests_are_never_replaced(root: Path) -> None:
    """
    Neither by `add` nor by `update`.
    """
    before = lines(root)
    (root / "quadrants" / "1" / "model.onnx").write_bytes(b"another")

    checksums.add(root, "quadrants", "1")
    checksums.update(root, artifact.versions(root))

    assert lines(root) == before


def test_removed_versions_are_removed_from_the_list(root: Path) -> None:
    shutil.rmtree(root / "quadrants" / "1")

    checksums.update(root, artifact.versions(root))

    assert {line.split("/")[1] for line in lines(root)} == {"2"}


def test_versions_of_concurrent_publishers_are_listed(tmp_path: Path) -> None:
    """
    A concurrent reader always finds a complete list.
    """

    def publish(_: int) -> None:
        published = toys.publish(tmp_path).manifest
        checksums.add(tmp_path, published.name, published.version)
        checksums.read(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(12)))

    assert len(lines(tmp_path)) == 12 * 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
