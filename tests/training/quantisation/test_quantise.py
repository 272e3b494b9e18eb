import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.core import network
from service.core.artifact import Artifact
from service.core.engine import Engine
from service.core.explanation import explain
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
def context(folder: Path, watch: FitCallbacks) -> FitContext:
    return FitContext(folder / "runs", lambda *_: watch, lambda _: None)


@pytest.fixture(scope="module")
def floats(recipe: Recipe, jobs: tuple[FitJob, ...], context: FitContext, folder: Path) -> Artifact:
    """A published network in floats."""
    return run(replace(recipe, lesson_seeds=(), epochs=8), jobs, context, folder / "models").artifact


def _history(published: Artifact, models: Path) -> bytes:
    manifest = published.manifest
    return (models / manifest.name / manifest.version / "report" / "history.json").read_bytes()


@pytest.fixture(scope="module")
def made(
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
def whole(made: Quantised, folder: Path) -> Artifact:
    """The same network in whole numbers, published beside it."""
    return publish_quantised(made.model, folder / "models").artifact


def test_a_network_in_whole_numbers_is_the_next_version(floats: Artifact, whole: Artifact) -> None:
    """
    It answers nearly as the one that it was made of, from a file with int8 in it.
    """
    images = floats.golden.images

    before, after = (Engine.load(each).run(images).logits for each in (floats, whole))

    assert (floats.identity, whole.identity) == ("toy/1", "toy/2")
    assert len(whole.manifest.layers) == len(floats.manifest.layers)
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()
    assert not np.array_equal(before, after)


def test_an_explanation_of_whole_numbers_adds_up_to_the_engines_logit(
    whole: Artifact, official: Split
) -> None:
    """
    For every class, of images that it has learnt from and of noise.
    """
    noise = np.random.default_rng(1).integers(0, 256, (20, 6, 5), np.uint8)
    images = np.concatenate([official.train.pixels[:20], noise])
    layers, logits = network.read(whole), Engine.load(whole).run(images).logits

    for label in range(3):
        found = explain(layers, images, np.full(len(images), label))
        sums = found.shares.reshape(len(images), -1).sum(axis=1) + found.bias
        np.testing.assert_allclose(sums, logits[:, label], atol=1e-5 * max(1, np.abs(logits).max()))


def test_its_manifest_says_what_it_was_made_of(floats: Artifact, whole: Artifact, official: Split) -> None:
    """
    Recipe and data of the network in floats, and of the rounding: from which version, by which images.
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


def test_its_figures_are_its_own(whole: Artifact, made: Quantised, official: Split, lesson: Split) -> None:
    """
    Train and test as its file answers them; what it lost is said of these and of what it has not met.
    """
    engine = Engine.load(whole)
    parts = {"train": official.train, "test": official.parts["test"]}

    for part, examples in parts.items():
        right = (engine.run(examples.pixels).logits.argmax(1) == examples.labels).mean()
        (metric,) = [metric for metric in whole.manifest.metrics if metric.split == part]
        assert metric.accuracy == pytest.approx(right)
    assert [(loss.images, loss.examples, loss.is_gate) for loss in made.comparisons] == [
        ("made up, train", 60, False),
        ("made up, test", 30, True),
        ("others, not met", len(lesson.train), True),
    ]


def test_its_report_begins_with_the_curve_of_the_fit_that_was_rounded(whole: Artifact, folder: Path) -> None:
    """
    And holds no other.
    """
    history = json.loads(_history(whole, folder / "models"))

    assert [fit["fit"] for fit in history["fits"]] == ["published"]
    assert len(history["fits"][0]["epochs"]) == 8


def test_the_same_again_is_nothing_new(made: Quantised, whole: Artifact, folder: Path) -> None:
    """
    What is there already is found.
    """
    again = publish_quantised(made.model, folder / "models")

    assert not again.is_new
    assert again.artifact.identity == whole.identity


def test_other_data_is_refused(floats: Artifact, recipe: Recipe, context: FitContext, lesson: Split) -> None:
    """
    Numbers that were chosen by other images than the network learnt from would be others.
    """
    with pytest.raises(DataMismatch, match="toy/1"):
        quantise(floats, b"", recipe, (FitJob("published", lesson, (11,)),), context, {})


def test_what_strangers_lose_is_measured_on_fits_that_have_not_met_them(
    inky: Recipe,
    ink_jobs: tuple[FitJob, ...],
    watch: FitCallbacks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Each is rounded by what it learnt from; strokes decide, and what is sure is counted anew.
    """
    monkeypatch.setattr(ood, "NONDIGITS", 30)
    context = FitContext(tmp_path / "runs", lambda *_: watch, lambda _: None)
    published = run(inky, ink_jobs, context, tmp_path / "models").artifact

    made = quantise(published, b"", replace(inky, epochs=1), ink_jobs, context, {})
    manifest = publish_quantised(made.model, tmp_path / "models").artifact.manifest

    found = {loss.images: loss for loss in made.comparisons}
    assert found["digits, not met: strokes, fits of 1 epochs"].examples == 15
    assert found["no digit, fits of 1 epochs"].examples == 3 * 30
    assert [loss.images for loss in made.comparisons if loss.is_gate] == [
        "MNIST and pen strokes, test",
        "digits, not met: strokes, fits of 1 epochs",
    ]
    assert published.manifest.certainty is not None
    assert manifest.certainty is not None
    assert manifest.certainty.threshold == published.manifest.certainty.threshold
    assert manifest.temperature == published.manifest.temperature
    for share in (*manifest.certainty.kept, *manifest.certainty.passed):
        assert share.share == pytest.approx(found[share.images].sure_after, abs=1e-5)
