from pathlib import Path

import numpy as np
import pytest

from service.core.errors import TensorMismatch, UnknownModel, UnknownVersion
from service.core.network.ood_score import negative_energy
from service.inference.models.registry import Registry
from service.inference.predictor import Predictor
from tests import precision, toys


@pytest.fixture(scope="module")
def predictor(toy_root: Path) -> Predictor:
    registry = Registry(toy_root)
    registry.load()
    return Predictor(registry)


def test_a_prediction_has_model_images_and_scores(predictor: Predictor) -> None:
    images = np.stack([toys.dot(1), toys.dot(2, 3)])
    model = predictor.find("quadrants", "1")

    prediction = predictor.predict(model, images)

    assert prediction.model is model
    np.testing.assert_array_equal(prediction.images, images)
    assert prediction.scores.logits.tolist() == [[0, 1, 0, 0], [0, 0, 1, 1]]
    logits = prediction.scores.logits
    off = np.abs(prediction.scores.probabilities - toys.softmax(logits))
    assert np.all(off <= precision.softmax_error(logits))


def test_without_a_threshold_sure_is_none(predictor: Predictor) -> None:
    assert predictor.predict(predictor.find("quadrants"), toys.dot(0)[None]).sure is None


def test_sure_is_true_from_the_threshold_on(tmp_path: Path) -> None:
    """
    At temperature 0.5 the energies of no, one and two dots are by hand log(4) / 2 = 0.69,
    log(e ** 2 + 3) / 2 = 1.17 and log(2 * e ** 2 + 2) / 2 = 1.41; the threshold itself is sure.
    """
    exact = float(negative_energy(np.array([[0, 1, 0, 0]], np.float32), 0.5)[0])
    for threshold in (1.0, exact, np.nextafter(exact, 2), 1.3):
        certainty = {**toys.CERTAINTY, "threshold": threshold}
        toys.publish(tmp_path, temperature=0.5, certainty=certainty)
    registry = Registry(tmp_path)
    registry.load()
    predictor = Predictor(registry)
    images = np.stack([toys.dot(), toys.dot(1), toys.dot(0, 3)])

    sure = [predictor.predict(predictor.find("quadrants", v), images).sure for v in ("1", "2", "3", "4")]

    assert [each.tolist() for each in sure if each is not None] == [
        [False, True, True],
        [False, True, True],
        [False, False, True],
        [False, False, True],
    ]


def test_the_newest_version_is_the_default(predictor: Predictor) -> None:
    """Version 2 sees every quarter's opposite."""
    prediction = predictor.predict(predictor.find("quadrants"), toys.dot(0)[None])

    assert prediction.model.version == "2"
    assert prediction.scores.logits.argmax() == 3


def test_a_version_can_be_chosen(predictor: Predictor) -> None:
    prediction = predictor.predict(predictor.find("quadrants", "1"), toys.dot(0)[None])

    assert prediction.model.version == "1"
    assert prediction.scores.logits.argmax() == 0


def test_a_batch_equals_its_rows(predictor: Predictor) -> None:
    model = predictor.find("quadrants", "1")
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28)).astype(np.uint8)

    together = predictor.predict(model, images).scores.logits
    alone = [predictor.predict(model, image[None]).scores.logits for image in images]

    error = precision.logit_error(toys.layers(toys.quadrant_weights()), images)
    assert np.all(np.abs(together - np.concatenate(alone)) <= 2 * error)


def test_unknown_names_are_errors_of_the_registry(predictor: Predictor) -> None:
    with pytest.raises(UnknownModel, match="quadrants"):
        predictor.find("unknown")
    with pytest.raises(UnknownVersion, match="1, 2"):
        predictor.find("quadrants", "3")


def test_images_of_another_shape_are_refused(predictor: Predictor) -> None:
    with pytest.raises(TensorMismatch, match=r"\(B, 28, 28\) uint8"):
        predictor.predict(predictor.find("quadrants"), np.zeros((1, 64, 64, 3), np.uint8))
