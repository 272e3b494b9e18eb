from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from service.core import artifact
from tests import toys
from tests.training.evaluation.ablation.toys import IMAGES, MNIST, MODEL
from training.evaluation.ablation import steps
from training.evaluation.ablation.models import Accuracy, accuracy, load_model, load_models, sure_shares


def test_each_donor_is_read_by_the_network_that_never_saw_them() -> None:
    """
    One network says 1 of a's digits, another 2 of b's; MNIST is read by the published one.
    """
    assert accuracy(MODEL, IMAGES, steps.SCALED) == Accuracy(3, 4)
    assert accuracy(MODEL, IMAGES, steps.SCALED, "a") == Accuracy(2, 2)
    assert accuracy(MODEL, IMAGES, steps.SCALED, "b") == Accuracy(1, 2)
    assert accuracy(MODEL, MNIST, steps.SCALED) == Accuracy(1, 2)


def test_a_share_comes_with_its_standard_error() -> None:
    """
    90 of 100: the root of 0.9 * 0.1 / 100 is 3 points.
    """
    assert str(Accuracy(90, 100)) == "90.0 ± 3.0"


def test_published_networks_are_loaded_as_strangers_to_all_donors(published: Path, tmp_path: Path) -> None:
    """
    Those that learnt from MNIST alone have met none of them.
    """
    images: NDArray[np.uint8] = np.zeros((2, 28, 28), np.uint8)

    found = [model for model in load_models(published, tmp_path, ["a"]) if model.name.startswith("mlp-128")]

    assert len(found) >= 2
    for model in found:
        np.testing.assert_array_equal(model.held_out["a"](images), model.predict(images))


def test_a_network_that_learnt_from_strokes_needs_its_folds(published: Path, tmp_path: Path) -> None:
    """
    A file per donor, of the same layers; what is missing is missing.
    """
    model = published / "softmax" / "1" / "model.onnx"
    (tmp_path / "b.onnx").write_bytes(model.read_bytes())
    learnt = artifact.read(published, "softmax", "1")
    manifest = learnt.manifest.model_copy(update={"recipe": {"data": "ink"}})
    images: NDArray[np.uint8] = np.full((3, 28, 28), 7, np.uint8)

    found = load_model(replace(learnt, manifest=manifest), tmp_path, ["a", "b"])

    assert found.held_out.keys() == {"b"}
    np.testing.assert_allclose(found.held_out["b"](images), found.predict(images), atol=1e-3)


def test_folds_in_floats_do_not_speak_for_whole_numbers(tmp_path: Path) -> None:
    """
    Nothing is claimed of strangers for a network in whole numbers, whose folds nobody keeps.
    """
    whole = toys.publish_rounded(tmp_path)
    manifest = whole.manifest.model_copy(update={"recipe": {"data": "ink"}})
    (tmp_path / "a.onnx").write_bytes(whole.model)

    found = load_model(replace(whole, manifest=manifest), tmp_path, ["a"])

    assert found.held_out == {}


def test_what_a_manifest_says_of_certainty_is_told() -> None:
    """
    Kept digits and passing non-digits, with how many there were.
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
