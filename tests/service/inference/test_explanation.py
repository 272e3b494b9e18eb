from pathlib import Path

import pytest

from service.codecs.drawings import Limits
from service.inference import explanation
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.memory import costs


@pytest.fixture(scope="module")
def model(toy_root: Path) -> Model:
    registry = Registry(toy_root)
    registry.load()
    return registry.get("quadrants")


def test_an_explanation_takes_more_memory_than_a_prediction(model: Model) -> None:
    prediction = costs.image_cost(28 * 28, len(model.manifest.labels))

    assert explanation.image_bytes(model, seen=True) > explanation.image_bytes(model) > prediction


def test_the_image_limit_for_explanations_is_lower() -> None:
    limits = Limits(images=4096, picture_pixels=1000, points=10)

    explained = explanation.limits_of(limits)

    assert explained == Limits(images=256, picture_pixels=1000, points=10)
    assert explanation.limits_of(explained) == explained
