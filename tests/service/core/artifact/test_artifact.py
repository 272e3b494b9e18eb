import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.artifact import artifact, manifest
from service.core.artifact.artifact import Artifact
from service.core.artifact.golden import Golden
from service.core.errors import ArtifactError, DigestMismatch, ManifestInvalid
from tests import toys
from tests.conftest import REPOSITORY
from tests.examples import examples

FILES = ("model.onnx", "golden.json", "manifest.json", "report/history.json")

Json = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published toy that a test may spoil."""
    toys.publish(tmp_path)
    return tmp_path / "quadrants" / "1"


def load(folder: Path, file: str = "manifest.json") -> Json:
    """Return a file's content."""
    content: Json = json.loads((folder / file).read_text())
    return content


def set_manifest(folder: Path, content: object) -> None:
    """Write a manifest, right or wrong."""
    (folder / "manifest.json").write_text(json.dumps(content))


def set_golden(folder: Path, content: bytes) -> None:
    """Write golden examples, right or wrong, with the digest that they have."""
    (folder / "golden.json").write_bytes(content)
    manifest = load(folder)
    manifest["sha256"]["golden.json"] = hashlib.sha256(content).hexdigest()
    set_manifest(folder, manifest)


def read(folder: Path) -> Artifact:
    """Read a published folder by where it is."""
    return artifact.read(folder.parents[1], folder.parent.name, folder.name)


def publish(root: Path, manifest: Json | None = None, golden: Json | None = None) -> Artifact:
    """Publish a toy whose manifest and golden examples are the test's."""
    images = np.stack([toys.dot(0), toys.dot(3)])
    logits = toys.expected_logits(images, toys.quadrant_weights())
    examples = replace(Golden(images, logits, toys.softmax(logits), 1e-4), **(golden or {}))
    model = toys.onnx_model(toys.quadrant_weights()).SerializeToString()
    manifest = manifest or toys.manifest("quadrants", toys.QUARTERS)
    return artifact.publish(root, manifest, model, examples, {"history.json": b"[]\n"})


