from pathlib import Path

import numpy as np
import pytest

from service.core.errors import TensorMismatch, UnknownModel, UnknownVersion
from service.serving.predictor import Predictor
from service.serving.registry import Registry
from tests import toys

ROUNDING = 1e-6


@pytest.fixture(scope="module")
def predictor(toy_root: Path) -> Predictor:
    registry = Registry(toy_root)
    registry.load()
    return Predictor(registry)


def test_answer_says_who_saw_what_and_what_it_says_of_it(predictor: Predictor) -> None:
    """
    Model, images and scores travel together.
    """
    images = np.stack([toys.dot(1), toys.dot(2, 3)])
    model = predictor.find("quadrants", "1")

    prediction = predictor.predict(model, images)

    assert prediction.model is model
    np.testing.assert_array_equal(prediction.images, images)
    assert prediction.scores.logits.tolist() == [[0, 1, 0, 0], [0, 0, 1, 1]]
    np.testing.assert_allclose(
        prediction.scores.probabilities, toys.softmax(prediction.scores.logits), rtol=ROUNDING
    )


def test_newest_version_answers_when_none_is_named(predictor: Predictor) -> None:
    """
    Version 2 sees every quarter's opposite.
    """
    prediction = predictor.predict(predictor.find("quadrants"), toys.dot(0)[None])

    assert prediction.model.version == "2"
    assert prediction.scores.logits.argmax() == 3


def test_named_version_answers(predictor: Predictor) -> None:
    """
    Version 1 sees what is there.
    """
    prediction = predictor.predict(predictor.find("quadrants", "1"), toys.dot(0)[None])

    assert prediction.model.version == "1"
    assert prediction.scores.logits.argmax() == 0


def test_batch_equals_its_rows(predictor: Predictor) -> None:
    """
    Rows get the same answer together as alone.
    """
    model = predictor.find("quadrants", "1")
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28)).astype(np.uint8)

    together = predictor.predict(model, images).scores.logits
    alone = [predictor.predict(model, image[None]).scores.logits for image in images]

    np.testing.assert_allclose(together, np.concatenate(alone), rtol=ROUNDING)


def test_unknown_names_are_refused_as_by_the_registry(predictor: Predictor) -> None:
    """
    Whoever finds nothing hears what there is.
    """
    with pytest.raises(UnknownModel, match="quadrants"):
        predictor.find("nobody")
    with pytest.raises(UnknownVersion, match="1, 2"):
        predictor.find("quadrants", "3")


def test_images_of_another_shape_are_refused(predictor: Predictor) -> None:
    """
    What the model does not take does not reach it.
    """
    with pytest.raises(TensorMismatch, match=r"\(B, 28, 28\) uint8"):
        predictor.predict(predictor.find("quadrants"), np.zeros((1, 64, 64, 3), np.uint8))
