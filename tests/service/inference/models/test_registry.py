import json
import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from service.core.artifact import artifact
from service.core.artifact.files import read_file
from service.core.errors import (
    DigestMismatch,
    GoldenMismatch,
    GraphRefused,
    ManifestInvalid,
    ModelNotReady,
    ReloadRefused,
    UnknownModel,
    UnknownVersion,
)
from service.core.network.engine import Engine
from service.inference.models.registry import Registry
from service.inference.models.versions import ModelStatus
from service.inference.predictor import Predictor
from tests import toys

LOGGER = "service.inference.models"

LONG_S = 30.0
"""No test waits that long; a test that would hang fails then."""


def publish(root: Path, versions: int, name: str = "quadrants") -> None:
    """Publish a toy several times: the same network under each version."""
    for _ in range(versions):
        toys.publish(root, name)


def spoil(root: Path, version: str, name: str = "quadrants") -> None:
    """Change a published file without updating its digest."""
    file = root / name / version / "model.onnx"
    file.write_bytes(file.read_bytes() + b"\n")


def loaded(root: Path) -> Registry:
    """Return a registry that has loaded a folder."""
    registry = Registry(root)
    registry.load()
    return registry


def titles(registry: Registry) -> list[str]:
    """Return the loaded models, as name/version."""
    return [f"{model.name}/{model.version}" for model in registry.models()]


def test_a_pinned_version_answers_in_place_of_the_newest(tmp_path: Path) -> None:
    """
    Other versions still answer for themselves; without the pin the newest one answers again.
    """
    publish(tmp_path, 3)
    registry = loaded(tmp_path)

    registry.pin({"quadrants": "2", "nobody": "1"})

    assert registry.get("quadrants").version == "2"
    assert registry.get("quadrants", "3").version == "3"
    assert [model.version for model in registry.defaults()] == ["2"]
    registry.pin({})
    assert registry.get("quadrants").version == "3"


def test_a_pinned_version_that_is_not_served_makes_the_service_unready(tmp_path: Path) -> None:
    """
    No other version answers in its place.
    """
    publish(tmp_path, 2)
    registry = loaded(tmp_path)

    registry.pin({"quadrants": "7"})

    with pytest.raises(ModelNotReady, match="version 7 is pinned and is not served"):
        registry.get("quadrants")
    with pytest.raises(ModelNotReady):
        registry.check_ready()
    assert registry.defaults() == []


def test_the_newest_version_is_the_default(tmp_path: Path) -> None:
    """Compared as numbers: 10 is newer than 9."""
    publish(tmp_path, 10)

    model = loaded(tmp_path).get("quadrants")

    assert (model.name, model.version) == ("quadrants", "10")


def test_only_the_given_versions_are_loaded(tmp_path: Path) -> None:
    """A model that is not loaded is not expected either."""
    publish(tmp_path, 3)
    publish(tmp_path, 1, "later")
    registry = Registry(tmp_path)

    registry.load(among={("quadrants", "1"), ("quadrants", "3"), ("gone", "1")})

    assert titles(registry) == ["quadrants/1", "quadrants/3"]
    registry.check_ready()
    with pytest.raises(UnknownModel):
        registry.get("later")


def test_older_versions_are_served_too(tmp_path: Path) -> None:
    """Each with its own weights."""
    toys.publish(tmp_path)
    toys.publish(tmp_path, weights=toys.quadrant_weights()[::-1].copy())
    registry = loaded(tmp_path)

    seen = {
        version: int(registry.get("quadrants", version).engine.run(toys.dot(0)[None]).logits.argmax())
        for version in ("1", "2")
    }

    assert seen == {"1": 0, "2": 3}


def test_a_loaded_model_has_manifest_engine_and_layers(tmp_path: Path) -> None:
    publish(tmp_path, 1)

    model = loaded(tmp_path).get("quadrants", "1")

    assert model.manifest.labels == toys.QUARTERS
    assert model.engine.run(toys.dot(2)[None]).logits.tolist() == [[0, 0, 1, 0]]
    np.testing.assert_array_equal(model.layers["output"].weight, toys.quadrant_weights().T)


def test_models_are_listed_by_name_and_oldest_version_first(tmp_path: Path) -> None:
    publish(tmp_path, 2, "second")
    publish(tmp_path, 1, "first")

    assert titles(loaded(tmp_path)) == ["first/1", "second/1", "second/2"]


