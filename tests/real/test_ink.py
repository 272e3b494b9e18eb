"""`ink` on real pen strokes, as an app would send them: strokes as JSON and canvases as PNG files."""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from training.data import pen_digits
from training.data.pen_digits import PenDigit
from training.synthesis import nondigits
from training.synthesis.canvases.generated import Kind, render

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("INKLING_DATA" not in os.environ, reason="INKLING_DATA does not name the data sets"),
]

EVERY = 40
"""Of the digits, one in so many is asked about: some 240."""


@pytest.fixture(scope="module")
def digits() -> tuple[PenDigit, ...]:
    return pen_digits.read(Path(os.environ["INKLING_DATA"]))[::EVERY]


def _ask(client: TestClient, drawing: Iterable[NDArray[np.float64]]) -> dict[str, Any]:
    body = {"strokes": [stroke.tolist() for stroke in drawing]}
    answer = client.post("/v1/models/ink/predict", json=body)
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    assert isinstance(prediction, dict)
    return prediction


def test_ink_is_the_default(real_client: TestClient) -> None:
    """
    Who asks which model to take is told `ink`, and that model can say when it is not sure.
    """
    listed = real_client.get("/v1/models").json()
    summary = real_client.get("/v1/models/ink").json()

    assert listed["default"] == "ink"
    assert summary["certainty"]["threshold"] > 0


def test_strokes_are_read_and_sure(real_client: TestClient, digits: tuple[PenDigit, ...]) -> None:
    """
    The network has met these writers, so this is about the way from strokes to answers alone.
    """
    answers = [_ask(real_client, digit.strokes) for digit in digits]

    right = np.mean(
        [found["label"] == str(digit.label) for found, digit in zip(answers, digits, strict=True)]
    )
    assert right >= 0.98
    assert np.mean([found["sure"] for found in answers]) >= 0.98


@pytest.mark.parametrize("kind", ["clean", "tools", "scan"])
def test_canvases_are_read_as_well_as_strokes(
    real_client: TestClient, digits: tuple[PenDigit, ...], kind: Kind
) -> None:
    """
    PNG files of 200 to 1,000 pixels, any pen, place and size, dark on light and light on dark.
    """
    generator = np.random.default_rng(5)
    right = 0
    for digit in digits:
        content = io.BytesIO()
        render(digit.strokes, generator, kind).save(content, "PNG")
        answer = real_client.post(
            "/v1/models/ink/predict", content=content.getvalue(), headers={"content-type": "image/png"}
        )
        right += answer.json()["predictions"][0]["label"] == str(digit.label)

    assert right / len(digits) >= 0.97


def test_drawings_of_no_digit_are_rarely_sure(real_client: TestClient) -> None:
    """
    Letters, signs, shapes and scribbles that no fit has met.
    """
    generator = np.random.default_rng(6)
    drawn = [nondigits.draw(generator, "evaluation")[1] for _ in range(300)]

    answers = [_ask(real_client, each) for each in drawn]

    assert np.mean([found["sure"] for found in answers]) <= 0.35
