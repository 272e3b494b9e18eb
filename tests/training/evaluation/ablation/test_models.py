import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from service.core.artifact import artifact
from tests import toys
from tests.training.evaluation.ablation.toys import IMAGES, MNIST, MODEL
from training.evaluation.ablation import image_sets, models, steps
from training.evaluation.ablation.models import Accuracy, accuracy, load_model, load_models, sure_shares


def test_each_donor_is_predicted_by_its_held_out_network() -> None:
    """
    One network predicts 1 for a's digits, another 2 for b's; MNIST is predicted by the published one.
    """
    assert accuracy(MODEL, IMAGES, steps.SCALED) == Accuracy(3, 4)
    assert accuracy(MODEL, IMAGES, steps.SCALED, "a") == Accuracy(2, 2)
    assert accuracy(MODEL, IMAGES, steps.SCALED, "b") == Accuracy(1, 2)
    assert accuracy(MODEL, MNIST, steps.SCALED) == Accuracy(1, 2)


def test_an_accuracy_has_its_standard_error() -> None:
    """
    90 of 100: the square root of 0.9 * 0.1 / 100 is 3 points.
    """
    assert str(Accuracy(90, 100)) == "90.0 ± 3.0"


def test_networks_fitted_on_mnist_are_held_out_for_all_donors(published: Path, tmp_path: Path) -> None:
    """
    They were fitted on no donor.
    """
    images: NDArray[np.uint8] = np.zeros((2, 28, 28), np.uint8)

    found = [model for model in load_models(published, tmp_path, ["a"]) if model.name.startswith("mlp-128")]

    assert len(found) >= 2
    for model in found:
        np.testing.assert_array_equal(model.held_out["a"](images), model.predict(images))


def test_networks_fitted_on_strokes_need_their_folds(published: Path, tmp_path: Path) -> None:
    """
    One file per donor, with the same layers; missing donors are not measured.
    """
    model = published / "softmax" / "1" / "model.onnx"
    (tmp_path / "b.onnx").write_bytes(model.read_bytes())
    learnt = artifact.read(published, "softmax", "1")
    manifest = learnt.manifest.model_copy(update={"recipe": {"data": "ink"}})
    images: NDArray[np.uint8] = np.full((3, 28, 28), 7, np.uint8)

    found = load_model(replace(learnt, manifest=manifest), tmp_path, ["a", "b"])

    assert found.held_out.keys() == {"b"}
    np.testing.assert_allclose(found.held_out["b"](images), found.predict(images), atol=1e-3)


def test_folds_belong_to_the_newest_network_in_floats(published: Path, tmp_path: Path) -> None:
    """
    An older version was fitted otherwise, and its folds were replaced.
    """
    models = tmp_path / "models"
    shutil.copytree(published / "softmax", models / "softmax")
    for version in ("1", "2"):
        manifest = models / "softmax" / version / "manifest.json"
        content = json.loads(manifest.read_text())
        content["recipe"]["data"] = "ink"
        manifest.write_text(json.dumps(content))
    (tmp_path / "a.onnx").write_bytes((published / "softmax" / "2" / "model.onnx").read_bytes())

    found = {model.name: model.held_out.keys() for model in load_models(models, tmp_path, ["a"])}

    assert found["softmax 1"] == set()
    assert found["softmax 2"] == {"a"}


def test_float_folds_do_not_count_for_quantised_networks(tmp_path: Path) -> None:
    """
    A quantised network has no held-out donors, since its folds are not kept.
    """
    whole = toys.publish_rounded(tmp_path)
    manifest = whole.manifest.model_copy(update={"recipe": {"data": "ink"}})
    (tmp_path / "a.onnx").write_bytes(whole.model)

    found = load_model(replace(whole, manifest=manifest), tmp_path, ["a"])

    assert found.held_out == {}


def test_sure_shares_of_a_manifest_are_table_rows() -> None:
    """
    Kept digits and passed non-digits, with their numbers.
    """
    share = SimpleNamespace(images="drawings of no digit", examples=3000, share=0.071)
    kept = SimpleNamespace(images="strokes", examples=9771, share=0.99)
    manifest = SimpleNamespace(certainty=SimpleNamespace(kept=(kept,), passed=(share,)))

    # a stand-in: of an artifact only the manifest's certainty is read
    lines = sure_shares(SimpleNamespace(manifest=manifest))  # type: ignore[arg-type]

    assert lines == (
        "| strokes | 9,771 | 99.0% |",
        "| drawings of no digit | 3,000 | 7.1% |",
    )


def test_wrong_predictions_that_are_sure_are_counted_unless_the_picture_was_unclear() -> None:
    """
    Three wrong ones: one is not sure, one is of an unclear picture.
    """
    labels = np.array([0, 1, 1, 1])
    logits = np.array([[9.0, 0], [9, 0], [1, 0], [9, 0]], np.float32)
    pixels = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 28, 28), np.uint8)
    model = models.AblationModel(
        "toy 1", lambda some: logits[some[:, 0, 0]], {}, (), lambda scores: scores.max(axis=1) > 5
    )
    images = image_sets.ImageSet(
        "toys",
        labels,
        np.array([], np.str_),
        {"all clear": pixels, "one unclear": pixels},
        {"one unclear": np.array([True, True, True, False])},
    )

    all_clear, one_unclear = (models.accuracy(model, images, step) for step in images.by_step)

    assert str(all_clear) == "25.0 ± 21.7 (50.0)"
    assert one_unclear == models.Accuracy(1, 4, 1)
