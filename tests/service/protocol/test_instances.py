"""`service/protocol/instances.py`: KServe's first protocol."""

from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.core import ink
from tests import digits, toys
from tests.service.http.bodies import picture, problem

MODEL = "/v1/models/quadrants"
DOT = toys.dot(0)


@pytest.mark.parametrize("version", ["", "/versions/1", "/versions/2"])
def test_instances_are_answered_as_images_are(client: TestClient, version: str) -> None:
    """
    What `probabilities` says of the same images used unchanged, nested or flat.
    """
    given = [DOT.tolist(), toys.dot(1).ravel().tolist()]

    answer = client.post(f"{MODEL}{version}:predict", json={"instances": given, "signature_name": "any"})

    expected = client.post(f"{MODEL}{version}/probabilities?prepare=none", json={"images": given})
    assert answer.status_code == 200
    assert answer.json() == expected.json()
    assert len(answer.json()["predictions"]) == 2


def test_an_instance_may_be_a_picture_file(client: TestClient) -> None:
    """
    In the form in which TensorFlow Serving's clients send bytes.
    """
    image = ink.from_picture(np.asarray(digits.canvas(digits.DIGITS["3"][0])))
    file = b64encode(picture(Image.fromarray(image))).decode()

    answer = client.post(f"{MODEL}:predict", json={"instances": [{"b64": file}, image.tolist()]})

    first, second = answer.json()["predictions"]
    assert first == second


def test_a_model_that_can_answer_says_so_in_its_summary(client: TestClient) -> None:
    """
    Where KServe's clients look.
    """
    assert client.get(MODEL).json()["ready"] is True


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Body should be a JSON object with instances"),
        ([], "Body should be a JSON object with instances; got a list of 0"),
        ({"inputs": []}, "Body should be a JSON object with instances"),
        ({"instances": []}, "Field 'instances' should be a list of at least one image; got a list of 0"),
        ({"instances": {}}, "Field 'instances' should be a list of at least one image; got an object"),
        ({"instances": [[1]]}, "Field 'instances[0]' should be 28 x 28 numbers nested"),
        ({"instances": [[300] * 784]}, "Field 'instances[0][0][0]' should be a whole number 0..255; got 300"),
        ({"instances": [{"b64": 1}]}, "Field 'instances[0]' should be 28 x 28 numbers nested"),
        ({"instances": [{"x": 1}]}, "Field 'instances[0]' should be 28 x 28 numbers nested"),
    ],
)
def test_what_is_wrong_is_said(client: TestClient, body: Any, words: str) -> None:  # noqa: ANN401 - any JSON
    """
    As everywhere.
    """
    assert words in problem(client.post(f"{MODEL}:predict", json=body), 400, "malformed-request")


def test_a_blank_instance_is_refused(client: TestClient) -> None:
    """
    As an image in JSON is.
    """
    problem(client.post(f"{MODEL}:predict", json={"instances": [[0] * 784]}), 422, "blank-image")


def test_an_instance_of_strokes_is_none(client: TestClient) -> None:
    """
    They have a route of their own.
    """
    detail = problem(client.post(f"{MODEL}:predict", json={"strokes": [[[1, 2]]]}), 400, "malformed-request")

    assert "instances" in detail
