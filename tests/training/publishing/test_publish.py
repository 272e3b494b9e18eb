import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from service.core.artifact import artifact, checksums
from service.core.artifact.manifest import Certainty, Making, Measurement, Share
from service.core.errors import GoldenMismatch, GraphRefused, ManifestInvalid
from service.core.network import dense_layers
from service.core.network.engine import Engine
from tests import precision, toys
from training.data.examples import Split
from training.errors import ExportMismatch
from training.model.mlp import MLP
from training.publishing.manifest import FittedModel
from training.publishing.onnx_float import to_onnx
from training.publishing.publish import publish
from training.publishing.verification import verify
from training.recipes.recipe import Recipe


def _net(seed: int) -> MLP:
    return MLP(30, (4,), 3, "glorot-uniform", torch.Generator().manual_seed(seed)).eval()


@pytest.fixture(scope="module")
def exported() -> bytes:
    """The file of the network of seed 5, exported once since it takes a second."""
    return to_onnx(_net(5), (6, 5))


@pytest.fixture
def fitted(recipe: Recipe, official: Split, lesson: Split, exported: bytes) -> FittedModel:
    return FittedModel(
        recipe=recipe,
        net=_net(5),
        model=exported,
        splits=(official, lesson),
        making=Making(
            finished="2026-01-01T00:00:00+00:00",
            seconds=1.5,
            seed=11,
            hardware="Abacus 3000",
            threads=1,
            commit="unknown",
            libraries={},
        ),
        metrics=(
            Measurement(
                fit="published",
                data="made up",
                split="test",
                examples=30,
                seeds=(11,),
                accuracy=0.5,
                spread=None,
                loss=1.0,
            ),
        ),
        report={"history.json": b"{}"},
    )