def test_the_error_of_an_unknown_model_lists_the_known_ones(tmp_path: Path) -> None:
    publish(tmp_path, 1)

    with pytest.raises(UnknownModel, match="quadrants; got 'quadrant'"):
        loaded(tmp_path).get("quadrant")


@pytest.mark.parametrize("version", ["3", "0", "01", "", "newest", "-1"])
def test_the_error_of_an_unknown_version_lists_the_known_ones(tmp_path: Path, version: str) -> None:
    """Only the exact name of a version counts."""
    publish(tmp_path, 2)

    with pytest.raises(UnknownVersion, match=f"1, 2; got '{version}'"):
        loaded(tmp_path).get("quadrants", version)


def test_a_refused_folder_does_not_affect_the_others(tmp_path: Path) -> None:
    """The newest version is invalid: the one before it is served, and so are other models."""
    publish(tmp_path, 3)
    publish(tmp_path, 1, "other")
    spoil(tmp_path, "3")

    registry = loaded(tmp_path)

    assert titles(registry) == ["other/1", "quadrants/1", "quadrants/2"]
    assert registry.get("quadrants").version == "2"
    registry.check_ready()


def test_a_refused_version_is_not_ready_rather_than_unknown(tmp_path: Path) -> None:
    """It is published, and may be repaired."""
    publish(tmp_path, 2)
    spoil(tmp_path, "2")

    with pytest.raises(ModelNotReady, match="version 2 was refused"):
        loaded(tmp_path).get("quadrants", "2")


def test_a_network_that_computes_something_else_than_its_layers_is_refused(tmp_path: Path) -> None:
    """Digests and golden examples are right, but it uses other weights than it shows."""

    def swap(model: onnx.ModelProto) -> None:
        weights = toys.quadrant_weights()
        weights[:, 0] = 9  # a corner in which no golden example has ink
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "other.weight"))
        gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
        gemm.input[1] = "other.weight"

    toys.publish(tmp_path, alter=swap)

    (refused,) = loaded(tmp_path).refused()

    assert isinstance(refused, GraphRefused)
    assert str(refused) == "quadrants/1: logits should be those of the manifest's layers; got others."


