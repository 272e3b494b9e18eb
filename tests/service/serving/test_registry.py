import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.core.errors import (
    DigestMismatch,
    GoldenMismatch,
    GraphRefused,
    ManifestInvalid,
    ModelNotReady,
    UnknownModel,
    UnknownVersion,
)
from service.serving import registry as registry_module
from service.serving.registry import Registry
from tests import toys

LOGGER = registry_module.__name__


def publish(root: Path, versions: int, name: str = "quadrants") -> None:
    """Publish a toy so many times: the same network under each version."""
    for _ in range(versions):
        toys.publish(root, name)


def spoil(root: Path, version: str, name: str = "quadrants") -> None:
    """Change a published file behind its digest's back."""
    file = root / name / version / "model.onnx"
    file.write_bytes(file.read_bytes() + b"\n")


def loaded(root: Path) -> Registry:
    """Return a registry that has loaded a folder."""
    registry = Registry(root)
    registry.load()
    return registry


def titles(registry: Registry) -> list[str]:
    """Return what can answer, as name/version."""
    return [f"{model.name}/{model.version}" for model in registry.models()]


def test_newest_version_is_served_when_none_is_named(tmp_path: Path) -> None:
    """
    The newest as a number: ten is newer than nine.
    """
    publish(tmp_path, 10)

    model = loaded(tmp_path).get("quadrants")

    assert (model.name, model.version) == ("quadrants", "10")


def test_named_version_is_served(tmp_path: Path) -> None:
    """
    Older versions stay in service beside the newest, each with its own weights.
    """
    toys.publish(tmp_path)
    toys.publish(tmp_path, weights=toys.quadrant_weights()[::-1].copy())
    registry = loaded(tmp_path)

    seen = {
        version: int(registry.get("quadrants", version).engine.run(toys.dot(0)[None]).logits.argmax())
        for version in ("1", "2")
    }

    assert seen == {"1": 0, "2": 3}


def test_model_is_complete(tmp_path: Path) -> None:
    """
    A loaded model knows its manifest, runs, and shows its weights.
    """
    publish(tmp_path, 1)

    model = loaded(tmp_path).get("quadrants", "1")

    assert model.manifest.labels == toys.QUARTERS
    assert model.engine.run(toys.dot(2)[None]).logits.tolist() == [[0, 0, 1, 0]]
    np.testing.assert_array_equal(model.layers["output"].weight, toys.quadrant_weights().T)


def test_models_are_listed_by_name_and_oldest_version_first(tmp_path: Path) -> None:
    """
    In the order in which people look for them.
    """
    publish(tmp_path, 2, "second")
    publish(tmp_path, 1, "first")

    assert titles(loaded(tmp_path)) == ["first/1", "second/1", "second/2"]


def test_unknown_model_is_named_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    """
    The caller learns what could have been asked for.
    """
    publish(tmp_path, 1)

    with pytest.raises(UnknownModel, match="quadrants; got 'quadrant'"):
        loaded(tmp_path).get("quadrant")


@pytest.mark.parametrize("version", ["3", "0", "01", "", "newest", "-1"])
def test_unknown_version_is_named_and_the_known_ones_are_listed(tmp_path: Path, version: str) -> None:
    """
    A version is the name it was published under, and nothing that looks like it.
    """
    publish(tmp_path, 2)

    with pytest.raises(UnknownVersion, match=f"1, 2; got '{version}'"):
        loaded(tmp_path).get("quadrants", version)


def test_refused_folder_keeps_the_others_serving(tmp_path: Path) -> None:
    """
    The newest version is broken: the one before it answers, and so do other models.
    """
    publish(tmp_path, 3)
    publish(tmp_path, 1, "other")
    spoil(tmp_path, "3")

    registry = loaded(tmp_path)

    assert titles(registry) == ["other/1", "quadrants/1", "quadrants/2"]
    assert registry.get("quadrants").version == "2"
    registry.check_ready()


def test_refused_version_is_not_ready_rather_than_unknown(tmp_path: Path) -> None:
    """
    It is published, so whoever asks for it may come back when it is repaired.
    """
    publish(tmp_path, 2)
    spoil(tmp_path, "2")

    with pytest.raises(ModelNotReady, match="version 2 was refused"):
        loaded(tmp_path).get("quadrants", "2")


def test_refused_folder_is_logged_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    One line at level error, which names the artifact and no path.
    """
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


def test_ready_model_is_logged_with_its_threads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Who reads the log knows what is served, and with how many threads.
    """
    publish(tmp_path, 1)
    registry = Registry(tmp_path, engine_threads=2)

    with caplog.at_level(logging.INFO, logger=LOGGER):
        registry.load()

    fields = [vars(record)["fields"] for record in caplog.records]
    assert fields == [{"model": "quadrants", "version": "1", "threads": 2}]


def test_every_kind_of_broken_folder_is_kept_out(tmp_path: Path) -> None:
    """
    Broken manifest, broken digest, broken network, other answers: none stops the rest.
    """
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


def test_model_whose_versions_were_all_refused_is_not_ready(tmp_path: Path) -> None:
    """
    It is not unknown, and the service is not ready either.
    """
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


def test_service_with_every_model_is_ready(tmp_path: Path) -> None:
    """
    Nothing is refused, so nothing is raised.
    """
    publish(tmp_path, 1)
    registry = loaded(tmp_path)

    registry.check_ready()

    assert registry.refused() == []


def test_empty_folder_is_served_but_not_ready(tmp_path: Path) -> None:
    """
    A process without models lives, and says that nothing is published.
    """
    registry = loaded(tmp_path)

    with pytest.raises(ModelNotReady, match="nothing is published"):
        registry.check_ready()
    with pytest.raises(UnknownModel, match=r"\(none\)"):
        registry.get("quadrants")
    assert (registry.models(), registry.refused()) == ([], [])


def test_registry_is_not_ready_before_it_has_loaded(tmp_path: Path) -> None:
    """
    Nothing answers before its golden examples are reproduced.
    """
    publish(tmp_path, 1)

    with pytest.raises(ModelNotReady):
        Registry(tmp_path).check_ready()


def test_half_published_version_is_not_loaded(tmp_path: Path) -> None:
    """
    A trainer that was killed leaves a staging folder; it is neither served nor complained of.
    """
    publish(tmp_path, 1)
    shutil.copytree(tmp_path / "quadrants" / "1", tmp_path / "quadrants" / ".staging-x")

    registry = loaded(tmp_path)

    assert titles(registry) == ["quadrants/1"]
    assert registry.refused() == []


def test_models_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """
    A mistyped folder is not taken for an empty one.
    """
    with pytest.raises(FileNotFoundError):
        loaded(tmp_path / "none")


def test_manifest_that_is_changed_later_changes_nothing_that_is_loaded(tmp_path: Path) -> None:
    """
    What answers is in memory, whole, and does not go back to the disk.
    """
    publish(tmp_path, 1)
    registry = loaded(tmp_path)
    manifest = tmp_path / "quadrants" / "1" / "manifest.json"
    content = json.loads(manifest.read_text())

    manifest.write_text(json.dumps({**content, "description": "Another."}))
    shutil.rmtree(tmp_path / "quadrants")

    model = registry.get("quadrants")
    assert model.manifest.description == "A toy."
    assert model.engine.run(toys.dot(1)[None]).logits.argmax() == 1
