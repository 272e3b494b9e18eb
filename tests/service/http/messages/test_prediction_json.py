"""`service/http/messages/prediction_json.py`: compared with documents that orjson encodes."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from service.core.network.engine import Scores
from service.http.messages import prediction_json
from service.inference.models.model import Model
from service.inference.predictor import Prediction, Run
from tests.examples import examples

EXAMPLES = examples(150)
LABELS = ("0", "ünder", 'say "},{"', "], [", "upper\\left", "\n", "rose", "日本", "8", "", "a", "b")

ANY = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 14), st.integers(1, len(LABELS))),
    elements=st.floats(0, 1, width=32),
)
TIED = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, len(LABELS))),
    elements=st.sampled_from([0.0, 0.125, 0.1, 1e-30, 1.0]),
)


def prediction(scores: NDArray[np.float32], sure: NDArray[np.bool_] | None) -> Prediction:
    """Return a prediction of a model stub."""
    manifest = SimpleNamespace(labels=LABELS[: scores.shape[1]])
    model = cast("Model", SimpleNamespace(name="toy", version="3", manifest=manifest))
    images = np.zeros((len(scores), 2, 2), np.uint8)
    return Prediction(Run(model, images, Scores(scores, scores), sure, 0.0), 0, len(scores))


def expected(scores: NDArray[np.float32], top: int, sure: NDArray[np.bool_] | None, is_full: bool) -> bytes:
    """Return the expected response, ranked by Python's sort."""
    objects: list[dict[str, Any]] = []
    for row, numbers in enumerate(scores):
        order = sorted(range(len(numbers)), key=lambda i: (-float(numbers[i]), i))
        best = order[0]
        entry: dict[str, Any] = {"label": LABELS[best], "index": best, "confidence": numbers[best]}
        entry["top"] = [{"label": LABELS[i], "probability": numbers[i]} for i in order[:top]]
        if sure is not None:
            entry["sure"] = bool(sure[row])
        if is_full:
            entry["probabilities"] = numbers
        objects.append(entry)
    document = {"model": "toy", "version": "3", "predictions": objects}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


@EXAMPLES
@given(scores=ANY | TIED, top=st.integers(1, 15) | st.just(1000), data=st.data())
def test_the_response_equals_the_document_dumped_at_once(
    scores: NDArray[np.float32], top: int, data: st.DataObject
) -> None:
    """
    For few and many images, with ties and zeros.
    """
    sure = data.draw(st.none() | arrays.arrays(np.bool_, len(scores)))
    batch = prediction(scores, sure)

    assert prediction_json.encode(batch, prediction_json.labels, top, seen=False) == expected(
        scores, top, sure, is_full=False
    )
    assert prediction_json.encode(batch, prediction_json.probabilities, top, seen=False) == expected(
        scores, top, sure, is_full=True
    )


@pytest.mark.parametrize("images", [1, 5, 6, 7, 128, 1000])
def test_a_batch_is_encoded_as_its_images_alone(images: int) -> None:
    """
    So a batch can be encoded at once and divided among its requests.
    """
    rng = np.random.default_rng(images)
    logits = rng.normal(0, 4, (images, 10))
    scores = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    whole = prediction(scores, rng.random(images) < 0.5)

    together = prediction_json.probabilities(whole, 3)
    assert whole.sure is not None
    alone = [
        prediction_json.probabilities(prediction(scores[row : row + 1], whole.sure[row : row + 1]), 3)[0]
        for row in range(images)
    ]

    assert together == alone
    parts = [prediction_json.probabilities(Prediction(whole._run, row, 1), 3)[0] for row in range(images)]
    assert parts == alone
    assert prediction_json.labels(whole, 3) == [entry.partition(',"probabilities"')[0] for entry in together]


def test_encoding_does_not_change_the_members() -> None:
    """
    They may be part of several responses.
    """
    batch = prediction(np.array([[0.25, 0.75]], np.float32), None)
    members = prediction_json.labels(batch, 1)

    first, second = (prediction_json.encode(batch, lambda *_: members, 1, seen=False) for _ in range(2))

    assert first == second
    assert orjson.loads(first)["predictions"][0]["index"] == 1
