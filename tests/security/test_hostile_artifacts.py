"""Hostile model folders and arrays: the service reads no other file, runs no code, and keeps its models.

What each reader refuses is tested beside it, in `tests/service`: external data and operators in
`core/test_engine.py` and `core/test_graph.py`, pipes and sizes in `core/test_artifact.py`, pickles in
`http/test_array_body.py`.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests import toys
from tests.processes import Process, running
from tests.security.asking import ask

LOAD = "/v2/repository/models/quadrants/load"
PREDICT = "/v1/models/quadrants/predict"
SECRET = "a-secret-of-the-machine"

Change = Callable[[Path, Path], None]
"""Makes a published folder hostile: takes the folder, and one beside the models folder."""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the models folder, a secret, and a model that is not served."""
    folder: Path = tmp_path_factory.mktemp("outside")
    (folder / "secret").write_text(SECRET)
    toys.publish(folder / "outside")
    toys.publish(folder / "models")
    return folder


@pytest.fixture(scope="module")
def process(outside: Path) -> Iterator[Process]:
    """A service with version 1, and the secret in its environment."""
    with running(outside / "models", "--management", "--no-access-log", TOKEN=SECRET) as process:
        yield process


@pytest.fixture
def version(process: Process, outside: Path) -> Iterator[Path]:
    """The folder of a second version, not loaded yet; deleted after the test."""
    toys.write_report(outside / "models", toys.publish(outside / "models"))
    folder = outside / "models" / "quadrants" / "2"
    yield folder
    shutil.rmtree(folder)
    assert ask(process.port, "POST", LOAD).status == 200


def replace(folder: Path, file: str, content: bytes) -> None:
    """Replace a file, and its digest in the manifest."""
    (folder / file).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][file] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def link(folder: Path, file: str, target: Path) -> None:
    """Replace a file by a symbolic link."""
    (folder / file).unlink()
    (folder / file).symlink_to(target)


def external(location: str) -> Change:
    """Move a network's weights into another file."""

    def change(folder: Path, outside: Path) -> None:
        model = onnx.load(folder / "model.onnx")
        weights = next(tensor for tensor in model.graph.initializer if tensor.name == "output.weight")
        (folder / "weights.bin").write_bytes(weights.raw_data)
        onnx.external_data_helper.set_external_data(weights, location.format(outside=outside))
        weights.ClearField("raw_data")
        replace(folder, "model.onnx", model.SerializeToString())

    return change


def bomb() -> bytes:
    """Return an npz archive with 64 MiB of zeros in 64 KiB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", b"\x00" * 64 * 2**20)
    return file.getvalue()


class _Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.folder),))


def rename(folder: Path, outside: Path) -> None:
    """Set the manifest's model name to a path outside the models folder."""
    del outside
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "name": "../outside/quadrants"}))


HOSTILE: dict[str, Change] = {
    "weights in a file beside": external("weights.bin"),
    "weights above": external("../../../secret"),
    "weights anywhere": external("{outside}/secret"),
    "weights of the kernel": external("/proc/self/environ"),
    "network is a pickle": lambda folder, outside: replace(
        folder, "model.onnx", pickle.dumps(_Payload(outside / "executed"))
    ),
    "network is an archive": lambda folder, _: replace(folder, "model.onnx", bomb()),
    "network is a secret": lambda folder, outside: link(folder, "model.onnx", outside / "secret"),
    "network is endless": lambda folder, _: link(folder, "model.onnx", Path("/dev/zero")),
    "network is a loop": lambda folder, _: link(folder, "model.onnx", folder / "model.onnx"),
    "network is memory": lambda folder, _: link(folder, "model.onnx", Path("/proc/self/mem")),
    "manifest is a secret": lambda folder, outside: link(folder, "manifest.json", outside / "secret"),
    "manifest is the environment": lambda folder, _: link(
        folder, "manifest.json", Path("/proc/self/environ")
    ),
    "examples are a secret": lambda folder, outside: link(folder, "golden.json", outside / "secret"),
    "examples are a pickle": lambda folder, outside: replace(
        folder, "golden.json", pickle.dumps(_Payload(outside / "executed"))
    ),
    "name of another": rename,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_version_is_refused_without_details(
    process: Process, version: Path, outside: Path, kind: str
) -> None:
    """
    409 with a message that has neither the file's content nor its path; version 1 is still served, and no
    code ran.
    """
    HOSTILE[kind](version, outside)

    refused = ask(process.port, "POST", LOAD)
    served = ask(process.port, "GET", "/v1/models/quadrants")
    octets = {"Content-Type": "application/octet-stream"}
    answer = ask(process.port, "POST", PREDICT, octets, toys.dot(0).tobytes())

    assert refused.status == 409
    assert b"quadrants/2" in refused.content
    assert SECRET.encode() not in refused.content
    assert os.fsencode(outside) not in refused.content
    assert b"Traceback" not in refused.content
    assert json.loads(served.content)["version"] == "1"
    assert answer.status == 200
    assert not (outside / "executed").exists()


def test_report_picture_that_is_a_symlink_is_not_served(
    process: Process, version: Path, outside: Path
) -> None:
    """
    404.
    """
    link(version / "report", "confusion-test.png", outside / "secret")
    assert ask(process.port, "POST", LOAD).status == 200

    answer = ask(process.port, "GET", "/v1/models/quadrants/report/confusion-test.png")

    assert answer.status == 404
    assert SECRET.encode() not in answer.content


def objects(folder: Path) -> bytes:
    """Return an array of Python objects, one of which creates a folder when it is unpickled."""
    array = np.empty((1, 784), object)
    array[:] = _Payload(folder)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["application/x-npy", "application/octet-stream", "application/x-npz"])
def test_no_array_body_runs_code_or_decompresses(process: Process, tmp_path: Path, kind: str) -> None:
    """
    An object array, a pickle, and an archive of a thousand times its size, under each content type.
    """
    made = tmp_path / "executed"
    before = process.resident_mb()

    answers = [
        ask(process.port, "POST", PREDICT, {"Content-Type": kind}, body)
        for body in (objects(made), pickle.dumps(_Payload(made)), bomb())
    ]

    assert {answer.status for answer in answers} <= {400, 413, 415}
    assert not made.exists()
    assert process.resident_mb() < before + 32