def test_a_refused_folder_is_logged_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line at level error, without a path."""
    publish(tmp_path, 2)
    spoil(tmp_path, "1")

    with caplog.at_level(logging.ERROR, logger=LOGGER):
        registry = loaded(tmp_path)

    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "model refused")
    fields: dict[str, str] = vars(record)["fields"]
    assert fields["reason"] == str(registry.refused()[0])
    assert fields["reason"].startswith("quadrants/1: SHA-256 of model.onnx")
    assert str(tmp_path) not in str(fields)


def test_a_loaded_model_is_logged_with_its_threads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish(tmp_path, 1)
    registry = Registry(tmp_path, engine_threads=2)

    with caplog.at_level(logging.INFO, logger=LOGGER):
        registry.load()

    fields = [vars(record)["fields"] for record in caplog.records]
    assert fields == [{"model": "quadrants", "version": "1", "threads": 2}]


def test_every_kind_of_invalid_folder_is_refused(tmp_path: Path) -> None:
    """Invalid manifest, digest, network or golden examples; others are served."""
    publish(tmp_path, 1)
    publish(tmp_path, 1, "a-manifest")
    (tmp_path / "a-manifest" / "1" / "manifest.json").write_text("{")
    publish(tmp_path, 1, "b-digest")
    spoil(tmp_path, "1", "b-digest")
    toys.publish(
        tmp_path, "c-graph", alter=lambda model: setattr(model.graph.node[0], "op_type", "Bernoulli")
    )
    toys.publish(tmp_path, "d-golden", alter=lambda model: setattr(model.graph.node[1], "op_type", "Mul"))
    toys.publish(
        tmp_path, "e-weights", alter=lambda model: setattr(model.graph.initializer[3], "name", "gone")
    )
    (tmp_path / "f-empty" / "1").mkdir(parents=True)
    shutil.copytree(tmp_path / "quadrants" / "1", tmp_path / "g-other-name" / "1")

    registry = loaded(tmp_path)

    assert titles(registry) == ["quadrants/1"]
    assert [type(error) for error in registry.refused()] == [
        ManifestInvalid,
        DigestMismatch,
        GraphRefused,
        GoldenMismatch,
        GraphRefused,
        ManifestInvalid,
        ManifestInvalid,
    ]


def test_a_model_without_valid_versions_is_not_ready(tmp_path: Path) -> None:
    """It is not unknown, and the service is not ready either."""
    publish(tmp_path, 2)
    publish(tmp_path, 1, "other")
    spoil(tmp_path, "1")
    spoil(tmp_path, "2")
    registry = loaded(tmp_path)

    with pytest.raises(ModelNotReady, match="no published version can be served"):
        registry.get("quadrants")
    with pytest.raises(ModelNotReady, match="'quadrants'"):
        registry.check_ready()
    assert titles(registry) == ["other/1"]


def test_a_service_with_every_model_is_ready(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    registry = loaded(tmp_path)

    registry.check_ready()

    assert registry.refused() == []


def test_a_service_without_models_is_not_ready(tmp_path: Path) -> None:
    registry = loaded(tmp_path)

    with pytest.raises(ModelNotReady, match="nothing is published"):
        registry.check_ready()
    with pytest.raises(UnknownModel, match=r"\(none\)"):
        registry.get("quadrants")
    assert (registry.models(), registry.refused()) == ([], [])


def test_a_registry_is_not_ready_before_it_has_loaded(tmp_path: Path) -> None:
    publish(tmp_path, 1)

    with pytest.raises(ModelNotReady):
        Registry(tmp_path).check_ready()


def test_a_staging_folder_is_ignored(tmp_path: Path) -> None:
    """A trainer that was killed leaves one."""
    publish(tmp_path, 1)
    shutil.copytree(tmp_path / "quadrants" / "1", tmp_path / "quadrants" / ".staging-x")

    registry = loaded(tmp_path)

    assert titles(registry) == ["quadrants/1"]
    assert registry.refused() == []


def test_a_missing_models_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        loaded(tmp_path / "none")


def test_a_loaded_model_does_not_read_its_folder_again(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    manifest = tmp_path / "quadrants" / "1" / "manifest.json"
    content = json.loads(manifest.read_text())

    manifest.write_text(json.dumps({**content, "description": "Another."}))
    shutil.rmtree(tmp_path / "quadrants")

    model = registry.get("quadrants")
    assert model.manifest.description == "A toy."
    assert model.engine.run(toys.dot(1)[None]).logits.argmax() == 1


def statuses(registry: Registry) -> list[tuple[str, bool]]:
    """Return the status of each version of `quadrants`."""
    return [(standing.version, standing.is_ready) for standing in registry.index()]


def test_a_reload_serves_a_new_version_and_keeps_the_others(tmp_path: Path) -> None:
    """The old version is still the same object."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    old = registry.get("quadrants", "1")
    publish(tmp_path, 1)

    registry.reload("quadrants")

    assert registry.get("quadrants").version == "2"
    assert registry.get("quadrants", "1") is old


def test_a_reload_serves_a_model_published_after_the_start(tmp_path: Path) -> None:
    """In alphabetical order."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    publish(tmp_path, 2, "other")

    registry.reload("other")

    assert titles(registry) == ["other/1", "other/2", "quadrants/1"]


def test_a_reload_reads_one_model_only(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    publish(tmp_path, 2, "other")
    registry = loaded(tmp_path)
    shutil.rmtree(tmp_path / "other")
    publish(tmp_path, 1, "third")

    registry.reload("quadrants")

    assert titles(registry) == ["other/1", "other/2", "quadrants/1"]


def test_a_reload_drops_a_version_whose_folder_was_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is unknown then, and the log has a line; requests that hold it go on."""
    publish(tmp_path, 2)
    registry = loaded(tmp_path)
    dropped = registry.get("quadrants")
    shutil.rmtree(tmp_path / "quadrants" / "2")

    with caplog.at_level(logging.INFO, logger=LOGGER):
        registry.reload("quadrants")

    assert titles(registry) == ["quadrants/1"]
    with pytest.raises(UnknownVersion):
        registry.get("quadrants", "2")
    assert dropped.engine.run(toys.dot(3)[None]).logits.argmax() == 3
    (record,) = caplog.records
    assert record.getMessage() == "model dropped"
    assert vars(record)["fields"] == {"model": "quadrants", "version": "2"}


