"""`service/http/oip/kserve_v1.py`: the KServe v1 protocol."""

from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.core.drawing import mnist
from tests import digits, toys
from tests.service.http.bodies import picture, problem

MODEL = "/v1/models/quadrants"
DOT = toys.dot(0)


@pytest.mark.parametrize("version", ["", "/versions/1", "/versions/2"])
def test_instances_get_the_response_of_probabilities(client: TestClient, version: str) -> None:
    given = [DOT.tolist(), toys.dot(1).ravel().tolist()]

    response = client.post(f"{MODEL}{version}:predict", json={"instances": given, "signature_name": "any"})

    expected = client.post(f"{MODEL}{version}/probabilities?prepare=none", json={"images": given})
    assert response.status_code == 200
    assert response.json() == expected.json()
    assert len(response.json()["predictions"]) == 2


def test_an_instance_can_be_an_image_file(client: TestClient) -> None:
    image = mnist.from_picture(np.asarray(digits.canvas(digits.DIGITS["3"][0])))
    file = b64encode(picture(Image.fromarray(image))).decode()

    response = client.post(f"{MODEL}:predict", json={"instances": [{"b64": file}, image.tolist()]})

    first, second = response.json()["predictions"]
    assert first == second


def test_the_summary_of_a_model_says_ready(client: TestClient) -> None:
    """For KServe clients."""
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
def test_invalid_requests_are_refused_with_the_reason(client: TestClient, body: Any, words: str) -> None:  # noqa: ANN401 - any JSON
    assert words in problem(client.post(f"{MODEL}:predict", json=body), 400, "malformed-request")


def test_a_blank_instance_is_refused(client: TestClient) -> None:
    problem(client.post(f"{MODEL}:predict", json={"instances": [[0] * 784]}), 422, "blank-image")


def test_an_instance_of_strokes_is_refused(client: TestClient) -> None:
    detail = problem(client.post(f"{MODEL}:predict", json={"strokes": [[[1, 2]]]}), 400, "malformed-request")

    assert "instances" in detail
