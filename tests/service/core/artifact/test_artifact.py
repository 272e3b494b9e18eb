"""`service/core/artifact/artifact.py`: listing versions, and reading valid and invalid folders."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.artifact import artifact
from service.core.errors import ArtifactError, DigestMismatch, ManifestInvalid
from tests import toys
from tests.examples import examples
from tests.service.core.artifact.folders import (
    FILES,
    Json,
    load,
    read,
    set_golden,
    set_manifest,
)


def test_published_artifacts_are_read_back(tmp_path: Path) -> None:
    given_model = toys.onnx_model(toys.quadrant_weights()).SerializeToString()

    published = toys.publish(tmp_path)
    found = artifact.read(tmp_path, "quadrants", "1")

    assert found.identity == published.identity == "quadrants/1"
    assert found.model == given_model
    assert found.manifest == published.manifest
    images = np.stack([toys.dot(0), toys.dot(3), toys.dot(0, 1, 2)])
    logits = toys.expected_logits(images, toys.quadrant_weights())
    np.testing.assert_array_equal(found.golden.images, images)
    np.testing.assert_array_equal(found.golden.logits, logits)
    np.testing.assert_array_equal(found.golden.probabilities, toys.softmax(logits))
    assert [str(it.dtype) for it in (found.golden.images, found.golden.logits)] == ["uint8", "float32"]
    assert found.golden.tolerance == 1e-4


def test_versions_are_listed_by_name_and_oldest_first(tmp_path: Path) -> None:
    """
    Versions are compared as numbers.
    """
    for name in ("softmax/2", "softmax/10", "softmax/9", "ink/1", "mlp-512x4/1"):
        (tmp_path / name).mkdir(parents=True)

    found = artifact.versions(tmp_path)

    assert list(found.items()) == [("ink", ["1"]), ("mlp-512x4", ["1"]), ("softmax", ["2", "9", "10"])]


@pytest.mark.parametrize(
    "odd",
    [
        "ink/.staging-a1b2",
        "ink/0",
        "ink/01",
        "ink/-1",
        "ink/1.0",
        "ink/1 ",
        "ink/1\n",
        "ink/\u0661",
        "ink/²",
        "ink/1234567890",
        "ink/latest",
        ".git/1",
        "-ink/1",
        "Ink/1",
        "ink\n/1",
        "tinte_/1",
        "a" * 65 + "/1",
    ],
)
def test_folders_with_other_names_are_not_listed(tmp_path: Path, odd: str) -> None:
    """
    Staging folders, other folders, and invalid spellings.
    """
    (tmp_path / odd).mkdir(parents=True)
    (tmp_path / "good" / "1").mkdir(parents=True)

    assert artifact.versions(tmp_path) == {"good": ["1"]}


def test_files_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("")
    (tmp_path / "ink").mkdir()
    (tmp_path / "ink" / "1").write_text("")

    assert artifact.versions(tmp_path) == {}


def test_missing_models_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        artifact.versions(tmp_path / "none")


def _change(change: Callable[[Json], object]) -> Callable[[Path], None]:
    """Return a function that changes the manifest of a folder."""

    def damage(folder: Path) -> None:
        manifest = load(folder)
        change(manifest)
        set_manifest(folder, manifest)

    return damage


def _change_golden(change: Callable[[Json], object]) -> Callable[[Path], None]:
    """Return a function that changes the golden examples of a folder; their digest is right."""

    def damage(folder: Path) -> None:
        golden = load(folder, "golden.json")
        change(golden)
        set_golden(folder, json.dumps(golden).encode())

    return damage


def _golden_is(content: bytes) -> Callable[[Path], None]:
    return lambda folder: set_golden(folder, content)


def _remove(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def _manifest_is(content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "manifest.json").write_bytes(content)

    return damage


def _folder_instead_of_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()


def _second_layer(manifest: Json) -> None:
    manifest["layers"].append({**manifest["layers"][0], "inputs": 4})
    manifest["parameters"] += 4 * 4 + 4


def _encode(values: np.ndarray[Any, Any]) -> Json:
    content = base64.b64encode(values.tobytes()).decode()
    return {"dtype": str(values.dtype), "shape": list(values.shape), "base64": content}


FLOATS = np.zeros((3, 4), np.float32)

INVALID: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (_remove("manifest.json"), "manifest.json"),
    "no model": (_remove("model.onnx"), "model.onnx"),
    "no golden": (_remove("golden.json"), "golden.json"),
    "a folder for a model": (_folder_instead_of_model, "model.onnx"),
    "empty manifest": (_manifest_is(b""), "manifest.json"),
    "half a manifest": (_manifest_is(b'{"format": 1, "name": '), "manifest.json"),
    "manifest not UTF-8": (_manifest_is(b"\xff\xfe{}"), "manifest.json"),
    "manifest a list": (_manifest_is(b"[]"), "manifest.json"),
    "deep manifest": (_manifest_is(b'{"recipe":' * 100_000), "manifest.json"),
    "other name": (_change(lambda it: it.update(name="ink")), "should be of quadrants/1"),
    "other version": (_change(lambda it: it.update(version="2")), "should be of quadrants/1"),
    "version a number": (_change(lambda it: it.update(version=1)), "version"),
    "other format": (_change(lambda it: it.update(format=2)), "format"),
    "extra field": (_change(lambda it: it.update(favourite="blue")), "favourite"),
    "extra field inside": (_change(lambda it: it["making"].update(mood="good")), "mood"),
    "missing field": (_change(lambda it: it.pop("labels")), "labels"),
    "missing digest": (_change(lambda it: it["sha256"].pop("golden.json")), "sha256"),
    "digest in capitals": (_change(lambda it: it["sha256"].update({"model.onnx": "A" * 64})), "sha256"),
    "one more digest": (_change(lambda it: it["sha256"].update({"report": "a" * 64})), "sha256"),
    "sum of parameters": (_change(lambda it: it.update(parameters=3139)), "parameters"),
    "units of a layer": (_change(lambda it: it["layers"][0].update(units=5)), "layers"),
    "inputs of a layer": (_change(lambda it: it["layers"][0].update(inputs=783)), "layers"),
    "twice the same layer": (_change(_second_layer), "different names"),
    "layer's name a path": (_change(lambda it: it["layers"][0].update(name="a/b")), "name"),
    "unknown activation": (_change(lambda it: it["layers"][0].update(activation="tanh")), "activation"),
    "labels and outputs": (_change(lambda it: it["labels"].append("fifth")), "output"),
    "one output": (_change(lambda it: it["outputs"].pop()), "outputs"),
    "outputs in another order": (_change(lambda it: it["outputs"].reverse()), "output"),
    "input's name": (_change(lambda it: it["input"].update(name="pixels")), "input"),
    "input's type": (_change(lambda it: it["input"].update(dtype="float32")), "input"),
    "fixed batch": (_change(lambda it: it["input"].update(shape=[1, 28, 28])), "input"),
    "no pixels": (_change(lambda it: it["input"].update(shape=[-1, 0, 28])), "input"),
    "negative side": (_change(lambda it: it["input"].update(shape=[-1, -28, -28])), "input"),
    "huge sides": (_change(lambda it: it["input"].update(shape=[-1, 2**32, 2**32])), "layers"),
    "accuracy of two": (_change(lambda it: it["metrics"][0].update(accuracy=2)), "accuracy"),
    "infinite time": (_change(lambda it: it["making"].update(seconds=float("inf"))), "making.seconds"),
    "NaN in the recipe": (_change(lambda it: it.update(recipe={"rate": float("nan")})), "manifest.json"),
    "golden not JSON": (_golden_is(b"{"), "golden.json"),
    "golden a list": (_golden_is(b"[]"), "golden.json"),
    "golden null": (_golden_is(b"null"), "golden.json"),
    "golden not UTF-8": (_golden_is(b'"\xff"'), "golden.json"),
    "deep golden": (_golden_is(b"[" * 100_000), "golden.json"),
    "golden without images": (_change_golden(lambda it: it.pop("image")), "golden.json"),
    "golden without logits": (_change_golden(lambda it: it.pop("logits")), "golden.json"),
    "golden without tolerance": (_change_golden(lambda it: it.pop("tolerance")), "golden.json"),
    "golden image a number": (_change_golden(lambda it: it.update(image=5)), "golden.json"),
    "golden base64 a number": (_change_golden(lambda it: it["image"].update(base64=5)), "golden.json"),
    "golden no base64": (_change_golden(lambda it: it["image"].update(base64="AAA")), "golden.json"),
    "golden not ASCII": (_change_golden(lambda it: it["image"].update(base64="ä")), "golden.json"),
    "golden of no image": (
        _change_golden(
            lambda it: it.update(
                image=_encode(np.zeros((0, 28, 28), np.uint8)),
                logits=_encode(FLOATS[:0]),
                probabilities=_encode(FLOATS[:0]),
            )
        ),
        "golden.json",
    ),
    "golden image cut off": (
        _change_golden(lambda it: it["image"].update(base64=it["image"]["base64"][:1000])),
        "golden.json",
    ),
    "golden with fewer answers": (
        _change_golden(lambda it: it.update(logits=_encode(FLOATS[:2]))),
        "golden.json",
    ),
    "golden with more answers": (
        _change_golden(lambda it: it.update(probabilities=_encode(np.zeros((4, 4), np.float32)))),
        "golden.json",
    ),
    "golden of another type than it says": (
        _change_golden(lambda it: it["logits"].update(dtype="float64")),
        "golden.json",
    ),
    "golden of another shape than it says": (
        _change_golden(lambda it: it["image"].update(shape=[3, 784])),
        "golden.json",
    ),
    "golden with NaN": (
        _change_golden(lambda it: it.update(probabilities=_encode(np.full((3, 4), np.nan, np.float32)))),
        "golden.json",
    ),
    "golden with infinity": (
        _change_golden(lambda it: it.update(logits=_encode(np.full((3, 4), np.inf, np.float32)))),
        "golden.json",
    ),
    "tolerance zero": (_change_golden(lambda it: it.update(tolerance=0)), "tolerance"),
    "tolerance below zero": (_change_golden(lambda it: it.update(tolerance=-1e-5)), "tolerance"),
    "tolerance too lax": (_change_golden(lambda it: it.update(tolerance=0.011)), "tolerance"),
    "tolerance NaN": (_change_golden(lambda it: it.update(tolerance=float("nan"))), "tolerance"),
    "tolerance huge": (_change_golden(lambda it: it.update(tolerance=10**400)), "golden.json"),
    "tolerance a word": (_change_golden(lambda it: it.update(tolerance="small")), "golden.json"),
}


@pytest.mark.parametrize(("damage", "named"), INVALID.values(), ids=INVALID)
def test_invalid_folders_are_refused_with_the_name_of_the_member(
    folder: Path, damage: Callable[[Path], None], named: str
) -> None:
    """
    The message contains the artifact and the member, but no path.
    """
    damage(folder)

    with pytest.raises(ManifestInvalid) as caught:
        read(folder)
    message = str(caught.value)
    assert message.startswith("quadrants/1: ")
    assert named in message
    assert str(folder.parents[1]) not in message
    assert folder.parents[1].name not in message
    assert "\n" not in message


@pytest.mark.parametrize("file", ["model.onnx", "golden.json"])
def test_changed_files_are_refused(folder: Path, file: str) -> None:
    """
    Even if the byte added has no meaning.
    """
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content + b"\n")

    with pytest.raises(DigestMismatch) as caught:
        read(folder)
    assert caught.value.file == file
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert hashlib.sha256(content + b"\n").hexdigest() in str(caught.value)
    assert str(folder.parents[1]) not in str(caught.value)


def test_digests_are_checked_before_golden_examples_are_parsed(folder: Path) -> None:
    (folder / "golden.json").write_bytes(b"{")

    with pytest.raises(DigestMismatch):
        read(folder)


@pytest.mark.parametrize("file", ["model.onnx", "golden.json", "manifest.json"])
def test_size_limit_of_files_is_inclusive(folder: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (folder / file).stat().st_size
    largest = max((folder / name).stat().st_size for name in FILES)
    most = largest + 1000
    padding = b" " * (most - size)
    monkeypatch.setattr(artifact, "MAX_FILE_BYTES", most)
    with (folder / file).open("ab") as open_file:
        open_file.write(padding)
    whole = _refusal(folder)
    with (folder / file).open("ab") as open_file:
        open_file.write(b" ")

    with pytest.raises(
        ManifestInvalid, match=rf"{file} should be readable; got 'more than {largest + 1000:,} bytes'"
    ):
        read(folder)
    assert whole in (None, DigestMismatch)


def _refusal(folder: Path) -> type[ArtifactError] | None:
    try:
        read(folder)
    except ArtifactError as error:
        return type(error)
    return None


def test_missing_versions_are_refused(tmp_path: Path) -> None:
    """
    Such as a folder removed after it was listed.
    """
    with pytest.raises(ManifestInvalid, match=r"ink/1: manifest\.json should be readable"):
        artifact.read(tmp_path, "ink", "1")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a published folder for property tests, which restore its files."""
    root = tmp_path_factory.mktemp("scratch")
    toys.publish(root)
    return root / "quadrants" / "1"