def test_a_refused_reload_drops_no_version_and_loads_valid_ones(tmp_path: Path) -> None:
    """Version 2 is invalid, version 3 valid, and version 1's folder deleted: 1 and 3 are served."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    old = registry.get("quadrants")
    publish(tmp_path, 2)
    spoil(tmp_path, "2")
    shutil.rmtree(tmp_path / "quadrants" / "1")

    with pytest.raises(ReloadRefused, match=r"quadrants/2: SHA-256 of model.onnx") as caught:
        registry.reload("quadrants")

    assert str(tmp_path) not in str(caught.value)
    assert isinstance(caught.value.__cause__, DigestMismatch)
    assert statuses(registry) == [("1", True), ("2", False), ("3", True)]
    assert registry.get("quadrants", "1") is old
    assert registry.get("quadrants").version == "3"
    with pytest.raises(ModelNotReady, match="version 2 was refused"):
        registry.get("quadrants", "2")
    registry.check_ready()


def test_one_error_names_every_refused_folder(tmp_path: Path) -> None:
    publish(tmp_path, 4)
    registry = loaded(tmp_path)
    publish(tmp_path, 2)
    for version in ("2", "5", "6"):
        spoil(tmp_path, version)

    with pytest.raises(ReloadRefused) as caught:
        registry.reload("quadrants")

    assert [reason.partition(":")[0] for reason in caught.value.refused] == [
        "quadrants/2",
        "quadrants/5",
        "quadrants/6",
    ]
    assert [version for version, is_ready in statuses(registry) if is_ready] == ["1", "2", "3", "4"]


def test_a_repaired_folder_is_served_after_the_next_reload(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    publish(tmp_path, 1)
    whole = (tmp_path / "quadrants" / "2" / "model.onnx").read_bytes()
    spoil(tmp_path, "2")
    with pytest.raises(ReloadRefused):
        registry.reload("quadrants")

    (tmp_path / "quadrants" / "2" / "model.onnx").write_bytes(whole)
    registry.reload("quadrants")

    assert titles(registry) == ["quadrants/1", "quadrants/2"]
    assert registry.refused() == []


def test_a_changed_version_is_refused_and_the_one_in_memory_is_served(tmp_path: Path) -> None:
    """A published version must never change."""
    toys.publish(tmp_path)
    registry = loaded(tmp_path)
    old = registry.get("quadrants")
    shutil.rmtree(tmp_path / "quadrants" / "1")
    toys.publish(tmp_path, weights=toys.quadrant_weights()[::-1].copy())

    with pytest.raises(ReloadRefused, match="quadrants/1: a published version should never change"):
        registry.reload("quadrants")

    assert registry.get("quadrants") is old
    (standing,) = registry.index()
    assert standing.is_ready
    assert "never change" in standing.reason


def test_a_damaged_folder_of_a_loaded_version_is_reported(tmp_path: Path) -> None:
    """The version is still served."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    old = registry.get("quadrants")
    spoil(tmp_path, "1")

    with pytest.raises(ReloadRefused, match="quadrants/1"):
        registry.reload("quadrants")

    assert registry.get("quadrants", "1") is old
    registry.check_ready()


@pytest.mark.parametrize("name", ["new", "", ".", "..", "../quadrants", "quadrants/1", "a\0b", "x" * 5000])
def test_an_unpublished_model_cannot_be_reloaded(tmp_path: Path, name: str) -> None:
    """A name that is no folder name leads to no other folder."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)

    with pytest.raises(UnknownModel, match="one of quadrants; got"):
        registry.reload(name)

    assert titles(registry) == ["quadrants/1"]


def test_a_model_without_folders_is_served_until_it_is_unloaded(tmp_path: Path) -> None:
    """Then it is unknown."""
    publish(tmp_path, 1)
    publish(tmp_path, 1, "other")
    registry = loaded(tmp_path)
    shutil.rmtree(tmp_path / "quadrants")

    with pytest.raises(UnknownModel, match="one of other; got 'quadrants'"):
        registry.reload("quadrants")
    kept = titles(registry)
    registry.unload("quadrants")
    with pytest.raises(UnknownModel):
        registry.reload("quadrants")

    assert kept == ["other/1", "quadrants/1"]
    assert [standing.name for standing in registry.index()] == ["other"]
    with pytest.raises(UnknownModel):
        registry.get("quadrants")


def test_a_model_whose_folder_cannot_be_read_is_still_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The published versions are unknown, so none is dropped; the error has no path.
    """
    publish(tmp_path, 2)
    registry = loaded(tmp_path)

    def refuse(root: Path, name: str) -> list[str]:
        raise PermissionError(13, "Permission denied", str(root / name))

    monkeypatch.setattr(artifact, "versions_of", refuse)
    with pytest.raises(ReloadRefused, match="quadrants: a folder that cannot be read") as caught:
        registry.reload("quadrants")

    assert str(tmp_path) not in str(caught.value)
    assert titles(registry) == ["quadrants/1", "quadrants/2"]


