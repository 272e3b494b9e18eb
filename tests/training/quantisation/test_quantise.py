import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.core.artifact.artifact import Artifact
from service.core.network import dense_layers
from service.core.network.attribution import explain
from service.core.network.engine import Engine
from training.data.data_sets import FitJob
from training.data.examples import Split
from training.errors import DataMismatch
from training.evaluation import ood
from training.fitting.jobs import FitContext
from training.fitting.loop import FitCallbacks
from training.publishing.publish import publish_quantised
from training.quantisation.quantise import Quantised, quantise
from training.recipes.recipe import Recipe
from training.run import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantise")


@pytest.fixture(scope="module")
def jobs(official: Split) -> tuple[FitJob, ...]:
    return (FitJob("published", official, (11,)),)


@pytest.fixture(scope="module")
def context(folder: Path, callbacks: FitCallbacks) -> FitContext:
    return FitContext(folder / "runs", lambda *_: callbacks, lambda _: None)


@pytest.fixture(scope="module")
def floats(recipe: Recipe, jobs: tuple[FitJob, ...], context: FitContext, folder: Path) -> Artifact:
    """A published float32 network."""
    return run(replace(recipe, lesson_seeds=(), epochs=8), jobs, context, folder / "models").artifact


def _history(published: Artifact, models: Path) -> bytes:
    manifest = published.manifest
    return (models / manifest.name / manifest.version / "report" / "history.json").read_bytes()


@pytest.fixture(scope="module")
def quantised(
    floats: Artifact,
    recipe: Recipe,
    jobs: tuple[FitJob, ...],
    context: FitContext,
    folder: Path,
    lesson: Split,
) -> Quantised:
    return quantise(
        floats, _history(floats, folder / "models"), recipe, jobs, context, {"others": lesson.train}
    )


@pytest.fixture(scope="module")
def whole(quantised: Quantised, folder: Path) -> Artifact:
    """The same network in whole numbers, published beside it."""
    return publish_quantised(quantised.model, folder / "models").artifact


def test_a_quantised_network_is_the_next_version(floats: Artifact, whole: Artifact) -> None:
    """
    Its outputs are near those of the float32 version, from a file with int8 weights.
    """
    images = floats.golden.images

    before, after = (Engine.load(each).run(images).logits for each in (floats, whole))

    assert (floats.identity, whole.identity) == ("toy/1", "toy/2")
    assert len(whole.manifest.layers) == len(floats.manifest.layers)
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()
    assert not np.array_equal(before, after)


def test_explanations_of_a_quantised_network_add_up_to_the_logit(whole: Artifact, official: Split) -> None:
    """
    For every class, on training images and on noise.
    """
    noise = np.random.default_rng(1).integers(0, 256, (20, 6, 5), np.uint8)
    images = np.concatenate([official.train.pixels[:20], noise])
    layers, logits = dense_layers.read(whole), Engine.load(whole).run(images).logits

    for label in range(3):
        found = explain(layers, images, np.full(len(images), label))
        sums = found.shares.reshape(len(images), -1).sum(axis=1) + found.bias
        np.testing.assert_allclose(sums, logits[:, label], atol=1e-5 * max(1, np.abs(logits).max()))


def test_its_manifest_records_the_quantisation(floats: Artifact, whole: Artifact, official: Split) -> None:
    """
    Recipe and data of the float32 version, the source version and the calibration images.
    """
    manifest = whole.manifest
    quantised: Any = manifest.recipe["quantised"]

    assert {**manifest.recipe, "quantised": None} == {**floats.manifest.recipe, "quantised": None}
    assert (quantised["from"], quantised["sha256"]) == ("toy/1", floats.manifest.sha256["model.onnx"])
    assert quantised["calibration"] == len(official.train)
    assert quantised["calibration_sha256"] == official.train.sha256
    assert manifest.data[:-1] == floats.manifest.data
    assert (manifest.data[-1].split, manifest.data[-1].sha256) == (
        "calibration, of official train",
        official.train.sha256,
    )


def test_its_figures_are_its_own(
    whole: Artifact, quantised: Quantised, official: Split, lesson: Split
) -> None:
    """
    Train and test as predicted by its file; comparisons on these and on unseen images.
    """
    engine = Engine.load(whole)
    parts = {"train": official.train, "test": official.parts["test"]}

    for part, examples in parts.items():
        right = (engine.run(examples.pixels).logits.argmax(1) == examples.labels).mean()
        (metric,) = [metric for metric in whole.manifest.metrics if metric.split == part]
        assert metric.accuracy == pytest.approx(right)
    assert [(each.images, each.examples, each.is_gate) for each in quantised.comparisons] == [
        ("made up, train", 60, False),
        ("made up, test", 30, True),
        ("others, not met", len(lesson.train), True),
    ]


def test_its_history_is_that_of_the_published_fit(whole: Artifact, folder: Path) -> None:
    """
    Other fits are omitted.
    """
    history = json.loads(_history(whole, folder / "models"))

    assert [fit["fit"] for fit in history["fits"]] == ["published"]
    assert len(history["fits"][0]["epochs"]) == 8


def test_the_same_quantised_network_is_not_published_twice(
    quantised: Quantised, whole: Artifact, folder: Path
) -> None:
    """
    The existing version is found.
    """
    again = publish_quantised(quantised.model, folder / "models")

    assert not again.is_new
    assert again.artifact.identity == whole.identity


def test_other_data_is_refused(floats: Artifact, recipe: Recipe, context: FitContext, lesson: Split) -> None:
    """
    Calibration on other images than the training images is an error.
    """
    with pytest.raises(DataMismatch, match="toy/1"):
        quantise(floats, b"", recipe, (FitJob("published", lesson, (11,)),), context, {})


def test_the_effect_on_held_out_donors_is_measured_on_their_fits(
    inky: Recipe,
    ink_jobs: tuple[FitJob, ...],
    callbacks: FitCallbacks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Each fit is calibrated on its own training images; strokes are a gate, and sure predictions are counted
    again.
    """
    monkeypatch.setattr(ood, "NONDIGITS", 30)
    context = FitContext(tmp_path / "runs", lambda *_: callbacks, lambda _: None)
    letters = {"letter": ink_jobs[0].split.extra["strokes"].pixels}
    jobs = [replace(job, nondigits=letters if job.role == "held-out" else {}) for job in ink_jobs]
    published = run(inky, jobs, context, tmp_path / "models").artifact

    quantised = quantise(published, b"", replace(inky, epochs=1), jobs, context, {})
    manifest = publish_quantised(quantised.model, tmp_path / "models").artifact.manifest

    found = {each.images: each for each in quantised.comparisons}
    assert found["digits, not met: strokes, fits of 1 epochs"].examples == 15
    assert found["no digit, fits of 1 epochs"].examples == 3 * 30
    assert found["no digit: letter, fits of 1 epochs"].examples == 3 * len(letters["letter"])
    assert [each.images for each in quantised.comparisons if each.is_gate] == [
        "MNIST and pen strokes, test",
        "digits, not met: strokes, fits of 1 epochs",
    ]
    assert published.manifest.certainty is not None
    assert manifest.certainty is not None
    assert manifest.certainty.threshold == published.manifest.certainty.threshold
    assert manifest.temperature == published.manifest.temperature
    for share in (*manifest.certainty.kept, *manifest.certainty.passed):
        assert share.share == pytest.approx(found[share.images].sure_after, abs=1e-5)
