"""Published folders of the toy network, and changes of their files."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.artifact.golden import Golden
from tests import toys

FILES = ("model.onnx", "golden.json", "manifest.json", "report/history.json")

Json = dict[str, Any]


def load(folder: Path, file: str = "manifest.json") -> Json:
    """Return a file's content."""
    content: Json = json.loads((folder / file).read_text())
    return content


def set_manifest(folder: Path, content: object) -> None:
    """Write a manifest, valid or not."""
    (folder / "manifest.json").write_text(json.dumps(content))


def set_golden(folder: Path, content: bytes) -> None:
    """Write golden examples, valid or not, and their digest."""
    (folder / "golden.json").write_bytes(content)
    manifest = load(folder)
    manifest["sha256"]["golden.json"] = hashlib.sha256(content).hexdigest()
    set_manifest(folder, manifest)


def read(folder: Path) -> Artifact:
    """Read a published folder by its path."""
    return artifact.read(folder.parents[1], folder.parent.name, folder.name)


def publish(root: Path, manifest: Json | None = None, golden: Json | None = None) -> Artifact:
    """Publish the toy network with another manifest or other golden examples."""
    images = np.stack([toys.dot(0), toys.dot(3)])
    logits = toys.expected_logits(images, toys.quadrant_weights())
    examples = replace(Golden(images, logits, toys.softmax(logits), 1e-4), **(golden or {}))
    model = toys.onnx_model(toys.quadrant_weights()).SerializeToString()
    manifest = manifest or toys.manifest("quadrants", toys.QUARTERS)
    return artifact.publish(root, manifest, model, examples, {"history.json": b"[]\n"})


def left_behind(root: Path) -> list[str]:
    """Return all files and folders except the model's folder, including hidden ones."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.name != "quadrants")


def altered(**changes: object) -> Json:
    return {**toys.manifest("quadrants", toys.QUARTERS), **changes}