@pytest.mark.parametrize("file", ["manifest.json", "model.onnx", "golden.json"])
def test_a_folder_deleted_while_it_is_read_counts_as_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Whichever file is read next; the other new version is served, and nothing is refused."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    publish(tmp_path, 2)

    def read_and_lose(path: Path, most: int) -> bytes:
        if path == tmp_path / "quadrants" / "2" / file:
            shutil.rmtree(path.parent)
        return read_file(path, most)

    monkeypatch.setattr(artifact, "read_file", read_and_lose)
    registry.reload("quadrants")

    assert statuses(registry) == [("1", True), ("3", True)]
    assert registry.refused() == []


def test_an_unloaded_model_is_not_ready(tmp_path: Path) -> None:
    """Neither its newest version nor a named one; other models are not affected."""
    publish(tmp_path, 2)
    publish(tmp_path, 1, "other")
    registry = loaded(tmp_path)

    registry.unload("quadrants")

    for version in (None, "1", "2"):
        with pytest.raises(ModelNotReady, match="it is not: it was unloaded") as caught:
            registry.get("quadrants", version)
        assert caught.value.reason == "it was unloaded"
    with pytest.raises(UnknownVersion):
        registry.get("quadrants", "3")
    assert titles(registry) == ["other/1"]


def test_an_unloaded_model_still_predicts_for_running_requests(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    model = registry.get("quadrants")

    registry.unload("quadrants")

    assert Predictor(registry).predict(model, toys.dot(2)[None]).scores.logits.argmax() == 2


def test_unloaded_models_do_not_affect_readiness(tmp_path: Path) -> None:
    """Not even if no model is left."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)

    registry.unload("quadrants")

    registry.check_ready()


def test_a_reload_loads_an_unloaded_model(tmp_path: Path) -> None:
    """With the versions that are published now."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    registry.unload("quadrants")
    publish(tmp_path, 1)

    registry.reload("quadrants")

    assert registry.index() == [
        ModelStatus("quadrants", "1", is_ready=True, reason=""),
        ModelStatus("quadrants", "2", is_ready=True, reason=""),
    ]


def test_unloading_twice_is_no_error_but_an_unknown_model_is(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    registry = loaded(tmp_path)

    registry.unload("quadrants")
    once = registry.index()
    registry.unload("quadrants")

    assert registry.index() == once
    with pytest.raises(UnknownModel, match="one of quadrants; got 'unknown'"):
        registry.unload("unknown")


@pytest.mark.parametrize("before", ["unloaded", "unknown"])
def test_a_refused_reload_does_not_make_the_service_unready(tmp_path: Path, before: str) -> None:
    publish(tmp_path, 1, "other")
    if before == "unloaded":
        publish(tmp_path, 1)
    registry = loaded(tmp_path)
    if before == "unloaded":
        registry.unload("quadrants")
    else:
        publish(tmp_path, 1)
    spoil(tmp_path, "1")

    with pytest.raises(ReloadRefused):
        registry.reload("quadrants")

    registry.check_ready()
    with pytest.raises(ModelNotReady, match="no published version can be served"):
        registry.get("quadrants")
    with pytest.raises(ModelNotReady, match="version 1 was refused"):
        registry.get("quadrants", "1")


def test_a_model_refused_at_the_start_makes_the_service_unready(tmp_path: Path) -> None:
    """Until it is repaired and reloaded."""
    publish(tmp_path, 1)
    whole = (tmp_path / "quadrants" / "1" / "model.onnx").read_bytes()
    spoil(tmp_path, "1")
    registry = loaded(tmp_path)
    with pytest.raises(ModelNotReady):
        registry.check_ready()

    (tmp_path / "quadrants" / "1" / "model.onnx").write_bytes(whole)
    registry.reload("quadrants")

    registry.check_ready()


def test_the_index_lists_every_known_version(tmp_path: Path) -> None:
    """Loaded, refused and unloaded ones, by name and number, with reasons without paths."""
    publish(tmp_path, 10)
    publish(tmp_path, 2, "other")
    spoil(tmp_path, "9")
    registry = loaded(tmp_path)
    registry.unload("other")

    index = registry.index()

    assert [(standing.name, standing.version) for standing in index] == [
        *[("other", str(number)) for number in (1, 2)],
        *[("quadrants", str(number)) for number in range(1, 11)],
    ]
    assert [standing.reason for standing in index[:2]] == ["It was unloaded."] * 2
    not_ready = {f"{standing.name}/{standing.version}" for standing in index if not standing.is_ready}
    assert not_ready == {"other/1", "other/2", "quadrants/9"}
    reasons = {standing.version: standing.reason for standing in index[2:] if standing.reason}
    assert list(reasons) == ["9"]
    assert reasons["9"].startswith("quadrants/9: SHA-256 of model.onnx should be ")
    assert str(tmp_path) not in str(index)


def test_listeners_are_called_at_once_and_after_every_change(tmp_path: Path) -> None:
    """A refused reload is a change too."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    heard: list[list[str]] = []

    registry.subscribe(lambda: heard.append(titles(registry)))
    publish(tmp_path, 2)
    spoil(tmp_path, "3")
    with pytest.raises(ReloadRefused):
        registry.reload("quadrants")
    registry.unload("quadrants")

    assert heard == [["quadrants/1"], ["quadrants/1", "quadrants/2"], []]


def held(monkeypatch: pytest.MonkeyPatch, version: str) -> tuple[threading.Event, threading.Event]:
    """Block the loading of a version; return an event for its start, and one that lets it continue."""
    begun, gate = threading.Event(), threading.Event()
    load = Engine.load

    def load_held(published: artifact.Artifact, threads: int = 1) -> Engine:
        if published.manifest.version == version:
            begun.set()
            assert gate.wait(LONG_S)
        return load(published, threads)

    monkeypatch.setattr(Engine, "load", load_held)
    return begun, gate


def test_a_reload_becomes_visible_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While version 3 loads, version 2 is not visible yet, and the dropped version 1 still is."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    publish(tmp_path, 2)
    shutil.rmtree(tmp_path / "quadrants" / "1")
    begun, gate = held(monkeypatch, "3")

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(registry.reload, "quadrants")
        assert begun.wait(LONG_S)
        during = titles(registry)
        registry.check_ready()
        gate.set()
        done.result(LONG_S)

    assert during == ["quadrants/1"]
    assert titles(registry) == ["quadrants/2", "quadrants/3"]


def test_changes_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is unloaded during its reload is unloaded in the end."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    publish(tmp_path, 1)
    heard: list[list[str]] = []
    registry.subscribe(lambda: heard.append(titles(registry)))
    begun, gate = held(monkeypatch, "2")

    with ThreadPoolExecutor(2) as pool:
        reloading = pool.submit(registry.reload, "quadrants")
        assert begun.wait(LONG_S)
        unloading = pool.submit(registry.unload, "quadrants")
        was_done = unloading.done()
        gate.set()
        reloading.result(LONG_S)
        unloading.result(LONG_S)

    assert not was_done
    assert heard == [["quadrants/1"], ["quadrants/1", "quadrants/2"], []]


def test_reloads_under_load_cause_no_errors(tmp_path: Path) -> None:
    """Threads predict while versions are added, refused and dropped."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    predictor = Predictor(registry)
    stop = threading.Event()
    began = [threading.Event() for _ in range(3)]

    def ask(began: threading.Event) -> set[str]:
        seen = set()
        while not stop.is_set():
            model = predictor.find("quadrants")
            logits = predictor.predict(model, toys.dot(1)[None]).scores.logits
            assert logits.tolist() == [[0, 1, 0, 0]]
            registry.check_ready()
            assert [standing for standing in registry.index() if standing.is_ready]
            seen.add(model.version)
            began.set()
        return seen

    with ThreadPoolExecutor(len(began)) as pool:
        asking = [pool.submit(ask, event) for event in began]
        try:
            assert all(event.wait(LONG_S) for event in began)
            for number in range(2, 12):
                publish(tmp_path, 1)
                if number % 3 == 0:
                    spoil(tmp_path, str(number))
                    with pytest.raises(ReloadRefused):
                        registry.reload("quadrants")
                    shutil.rmtree(tmp_path / "quadrants" / str(number))
                    publish(tmp_path, 1)
                if number > 3:
                    shutil.rmtree(tmp_path / "quadrants" / str(number - 3))
                registry.reload("quadrants")
        finally:
            stop.set()
        seen = [future.result(LONG_S) for future in asking]

    assert all(seen)
    assert titles(registry) == ["quadrants/9", "quadrants/10", "quadrants/11"]


def test_a_staged_change_is_invisible_until_it_is_committed(tmp_path: Path) -> None:
    """It has the versions that would be served."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    publish(tmp_path, 1)

    staged = registry.stage_load("quadrants")
    before = titles(registry)
    registry.stage_unload("quadrants")
    registry.commit(staged)

    assert before == ["quadrants/1"]
    assert (staged.served, staged.error) == ({"quadrants": ["1", "2"]}, None)
    assert titles(registry) == ["quadrants/1", "quadrants/2"]


def test_a_staged_change_considers_the_given_versions_only(tmp_path: Path) -> None:
    """So several processes load the same, even if a version is published meanwhile."""
    publish(tmp_path, 3)
    registry = Registry(tmp_path)
    registry.load({("quadrants", "1")})

    staged = registry.stage_load("quadrants", {("quadrants", "1"), ("quadrants", "2")})

    assert staged.served == {"quadrants": ["1", "2"]}


def test_a_staged_change_cannot_be_committed_after_another(tmp_path: Path) -> None:
    """It would undo the other."""
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    staged = registry.stage_load("quadrants")
    registry.unload("quadrants")

    with pytest.raises(RuntimeError, match="another change"):
        registry.commit(staged)

    assert titles(registry) == []


def test_all_models_are_reloaded_as_one_change(tmp_path: Path) -> None:
    """Unloaded models stay unloaded, and those without folders are still served."""
    for name in ("gone", "quadrants", "unloaded"):
        publish(tmp_path, 1, name)
    registry = loaded(tmp_path)
    registry.unload("unloaded")
    seen = []
    registry.subscribe(lambda: seen.append(titles(registry)))
    shutil.rmtree(tmp_path / "gone")
    for name in ("new", "quadrants", "unloaded"):
        publish(tmp_path, 1, name)

    staged = registry.stage_reload()
    registry.commit(staged)

    assert staged.error is None
    assert seen == [["gone/1", "quadrants/1"], ["gone/1", "new/1", "quadrants/1", "quadrants/2"]]
    assert staged.served == {"gone": ["1"], "new": ["1"], "quadrants": ["1", "2"]}
    with pytest.raises(ModelNotReady, match="it was unloaded"):
        registry.get("unloaded")


def test_a_reload_of_everything_names_every_refused_folder(tmp_path: Path) -> None:
    """Valid versions are served, and no version is dropped."""
    for name in ("one", "two"):
        publish(tmp_path, 1, name)
    registry = loaded(tmp_path)
    for name in ("one", "two", "three"):
        publish(tmp_path, 1, name)
    spoil(tmp_path, "2", "one")
    spoil(tmp_path, "2", "two")

    staged = registry.stage_reload()
    registry.commit(staged)

    assert isinstance(staged.error, ReloadRefused)
    assert [reason.partition(":")[0] for reason in staged.error.refused] == ["one/2", "two/2"]
    assert titles(registry) == ["one/1", "three/1", "two/1"]


def test_a_reload_without_a_models_folder_drops_no_model(tmp_path: Path) -> None:
    """The error has no path."""
    root = tmp_path / "models"
    publish(root, 1)
    registry = loaded(root)
    shutil.rmtree(root)

    staged = registry.stage_reload()

    assert isinstance(staged.error, ReloadRefused)
    assert str(tmp_path) not in str(staged.error)
    assert staged.served == {"quadrants": ["1"]}


def test_a_model_that_was_unloaded_before_the_start_is_known_but_not_loaded(tmp_path: Path) -> None:
    """In the replacement of a dead worker."""
    publish(tmp_path, 2)
    publish(tmp_path, 1, "other")
    registry = Registry(tmp_path)

    registry.load({("quadrants", "1"), ("other", "1")}, unloaded={"quadrants"})

    assert titles(registry) == ["other/1"]
    assert statuses(registry) == [("1", True), ("1", False)]
    registry.check_ready()
    with pytest.raises(ModelNotReady, match="it was unloaded"):
        registry.get("quadrants")