def left_behind(root: Path) -> list[str]:
    """Return every file and folder below the model's own, hidden ones included."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.name != "quadrants")


# --- Publishing and reading back


def test_what_is_published_is_read_back(tmp_path: Path) -> None:
    """
    Model, manifest and golden examples come back from disk as they were given.
    """
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


def test_manifest_says_everything_that_it_was_given(folder: Path) -> None:
    """
    Nothing is left out on the way to disk, and only version, digests and format are filled in.
    """
    given_manifest = toys.manifest("quadrants", toys.QUARTERS)

    written = load(folder)

    assert {key: written[key] for key in given_manifest} == given_manifest
    assert set(written) - set(given_manifest) == {"version", "sha256", "format"} & set(written)
    assert written["version"] == "1"


def test_digests_are_those_of_the_files(folder: Path) -> None:
    """
    The manifest names SHA-256 of the model and of the golden examples.
    """
    digests = load(folder)["sha256"]

    assert digests == {
        file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for file in ("model.onnx", "golden.json")
    }


def test_published_folder_holds_its_files_and_nothing_else(folder: Path) -> None:
    """
    No staging folder stays beside it, and everybody may read it.
    """
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    assert found == set(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_layer_counts_its_weights_and_biases(folder: Path) -> None:
    """
    784 inputs and four units are 784 * 4 weights and 4 biases.
    """
    assert [layer.parameters for layer in read(folder).manifest.layers] == [3140]


def test_next_version_is_one_above_the_newest(tmp_path: Path) -> None:
    """
    Versions are counted, gaps are not filled, and ten comes after nine.
    """
    for version in ("2", "9"):
        (tmp_path / "quadrants" / version).mkdir(parents=True)

    numbers = [toys.publish(tmp_path).manifest.version for _ in range(2)]

    assert numbers == ["10", "11"]


def test_publishing_never_changes_what_is_published(folder: Path) -> None:
    """
    A newer version leaves every byte of the older one as it was.
    """
    before = {file: (folder / file).read_bytes() for file in FILES}

    newer = toys.publish(folder.parents[1], weights=-toys.quadrant_weights())

    assert newer.manifest.version == "2"
    assert {file: (folder / file).read_bytes() for file in FILES} == before


def test_two_publishers_at_once_get_two_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who finds its version taken at the last moment takes the next one, and overwrites nothing.
    """
    others: list[Artifact] = []
    fsync = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        others.append(toys.publish(tmp_path, weights=-toys.quadrant_weights()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    mine = toys.publish(tmp_path)

    assert (others[0].manifest.version, mine.manifest.version) == ("1", "2")
    assert artifact.read(tmp_path, "quadrants", "1").model == others[0].model
    assert artifact.read(tmp_path, "quadrants", "2").model == mine.model != others[0].model
    assert sorted(path.name for path in (tmp_path / "quadrants").iterdir()) == ["1", "2"]


def test_version_that_is_taken_at_the_very_last_moment_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The same between the last file and the renaming.
    """
    others: list[Artifact] = []
    rename = Path.rename

    def meanwhile(staging: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        others.append(toys.publish(tmp_path, weights=-toys.quadrant_weights()))
        return rename(staging, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    mine = toys.publish(tmp_path)

    assert (others[0].manifest.version, mine.manifest.version) == ("1", "2")
    assert artifact.read(tmp_path, "quadrants", "1").model == others[0].model
    assert artifact.read(tmp_path, "quadrants", "2").model == mine.model


def test_many_publishers_get_as_many_whole_versions(tmp_path: Path) -> None:
    """
    Four threads publish at once: four versions, each readable.
    """
    with ThreadPoolExecutor(4) as pool:
        published = list(pool.map(lambda _: toys.publish(tmp_path), range(4)))

    assert sorted(it.manifest.version for it in published) == ["1", "2", "3", "4"]
    assert artifact.versions(tmp_path) == {"quadrants": ["1", "2", "3", "4"]}
    assert all(artifact.read(tmp_path, "quadrants", version) for version in ("1", "2", "3", "4"))


@pytest.mark.parametrize("stop", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("file", range(len(FILES)))
def test_interrupted_publisher_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: int, stop: type[BaseException]
) -> None:
    """
    Whichever file is being written when the disk is full or somebody stops the trainer.
    """
    countdown = iter(range(len(FILES)))

    def fail(_: int) -> None:
        if next(countdown) == file:
            raise stop

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(stop):
        toys.publish(tmp_path)

    assert left_behind(tmp_path) == []
    assert artifact.versions(tmp_path) == {}


def test_failed_renaming_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What cannot be renamed is an error, and not tried for ever.
    """

    def fail(*_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        toys.publish(tmp_path)

    assert left_behind(tmp_path) == []


def test_every_file_is_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A power cut cannot leave a version whose files are empty.
    """
    events: list[str] = []
    rename = Path.rename

    def record_sync(_: int) -> None:
        events.append("sync")

    def record_rename(staging: Path, target: Path) -> Path:
        events.append("rename")
        return rename(staging, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "rename", record_rename)
    toys.publish(tmp_path)

    assert events.index("rename") >= len(FILES)


def test_file_where_the_next_version_would_stand_does_not_hold_up_the_publisher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is passed over or complained of; trying the same version for ever is neither.
    """
    (tmp_path / "quadrants").mkdir()
    (tmp_path / "quadrants" / "1").write_text("not a folder")
    attempts = iter(range(100))
    fsync = os.fsync

    def count(descriptor: int) -> None:
        next(attempts)  # StopIteration ends an endless loop
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    published = toys.publish(tmp_path)

    assert published.manifest.version == "2"
    assert (tmp_path / "quadrants" / "1").read_text() == "not a folder"


def _altered(**changes: object) -> Json:
    return {**toys.manifest("quadrants", toys.QUARTERS), **changes}


def _without_name() -> Json:
    manifest = toys.manifest("quadrants", toys.QUARTERS)
    del manifest["name"]
    return manifest


def _not_a_number() -> Json:
    manifest = toys.manifest("quadrants", toys.QUARTERS)
    manifest["metrics"][0]["loss"] = float("nan")
    return manifest


@pytest.mark.parametrize(
    "manifest",
    [
        _altered(parameters=1),
        _altered(labels=["one", "two"]),
        _altered(favourite="blue"),
        _altered(name="../elsewhere"),
        _altered(name="Quadrants"),
        _altered(name=""),
        _altered(recipe={"rate": float("inf")}),
        _not_a_number(),
        _without_name(),
    ],
    ids=["sum", "labels", "extra", "outside", "capital", "no letters", "infinite recipe", "nan", "no name"],
)
def test_manifest_that_breaks_the_contract_is_not_published(tmp_path: Path, manifest: Json) -> None:
    """
    The writer refuses what the reader would refuse, and touches nothing for it.
    """
    root = tmp_path / "models"
    root.mkdir()

    with pytest.raises(ManifestInvalid):
        publish(root, manifest)
    assert left_behind(root) == []
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def _rounded(first: Json, last: Json) -> list[Json]:
    """Return the layers of 784-12-4, each with further members."""
    named = {"weight": "w", "bias": "b"}
    return [
        {"name": "hidden1", "inputs": 784, "units": 12, "activation": "relu", **named, **first},
        {"name": "output", "inputs": 12, "units": 4, "activation": "none", **named, **last},
    ]


GIVES: Json = {"rounding": {"step": "s", "given": "g"}}
SUMS: Json = {"rounding": {"step": "s", "given": None}}


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (_rounded(GIVES, {}), "all quantized or all float32"),
        (_rounded({}, SUMS), "all quantized or all float32"),
        (_rounded(SUMS, SUMS), "all but the last"),
        (_rounded(GIVES, GIVES), "all but the last"),
        (_rounded({**GIVES, "activation": "none"}, SUMS), "activation relu, all but the last"),
    ],
)
def test_layers_are_rounded_all_or_none(tmp_path: Path, layers: list[Json], reason: str) -> None:
    """
    Whole numbers go from each layer to the next, none below 0, and the last gives the logits.
    """
    parameters = 784 * 12 + 12 + 12 * 4 + 4

    with pytest.raises(ManifestInvalid, match=reason):
        publish(tmp_path, _altered(layers=layers, parameters=parameters))
    publish(tmp_path, _altered(layers=_rounded(GIVES, SUMS), parameters=parameters))


@pytest.mark.parametrize(
    "golden",
    [
        {"tolerance": 0.0},
        {"tolerance": 1.0},
        {"tolerance": float("nan")},
        {"images": np.zeros((1, 28, 28), np.uint8)},
        {"images": np.zeros((2, 28, 27), np.uint8)},
        {"logits": np.zeros((2, 5), np.float32)},
        {"logits": np.zeros((2, 4), np.float64)},
        {"probabilities": np.full((2, 4), np.nan, np.float32)},
        {"logits": np.full((2, 4), np.inf, np.float32)},
    ],
    ids=["zero", "lax", "nan", "rows", "image", "classes", "dtype", "nan answer", "infinite answer"],
)
def test_golden_examples_that_break_the_contract_are_not_published(tmp_path: Path, golden: Json) -> None:
    """
    A folder that nobody could read is not written.
    """
    with pytest.raises(ManifestInvalid):
        publish(tmp_path, golden=golden)
    assert left_behind(tmp_path) == []


def test_model_that_is_too_large_to_be_read_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The limit of the reader is one of the writer's too.
    """
    monkeypatch.setattr(artifact, "MAX_FILE_BYTES", 10_000)  # the toy's model has 12,000

    with pytest.raises(ManifestInvalid):
        publish(tmp_path)
    assert left_behind(tmp_path) == []


# --- Finding versions


def test_versions_are_listed_by_name_and_oldest_first(tmp_path: Path) -> None:
    """
    Names in alphabetical order; versions as numbers, so that ten comes after nine.
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
def test_folders_not_named_like_a_model_or_a_version_are_passed_over(tmp_path: Path, odd: str) -> None:
    """
    Half-published folders, other people's folders and strange spellings are not versions.
    """
    (tmp_path / odd).mkdir(parents=True)
    (tmp_path / "good" / "1").mkdir(parents=True)

    assert artifact.versions(tmp_path) == {"good": ["1"]}


def test_files_among_the_folders_are_passed_over(tmp_path: Path) -> None:
    """
    The table and the schema lie beside the models; a file is never a model or a version.
    """
    (tmp_path / "readme").write_text("")
    (tmp_path / "ink").mkdir()
    (tmp_path / "ink" / "1").write_text("")

    assert artifact.versions(tmp_path) == {}


def test_models_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """
    Nothing published and no folder at all are two things.
    """
    with pytest.raises(FileNotFoundError):
        artifact.versions(tmp_path / "none")


# --- Refusing


def _spoil(change: Callable[[Json], object]) -> Callable[[Path], None]:
    """Make a way to spoil a folder from a change of its manifest."""

    def spoil(folder: Path) -> None:
        manifest = load(folder)
        change(manifest)
        set_manifest(folder, manifest)

    return spoil


def _spoil_golden(change: Callable[[Json], object]) -> Callable[[Path], None]:
    """Make a way to spoil a folder from a change of its golden examples; the digest is right."""

    def spoil(folder: Path) -> None:
        golden = load(folder, "golden.json")
        change(golden)
        set_golden(folder, json.dumps(golden).encode())

    return spoil


def _golden_is(content: bytes) -> Callable[[Path], None]:
    return lambda folder: set_golden(folder, content)


def _remove(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def _manifest_is(content: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "manifest.json").write_bytes(content)

    return spoil


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

SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (_remove("manifest.json"), "manifest.json"),
    "no model": (_remove("model.onnx"), "model.onnx"),
    "no golden": (_remove("golden.json"), "golden.json"),
    "a folder for a model": (_folder_instead_of_model, "model.onnx"),
    "empty manifest": (_manifest_is(b""), "manifest.json"),
    "half a manifest": (_manifest_is(b'{"format": 1, "name": '), "manifest.json"),
    "manifest not UTF-8": (_manifest_is(b"\xff\xfe{}"), "manifest.json"),
    "manifest a list": (_manifest_is(b"[]"), "manifest.json"),
    "deep manifest": (_manifest_is(b'{"recipe":' * 100_000), "manifest.json"),
    "other name": (_spoil(lambda it: it.update(name="ink")), "should be of quadrants/1"),
    "other version": (_spoil(lambda it: it.update(version="2")), "should be of quadrants/1"),
    "version a number": (_spoil(lambda it: it.update(version=1)), "version"),
    "other format": (_spoil(lambda it: it.update(format=2)), "format"),
    "extra field": (_spoil(lambda it: it.update(favourite="blue")), "favourite"),
    "extra field inside": (_spoil(lambda it: it["making"].update(mood="good")), "mood"),
    "missing field": (_spoil(lambda it: it.pop("labels")), "labels"),
    "missing digest": (_spoil(lambda it: it["sha256"].pop("golden.json")), "sha256"),
    "digest in capitals": (_spoil(lambda it: it["sha256"].update({"model.onnx": "A" * 64})), "sha256"),
    "one more digest": (_spoil(lambda it: it["sha256"].update({"report": "a" * 64})), "sha256"),
    "sum of parameters": (_spoil(lambda it: it.update(parameters=3139)), "parameters"),
    "no layers": (_spoil(lambda it: it.update(layers=[])), "layers"),
    "units of a layer": (_spoil(lambda it: it["layers"][0].update(units=5)), "layers"),
    "inputs of a layer": (_spoil(lambda it: it["layers"][0].update(inputs=783)), "layers"),
    "twice the same layer": (_spoil(_second_layer), "different names"),
    "layer's name a path": (_spoil(lambda it: it["layers"][0].update(name="a/b")), "name"),
    "unknown activation": (_spoil(lambda it: it["layers"][0].update(activation="tanh")), "activation"),
    "labels and outputs": (_spoil(lambda it: it["labels"].append("fifth")), "output"),
    "one output": (_spoil(lambda it: it["outputs"].pop()), "outputs"),
    "outputs in another order": (_spoil(lambda it: it["outputs"].reverse()), "output"),
    "input's name": (_spoil(lambda it: it["input"].update(name="pixels")), "input"),
    "input's type": (_spoil(lambda it: it["input"].update(dtype="float32")), "input"),
    "fixed batch": (_spoil(lambda it: it["input"].update(shape=[1, 28, 28])), "input"),
    "no pixels": (_spoil(lambda it: it["input"].update(shape=[-1, 0, 28])), "input"),
    "negative side": (_spoil(lambda it: it["input"].update(shape=[-1, -28, -28])), "input"),
    "huge sides": (_spoil(lambda it: it["input"].update(shape=[-1, 2**32, 2**32])), "layers"),
    "accuracy of two": (_spoil(lambda it: it["metrics"][0].update(accuracy=2)), "accuracy"),
    "infinite time": (_spoil(lambda it: it["making"].update(seconds=float("inf"))), "making.seconds"),
    "NaN in the recipe": (_spoil(lambda it: it.update(recipe={"rate": float("nan")})), "manifest.json"),
    "golden not JSON": (_golden_is(b"{"), "golden.json"),
    "golden a list": (_golden_is(b"[]"), "golden.json"),
    "golden null": (_golden_is(b"null"), "golden.json"),
    "golden not UTF-8": (_golden_is(b'"\xff"'), "golden.json"),
    "deep golden": (_golden_is(b"[" * 100_000), "golden.json"),
    "golden without images": (_spoil_golden(lambda it: it.pop("image")), "golden.json"),
    "golden without logits": (_spoil_golden(lambda it: it.pop("logits")), "golden.json"),
    "golden without tolerance": (_spoil_golden(lambda it: it.pop("tolerance")), "golden.json"),
    "golden image a number": (_spoil_golden(lambda it: it.update(image=5)), "golden.json"),
    "golden base64 a number": (_spoil_golden(lambda it: it["image"].update(base64=5)), "golden.json"),
    "golden no base64": (_spoil_golden(lambda it: it["image"].update(base64="AAA")), "golden.json"),
    "golden not ASCII": (_spoil_golden(lambda it: it["image"].update(base64="ä")), "golden.json"),
    "golden of no image": (
        _spoil_golden(
            lambda it: it.update(
                image=_encode(np.zeros((0, 28, 28), np.uint8)),
                logits=_encode(FLOATS[:0]),
                probabilities=_encode(FLOATS[:0]),
            )
        ),
        "golden.json",
    ),
    "golden image cut off": (
        _spoil_golden(lambda it: it["image"].update(base64=it["image"]["base64"][:1000])),
        "golden.json",
    ),
    "golden with fewer answers": (
        _spoil_golden(lambda it: it.update(logits=_encode(FLOATS[:2]))),
        "golden.json",
    ),
    "golden with more answers": (
        _spoil_golden(lambda it: it.update(probabilities=_encode(np.zeros((4, 4), np.float32)))),
        "golden.json",
    ),
    "golden of another type than it says": (
        _spoil_golden(lambda it: it["logits"].update(dtype="float64")),
        "golden.json",
    ),
    "golden of another shape than it says": (
        _spoil_golden(lambda it: it["image"].update(shape=[3, 784])),
        "golden.json",
    ),
    "golden with NaN": (
        _spoil_golden(lambda it: it.update(probabilities=_encode(np.full((3, 4), np.nan, np.float32)))),
        "golden.json",
    ),
    "golden with infinity": (
        _spoil_golden(lambda it: it.update(logits=_encode(np.full((3, 4), np.inf, np.float32)))),
        "golden.json",
    ),
    "tolerance zero": (_spoil_golden(lambda it: it.update(tolerance=0)), "tolerance"),
    "tolerance below zero": (_spoil_golden(lambda it: it.update(tolerance=-1e-5)), "tolerance"),
    "tolerance too lax": (_spoil_golden(lambda it: it.update(tolerance=0.011)), "tolerance"),
    "tolerance NaN": (_spoil_golden(lambda it: it.update(tolerance=float("nan"))), "tolerance"),
    "tolerance huge": (_spoil_golden(lambda it: it.update(tolerance=10**400)), "golden.json"),
    "tolerance a word": (_spoil_golden(lambda it: it.update(tolerance="small")), "golden.json"),
}


@pytest.mark.parametrize(("spoil", "named"), SPOILT.values(), ids=SPOILT)
def test_broken_folder_is_refused_with_a_message_that_names_the_place(
    folder: Path, spoil: Callable[[Path], None], named: str
) -> None:
    """
    The message says which artifact and what in it, and never where it lies.
    """
    spoil(folder)

    with pytest.raises(ManifestInvalid) as caught:
        read(folder)
    message = str(caught.value)
    assert message.startswith("quadrants/1: ")
    assert named in message
    assert str(folder.parents[1]) not in message
    assert folder.parents[1].name not in message
    assert "\n" not in message


@pytest.mark.parametrize("file", ["model.onnx", "golden.json"])
def test_changed_file_is_refused_by_its_digest(folder: Path, file: str) -> None:
    """
    One changed byte is enough, even where it changes no meaning.
    """
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content + b"\n")

    with pytest.raises(DigestMismatch) as caught:
        read(folder)
    assert caught.value.file == file
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert hashlib.sha256(content + b"\n").hexdigest() in str(caught.value)
    assert str(folder.parents[1]) not in str(caught.value)