def _interrupt_at(count: int) -> Callable[[int], None]:
    """An fsync that raises at its count-th call."""
    calls: list[int] = []

    def flush(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == count:
            raise KeyboardInterrupt

    return flush


def test_a_published_folder_loads_in_the_service(fitted: FittedModel, tmp_path: Path) -> None:
    """
    The loaded model returns the network's outputs.
    """
    publish(fitted, tmp_path)

    engine = Engine.load(artifact.read(tmp_path, "toy", "1"))
    images = fitted.splits[0].parts["test"].pixels
    logits = fitted.net(torch.tensor(images)).detach().numpy()
    error = precision.logit_error(fitted.net.numpy_layers(), images)
    assert np.all(np.abs(engine.run(images).logits - logits) <= 2 * error)


def test_a_manifest_records_how_its_network_was_made(fitted: FittedModel, tmp_path: Path) -> None:
    """
    Recipe, data with digests, layers with parameters, and measurements.
    """
    manifest = publish(fitted, tmp_path).artifact.manifest

    assert manifest.recipe["learning_rate"] == 0.3
    assert manifest.parameters == 30 * 4 + 4 + 4 * 3 + 3
    assert manifest.labels == ("zero", "one", "two")
    assert [source.split for source in manifest.data] == [
        "official train",
        "official test",
        "lesson train",
        "lesson valid",
        "lesson test",
    ]
    assert manifest.data[0].sha256 == fitted.splits[0].train.sha256
    assert manifest.making == fitted.making
    assert manifest.metrics == fitted.metrics


def test_the_layers_of_a_manifest_find_their_weights(fitted: FittedModel, tmp_path: Path) -> None:
    """
    Weight images can be drawn: [inputs, units] of each layer.
    """
    found = dense_layers.read(publish(fitted, tmp_path).artifact)

    for name, layer in fitted.net.dense.items():
        np.testing.assert_array_equal(found[name].weight, layer.weight.detach().numpy().T)


@pytest.fixture
def tempered(fitted: FittedModel) -> FittedModel:
    """The same network with a temperature and an OOD threshold."""
    shares = (Share(images="made up", examples=10, share=0.9),)
    certainty = Certainty(score="energy", threshold=1.5, kept=shares, passed=shares)
    model = to_onnx(fitted.net, (6, 5), temperature=2.5)
    return replace(fitted, model=model, temperature=2.5, certainty=certainty)


def test_a_temperature_is_published(tempered: FittedModel, tmp_path: Path) -> None:
    """
    Manifest, network, layers and golden examples agree with it.
    """
    published = publish(tempered, tmp_path).artifact

    assert published.manifest.temperature == 2.5
    assert published.manifest.certainty == tempered.certainty
    logits = published.golden.logits
    off = np.abs(published.golden.probabilities - toys.softmax(logits, 2.5))
    assert np.all(off <= precision.softmax_error(logits, 2.5))
    verify(published, tempered.net, tempered.splits[0].train.pixels)


@pytest.mark.parametrize("wrong", [1.0, 2.4])
def test_a_wrong_temperature_is_not_published(tempered: FittedModel, tmp_path: Path, wrong: float) -> None:
    """
    Golden examples at another temperature than the file's do not match.
    """
    with pytest.raises((GoldenMismatch, GraphRefused)):
        publish(replace(tempered, temperature=wrong), tmp_path / "models")

    assert not (tmp_path / "models").exists()


def test_another_threshold_becomes_the_next_version(tempered: FittedModel, tmp_path: Path) -> None:
    """
    The same weights with another OOD threshold are another version.
    """
    publish(tempered, tmp_path)
    second = publish(replace(tempered, certainty=None), tmp_path)

    assert second.is_new
    assert (second.artifact.manifest.version, second.artifact.manifest.certainty) == ("2", None)


def test_golden_examples_come_from_no_data_set(fitted: FittedModel, tmp_path: Path) -> None:
    """
    They are generated; none is an image of the data.
    """
    golden = publish(fitted, tmp_path).artifact.golden

    known = {
        image.tobytes() for split in fitted.splits for part in split.parts.values() for image in part.pixels
    }
    assert len(golden.images) == 8
    assert not any(image.tobytes() in known for image in golden.images)


def test_the_same_network_is_not_published_twice(fitted: FittedModel, tmp_path: Path) -> None:
    """
    A second run with the same result finds the first one's folder.
    """
    first = publish(fitted, tmp_path)
    second = publish(fitted, tmp_path)

    assert (first.is_new, second.is_new) == (True, False)
    assert second.artifact.manifest.version == "1"
    assert artifact.versions(tmp_path) == {"toy": ["1"]}


def test_published_files_are_listed_with_their_digests(fitted: FittedModel, tmp_path: Path) -> None:
    """
    Also by the next run, if the first one was killed before.
    """
    publish(fitted, tmp_path)
    listed = checksums.read(tmp_path)
    assert listed == checksums.of_version(tmp_path, "toy", "1")

    (tmp_path / "SHA256SUMS").unlink()
    publish(fitted, tmp_path)

    assert checksums.read(tmp_path) == listed


def test_an_unreadable_list_of_digests_prevents_publication(fitted: FittedModel, tmp_path: Path) -> None:
    """
    The list is unchanged.
    """
    (tmp_path / "SHA256SUMS").write_text("no digest\n")

    with pytest.raises(ManifestInvalid, match="SHA256SUMS: line 1"):
        publish(fitted, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["SHA256SUMS"]


def test_staging_folders_of_killed_runs_are_removed(fitted: FittedModel, tmp_path: Path) -> None:
    """
    Of every model, if older than an hour; a newer one may be in use.
    """
    for name, hours in (("toy", 2), ("other", 2), ("third", 0)):
        left = tmp_path / name / ".staging-killed"
        left.mkdir(parents=True)
        changed = left.stat().st_mtime - 3600 * hours
        os.utime(left, (changed, changed))

    publish(fitted, tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == [
        "third/.staging-killed",
        "toy/1",
    ]


def test_another_recipe_becomes_the_next_version(fitted: FittedModel, recipe: Recipe, tmp_path: Path) -> None:
    """
    Published versions never change; another recipe gets the next number.
    """
    publish(fitted, tmp_path)
    second = publish(replace(fitted, recipe=replace(recipe, epochs=5)), tmp_path)

    assert second.is_new
    assert second.artifact.manifest.version == "2"


def test_a_recipe_may_publish_under_another_name(fitted: FittedModel, recipe: Recipe, tmp_path: Path) -> None:
    """
    The manifest has the model's name, and its recipe its own name.
    """
    publish(fitted, tmp_path)

    found = publish(replace(fitted, recipe=replace(recipe, name="toy-b", model="toy")), tmp_path)

    manifest = found.artifact.manifest
    assert (manifest.name, manifest.version) == ("toy", "2")
    assert (manifest.recipe["name"], manifest.recipe["model"]) == ("toy-b", "toy")


def test_a_broken_version_does_not_prevent_the_next(fitted: FittedModel, tmp_path: Path) -> None:
    """
    A damaged folder is skipped in the search for the same network.
    """
    publish(fitted, tmp_path)
    (tmp_path / "toy" / "1" / "model.onnx").write_bytes(b"damaged")

    second = publish(fitted, tmp_path)

    assert second.artifact.manifest.version == "2"


@pytest.mark.parametrize("count", [1, 4, 5, 6, 8])
def test_an_interrupted_publication_leaves_no_version(
    fitted: FittedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """
    At any point of the interruption there is no folder and no part of one, and the next attempt is version
    1.
    """
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", _interrupt_at(count))

    with pytest.raises(KeyboardInterrupt):
        publish(fitted, tmp_path)
    monkeypatch.setattr(os, "fsync", flush)

    assert [path for path in tmp_path.rglob("*") if path.name != "toy"] == []
    assert publish(fitted, tmp_path).artifact.manifest.version == "1"


def test_a_file_that_differs_from_its_network_is_not_published(fitted: FittedModel, tmp_path: Path) -> None:
    """
    Golden examples reveal other weights.
    """
    with pytest.raises(GoldenMismatch):
        publish(replace(fitted, net=_net(6)), tmp_path / "models")

    assert not (tmp_path / "models").exists()


def test_verification_compares_with_the_network(fitted: FittedModel, tmp_path: Path) -> None:
    """
    A consistent folder of another network is refused.
    """
    published = publish(fitted, tmp_path).artifact
    images = fitted.splits[0].train.pixels

    verify(published, fitted.net, images)
    with pytest.raises(ExportMismatch, match="its network within 1e-05"):
        verify(published, _net(6), images)


def test_verification_compares_with_the_sums_over_the_layers(fitted: FittedModel, tmp_path: Path) -> None:
    """
    A file with correct outputs from other weights than its layers name is refused.
    """
    published = publish(fitted, tmp_path).artifact
    model = onnx.load_from_string(published.model)
    shown = onnx.numpy_helper.from_array(np.zeros((4, 30), np.float32), "shown")
    model.graph.initializer.append(shown)
    layers = tuple(
        layer.model_copy(update={"weight": "shown"}) if layer.name == "hidden1" else layer
        for layer in published.manifest.layers
    )
    disguised = replace(
        published,
        manifest=published.manifest.model_copy(update={"layers": layers}),
        model=model.SerializeToString(),
    )

    with pytest.raises(ExportMismatch, match="the sums over its layers"):
        verify(disguised, fitted.net, fitted.splits[0].train.pixels)
