"""`service/http/messages/prediction_json.py`: responses contain the scores of the model."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from service.http.messages import prediction_json
from service.inference.models.registry import Registry
from service.inference.predictor import Predictor
from service.settings import Settings
from tests import precision, toys
from tests.examples import examples
from tests.service.http.bodies import SHAPE

EXAMPLES = examples(40, HealthCheck.function_scoped_fixture)


@pytest.fixture(scope="module")
def predictor(toy_settings: Settings) -> Predictor:
    registry = Registry(toy_settings.models)
    registry.load()
    return Predictor(registry)


@EXAMPLES
@given(
    batch=arrays.arrays(np.uint8, st.integers(1, 3).map(lambda n: (n, *SHAPE))),
    top=st.integers(1, 9),
    seen=st.booleans(),
)
def test_responses_contain_the_scores(
    predictor: Predictor, batch: NDArray[np.uint8], top: int, seen: bool
) -> None:
    """
    Of `predict` and `probabilities`, bit for bit; compared with a separate computation.
    """
    model = predictor.find("quadrants", "1")
    weights = toys.quadrant_weights()
    expected = toys.softmax(toys.expected_logits(batch, weights))
    allowed = precision.probability_error(precision.logit_error(toys.layers(weights), batch))
    prediction = predictor.predict(model, batch)

    short = json.loads(prediction_json.encode(prediction, prediction_json.labels, top, seen))
    long = json.loads(prediction_json.encode(prediction, prediction_json.probabilities, top, seen))

    assert {"model": short["model"], "version": short["version"]} == {"model": "quadrants", "version": "1"}
    assert len(short["predictions"]) == len(batch)
    for row, (brief, full) in enumerate(zip(short["predictions"], long["predictions"], strict=True)):
        said = np.array(full["probabilities"], np.float32)
        np.testing.assert_array_equal(said, prediction.scores.probabilities[row])
        assert np.abs(said - expected[row]).max() <= allowed[row]
        assert {**brief, "probabilities": full["probabilities"]} == full
        best = np.argsort(-np.array(full["probabilities"]), kind="stable")
        assert brief["index"] == best[0]
        assert brief["label"] == toys.QUARTERS[best[0]]
        assert brief["confidence"] == full["probabilities"][best[0]]
        assert brief["top"] == [
            {"label": toys.QUARTERS[i], "probability": full["probabilities"][i]} for i in best[: min(top, 4)]
        ]
        assert ("seen" in brief) == seen
        if seen:
            np.testing.assert_array_equal(brief["seen"], batch[row])