@contextmanager
def restored(folder: Path) -> Iterator[None]:
    """Restore manifest and golden examples at the end of the context."""
    whole = {name: (folder / name).read_bytes() for name in ("manifest.json", "golden.json")}
    try:
        yield
    finally:
        for name, content in whole.items():
            (folder / name).write_bytes(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
EXAMPLES = examples()


def _paths(content: Json | list[Any], path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value within a JSON document."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    found = []
    for key, value in pairs:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += _paths(value, (*path, key))
    return found


def _replaced(content: Json, path: tuple[str | int, ...], value: object) -> Json:
    """Return a copy of a document with another value at a path."""
    copy: Json = json.loads(json.dumps(content))
    part: Any = copy
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return copy


@EXAMPLES
@given(st.binary(max_size=200) | JSON.map(lambda it: json.dumps(it).encode()))
def test_arbitrary_manifests_raise_only_artifact_errors(scratch: Path, content: bytes) -> None:
    """
    Any bytes and any JSON.
    """
    with restored(scratch):
        (scratch / "manifest.json").write_bytes(content)

        assert _refusal(scratch) is ManifestInvalid


@EXAMPLES
@given(st.data())
def test_manifests_with_one_other_value_raise_only_artifact_errors(
    scratch: Path, data: st.DataObject
) -> None:
    """
    At any depth.
    """
    whole = load(scratch)
    path = data.draw(st.sampled_from(_paths(whole)))
    value = data.draw(JSON)
    with restored(scratch):
        set_manifest(scratch, _replaced(whole, path, value))

        _refusal(scratch)


@EXAMPLES
@given(st.binary(max_size=200) | JSON.map(lambda it: json.dumps(it).encode()))
def test_arbitrary_golden_examples_raise_only_artifact_errors(scratch: Path, content: bytes) -> None:
    """
    Any bytes and any JSON, with the right digest.
    """
    with restored(scratch):
        set_golden(scratch, content)

        assert _refusal(scratch) is ManifestInvalid


@EXAMPLES
@given(st.data())
def test_golden_examples_with_one_other_value_raise_only_artifact_errors(
    scratch: Path, data: st.DataObject
) -> None:
    """
    At any depth.
    """
    content = load(scratch, "golden.json")
    path = data.draw(st.sampled_from(_paths(content)))
    value = data.draw(JSON | st.binary(max_size=64).map(lambda it: base64.b64encode(it).decode()))
    with restored(scratch):
        set_golden(scratch, json.dumps(_replaced(content, path, value)).encode())

        _refusal(scratch)


@pytest.mark.parametrize("file", ["manifest.json", "model.onnx", "golden.json"])
def test_pipes_are_refused_without_blocking(tmp_path: Path, file: str) -> None:
    """
    Opening a pipe waits for a writer.
    """
    toys.publish(tmp_path)
    (tmp_path / "quadrants" / "1" / file).unlink()
    os.mkfifo(tmp_path / "quadrants" / "1" / file)

    with pytest.raises(ManifestInvalid, match=f"{file} should be readable"):
        artifact.read(tmp_path, "quadrants", "1")


@pytest.mark.parametrize("name", ["none", "", ".", "..", "../quadrants", "quadrants/..", "a\0b", "x" * 5000])
def test_unknown_names_have_no_versions(tmp_path: Path, name: str) -> None:
    """
    Names from a request are not used as paths.
    """
    toys.publish(tmp_path / "models")
    toys.publish(tmp_path)

    assert artifact.versions_of(tmp_path / "models", name) == []
    assert artifact.versions_of(tmp_path / "models", "quadrants") == ["1"]