def test_digest_is_checked_before_golden_examples_are_understood(folder: Path) -> None:
    """
    What was not published is not read any further.
    """
    (folder / "golden.json").write_bytes(b"{")

    with pytest.raises(DigestMismatch):
        read(folder)


@pytest.mark.parametrize("file", ["model.onnx", "golden.json", "manifest.json"])
def test_too_large_file_is_refused(folder: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file of the largest size is read, one byte more is not.
    """
    size = (folder / file).stat().st_size
    largest = max((folder / name).stat().st_size for name in FILES)
    most = largest + 1000
    padding = b" " * (most - size)
    monkeypatch.setattr(artifact, "MAX_FILE_BYTES", most)
    with (folder / file).open("ab") as open_file:
        open_file.write(padding)
    whole = _what_is_refused(folder)
    with (folder / file).open("ab") as open_file:
        open_file.write(b" ")

    with pytest.raises(
        ManifestInvalid, match=rf"{file} should be readable; got 'more than {largest + 1000:,} bytes'"
    ):
        read(folder)
    assert whole in (None, DigestMismatch)


def _what_is_refused(folder: Path) -> type[ArtifactError] | None:
    try:
        read(folder)
    except ArtifactError as error:
        return type(error)
    return None


def test_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """
    A folder that vanished between listing and reading is an error of that artifact alone.
    """
    with pytest.raises(ManifestInvalid, match=r"ink/1: manifest\.json should be readable"):
        artifact.read(tmp_path, "ink", "1")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published toy whose files the property tests write over again and again."""
    root = tmp_path_factory.mktemp("scratch")
    toys.publish(root)
    return root / "quadrants" / "1"


@contextmanager
def restored(folder: Path) -> Iterator[None]:
    """Put manifest and golden examples back at the end of the block."""
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
OFTEN = examples()


def _paths(content: Json | list[Any], path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to every value in a JSON document but the whole."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    found = []
    for key, value in pairs:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += _paths(value, (*path, key))
    return found


def _replaced(content: Json, path: tuple[str | int, ...], value: object) -> Json:
    """Return a copy in which one value is another."""
    copy: Json = json.loads(json.dumps(content))
    part: Any = copy
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return copy


@OFTEN
@given(st.binary(max_size=200) | JSON.map(lambda it: json.dumps(it).encode()))
def test_arbitrary_manifest_raises_nothing_but_artifact_errors(scratch: Path, content: bytes) -> None:
    """
    Any bytes and any JSON in place of a manifest.
    """
    with restored(scratch):
        (scratch / "manifest.json").write_bytes(content)

        assert _what_is_refused(scratch) is ManifestInvalid


@OFTEN
@given(st.data())
def test_manifest_with_any_other_value_raises_nothing_but_artifact_errors(
    scratch: Path, data: st.DataObject
) -> None:
    """
    Any one value, at any depth, in place of the right one.
    """
    whole = load(scratch)
    path = data.draw(st.sampled_from(_paths(whole)))
    value = data.draw(JSON)
    with restored(scratch):
        set_manifest(scratch, _replaced(whole, path, value))

        _what_is_refused(scratch)


@OFTEN
@given(st.binary(max_size=200) | JSON.map(lambda it: json.dumps(it).encode()))
def test_arbitrary_golden_examples_raise_nothing_but_artifact_errors(scratch: Path, content: bytes) -> None:
    """
    Any bytes and any JSON in place of golden examples, with the right digest.
    """
    with restored(scratch):
        set_golden(scratch, content)

        assert _what_is_refused(scratch) is ManifestInvalid


@OFTEN
@given(st.data())
def test_golden_examples_with_any_other_value_raise_nothing_but_artifact_errors(
    scratch: Path, data: st.DataObject
) -> None:
    """
    Any one value, at any depth, in place of the right one.
    """
    content = load(scratch, "golden.json")
    path = data.draw(st.sampled_from(_paths(content)))
    value = data.draw(JSON | st.binary(max_size=64).map(lambda it: base64.b64encode(it).decode()))
    with restored(scratch):
        set_golden(scratch, json.dumps(_replaced(content, path, value)).encode())

        _what_is_refused(scratch)


# --- The contract as data


def test_stored_schema_is_the_one_of_the_code() -> None:
    """
    `models/manifest.schema.json` is generated, and up to date.
    """
    stored = REPOSITORY / "models" / "manifest.schema.json"

    assert stored.read_text() == manifest.schema()


@pytest.mark.parametrize("said", [{}, {"temperature": 1.0}, {"certainty": None}])
def test_what_a_manifest_does_not_say_is_not_written(said: Json) -> None:
    """
    A manifest from before there was temperature or certainty stays as it is, byte for byte.
    """
    digests = dict.fromkeys(("model.onnx", "golden.json"), "0" * 64)
    whole = manifest.complete(_altered(**said), "1", digests)

    written = manifest.write(whole)

    assert (whole.temperature, whole.certainty) == (1.0, None)
    assert json.loads(written).keys() == {*_altered(), "version", "sha256", *said}
    assert manifest.write(manifest.parse("quadrants/1", written)) == written


def test_a_manifest_says_from_where_on_an_answer_is_sure(tmp_path: Path) -> None:
    """
    Through the file and back, with what was measured.
    """
    published = toys.publish(tmp_path, temperature=2.5, certainty=toys.CERTAINTY)

    found = artifact.read(tmp_path, "quadrants", "1").manifest

    assert found == published.manifest
    assert found.temperature == 2.5
    assert found.certainty is not None
    assert found.certainty.model_dump(mode="json") == toys.CERTAINTY


@pytest.mark.parametrize(
    "said",
    [
        {"temperature": 0},
        {"temperature": -1.0},
        {"certainty": {**toys.CERTAINTY, "score": "magic"}},
        {"certainty": {**toys.CERTAINTY, "kept": []}},
        {"certainty": {**toys.CERTAINTY, "passed": [{"images": "blanks", "examples": 1, "share": 1.1}]}},
        {"certainty": {key: value for key, value in toys.CERTAINTY.items() if key != "threshold"}},
    ],
)
def test_a_certainty_or_temperature_that_cannot_be_is_refused(said: Json) -> None:
    """
    The message names the member.
    """
    digests = dict.fromkeys(("model.onnx", "golden.json"), "0" * 64)

    with pytest.raises(ManifestInvalid, match=next(iter(said))):
        manifest.complete(_altered(**said), "1", digests)


def test_published_manifest_fits_the_schema(folder: Path) -> None:
    """
    Anybody can check a manifest without our code.
    """
    schema = jsonschema_rs.Draft202012Validator(json.loads(manifest.schema()))

    assert schema.is_valid(load(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Quadrants"},
        {"version": "0"},
        {"favourite": "blue"},
        {"parameters": "many"},
        {"format": 2},
        {"labels": []},
        {"layers": []},
        {"sha256": {"model.onnx": "short"}},
    ],
)
def test_schema_refuses_what_the_reader_refuses(folder: Path, change: Json) -> None:
    """
    Names, patterns, types and extra fields stand in the schema too.
    """
    schema = jsonschema_rs.Draft202012Validator(json.loads(manifest.schema()))

    assert not schema.is_valid({**load(folder), **change})


@pytest.mark.parametrize("file", ["manifest.json", "model.onnx", "golden.json"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path, file: str) -> None:
    """
    Opening it would wait for somebody to write.
    """
    toys.publish(tmp_path)
    (tmp_path / "quadrants" / "1" / file).unlink()
    os.mkfifo(tmp_path / "quadrants" / "1" / file)

    with pytest.raises(ManifestInvalid, match=f"{file} should be readable"):
        artifact.read(tmp_path, "quadrants", "1")


@pytest.mark.parametrize("name", ["none", "", ".", "..", "../quadrants", "quadrants/..", "a\0b", "x" * 5000])
def test_what_is_no_published_name_has_no_versions(tmp_path: Path, name: str) -> None:
    """
    A name from outside leads to no other folder.
    """
    toys.publish(tmp_path / "models")
    toys.publish(tmp_path)

    assert artifact.versions_of(tmp_path / "models", name) == []
    assert artifact.versions_of(tmp_path / "models", "quadrants") == ["1"]
