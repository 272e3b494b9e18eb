"""Networks of rows of numbers, and networks of other than dense layers, in a running service."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.settings import Settings
from tests import row_networks
from tests.service.http.bodies import npy, problem
from tests.service.http.running import service

DENSE, OTHER = "dense", "other"

ROWS = row_networks.ROWS.tolist()


@pytest.fixture(scope="module")
def client(toy_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service with a network of dense layers with ReLU, and one with Tanh."""
    root = tmp_path_factory.mktemp("rows")
    row_networks.publish(root, DENSE)
    row_networks.publish(root, OTHER, "Tanh")
    with service(toy_settings, models=root) as client:
        yield client


def post(client: TestClient, body: Any, operation: str = "predict", model: str = DENSE) -> Any:  # noqa: ANN401 - JSON
    """Send a JSON body and return the response."""
    return client.post(f"/v1/models/{model}/{operation}", json=body)


def probabilities(response: Any) -> list[list[float]]:  # noqa: ANN401 - a response
    assert response.status_code == 200, response.text
    return [entry["probabilities"] for entry in response.json()["predictions"]]


@pytest.mark.parametrize(("name", "activation"), [(DENSE, "Relu"), (OTHER, "Tanh")])
def test_rows_are_classified_in_every_form(client: TestClient, name: str, activation: str) -> None:
    """
    One row, several, NumPy files of integers and floats: the same probabilities.
    """
    raised = np.exp(row_networks.logits(row_networks.ROWS, activation))
    expected = raised / raised.sum(axis=1, keepdims=True)
    path = f"/v1/models/{name}/probabilities"
    headers = {"content-type": "application/x-npy"}

    many = probabilities(client.post(path, json={"rows": ROWS}))
    one = probabilities(client.post(path, json={"row": ROWS[0]}))
    file = probabilities(client.post(path, content=npy(row_networks.ROWS), headers=headers))
    instances = probabilities(client.post(f"/v1/models/{name}:predict", json={"instances": ROWS}))

    np.testing.assert_allclose(many, expected, atol=1e-6)
    np.testing.assert_allclose(one, expected[:1], atol=1e-6)
    assert file == many == instances


def test_the_summary_describes_the_input(client: TestClient) -> None:
    dense, other = (client.get(f"/v1/models/{name}").json() for name in (DENSE, OTHER))

    assert (dense["input"], dense["dtype"], dense["preprocessing"]) == ([3], "float32", "none")
    assert (dense["explainable"], other["explainable"]) == (True, False)
    assert [layer["units"] for layer in dense["layers"]] == [2, 2]
    assert other["layers"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"image": ROWS[0]}, "an object with row or rows for this model; got one with 'image'"),
        ({"strokes": [[[1, 2]]]}, "row or rows"),
        ({}, "one with none of them"),
        ({"row": [1, 2]}, "Field 'row' should be a list of 3 numbers; got a list of 2"),
        ({"rows": [[1, 2, 3], [1, 2, "3"]]}, "Field 'rows[1][2]' should be a number within"),
        ({"rows": [[1, 2, True]]}, "Field 'rows[0][2]'"),
        ({"rows": [[1, 2, 1e39]]}, "Field 'rows[0][2]'"),
        ({"rows": [[1, 2, 10**400]]}, "JSON"),
        ({"rows": []}, "a list of at least one row"),
        ({"rows": 7}, "a list of at least one row"),
        ([1, 2, 3], "a JSON object"),
        ({"row": [3e38, 1, -3e38]}, "Row 0 should be numbers for which the scores of the model are finite"),
    ],
)
def test_invalid_rows_are_refused(client: TestClient, body: object, message: str) -> None:
    assert message in problem(post(client, body), 400, "malformed-request")


@pytest.mark.parametrize(
    "array", [np.zeros((2, 4)), np.zeros((0, 3)), np.full((1, 3), np.nan), np.full(3, 1e300)]
)
def test_invalid_arrays_are_refused(client: TestClient, array: np.ndarray) -> None:
    response = client.post(
        f"/v1/models/{DENSE}/predict", content=npy(array), headers={"content-type": "application/x-npy"}
    )

    assert "Array" in problem(response, 400, "malformed-request")


def test_other_content_types_are_refused(client: TestClient) -> None:
    response = client.post(
        f"/v1/models/{DENSE}/predict", content=b"123", headers={"content-type": "application/octet-stream"}
    )

    assert "application/json, application/x-npy" in problem(response, 415, "unsupported-media-type")


def test_a_row_that_overflows_does_not_affect_others(client: TestClient) -> None:
    """The scores of each request are checked, not those of the batch."""
    assert post(client, {"row": [3e38, 1, -3e38]}).status_code == 400
    assert post(client, {"row": [1, 2, 3]}).status_code == 200


def test_dense_rows_are_explained_exactly(client: TestClient) -> None:
    """
    Contributions and bias sum to the logit: of (5, 0, 1), 1 * 5 - 1 * 1 = 4 for `low`.
    """
    response = post(client, {"row": ROWS[1]}, "explain")

    (entry,) = response.json()["predictions"]
    assert (entry["explained"], entry["logit"], entry["shares"], entry["bias"]) == ("low", 4, [5, 0, -1], 0)


def test_other_networks_are_not_explained(client: TestClient) -> None:
    """
    A clear refusal over both protocols, and an empty list of layers.
    """
    explained = post(client, {"row": ROWS[1]}, "explain", OTHER)
    tensor = {"name": "row", "datatype": "FP32", "shape": [1, 3], "data": ROWS[1]}
    infer = client.post(
        f"/v2/models/{OTHER}/infer", json={"inputs": [tensor], "parameters": {"explain": True}}
    )

    expected = "Model should have dense layers with ReLU only"
    assert expected in problem(explained, 400, "not-explainable")
    assert (infer.status_code, expected in infer.json()["error"]) == (400, True)
    assert client.get(f"/v1/models/{OTHER}/weights").json()["layers"] == []
    assert client.get(f"/v1/models/{OTHER}/weights/output").status_code == 404
    assert client.get(f"/v1/models/{OTHER}/weights/output.png").status_code == 404
    assert client.get(f"/v1/models/{OTHER}/report").status_code == 404


def test_weights_of_rows_are_no_images(client: TestClient) -> None:
    (hidden, _) = client.get(f"/v1/models/{DENSE}/weights").json()["layers"]
    unit = client.get(f"/v1/models/{DENSE}/weights/hidden1/0.png")
    picture = client.post(
        f"/v1/models/{DENSE}/explain", json={"row": ROWS[0]}, headers={"accept": "image/png"}
    )

    assert (hidden["shape"], hidden["images"]) == ([3, 2], False)
    assert unit.status_code == 404
    assert "application/json" in problem(picture, 400, "malformed-request")
    assert client.get(f"/v1/models/{DENSE}/weights/hidden1.png").status_code == 200


@pytest.mark.parametrize("query", ["prepare=mnist", "include=steps"])
def test_rows_have_no_preprocessing(client: TestClient, query: str) -> None:
    response = client.post(f"/v1/models/{DENSE}/predict?{query}", json={"row": ROWS[0]})

    assert "for a model of rows" in problem(response, 400, "malformed-request")


def test_the_input_is_returned_where_requested(client: TestClient) -> None:
    response = client.post(f"/v1/models/{DENSE}/predict?include=seen", json={"row": ROWS[3]})

    assert response.json()["predictions"][0]["seen"] == [2.5, -1, 0]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64"])
def test_the_open_inference_protocol_sends_rows(client: TestClient, datatype: str) -> None:
    metadata = client.get(f"/v2/models/{DENSE}").json()
    rows = np.rint(row_networks.ROWS)
    tensor = {"name": "row", "datatype": datatype, "shape": [4, 3], "data": rows.tolist()}

    outputs = client.post(f"/v2/models/{DENSE}/infer", json={"inputs": [tensor]}).json()["outputs"]

    assert metadata["inputs"] == [{"name": "row", "datatype": "FP32", "shape": [-1, 3]}]
    np.testing.assert_allclose(np.reshape(outputs[0]["data"], (4, 2)), row_networks.logits(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "image"}, "one named 'row'"),
        ({"shape": [3, 1]}, "(B, 3) FP32"),
        ({"datatype": "BYTES", "shape": [1], "data": ["AA=="]}, "(B, 3) FP32"),
        ({"datatype": "BOOL", "data": [True, True, True]}, "(B, 3) FP32"),
        ({"datatype": "FP64", "data": [1, 2, 1e39]}, "a finite number"),
    ],
)
def test_invalid_tensors_are_refused(client: TestClient, changes: dict[str, Any], message: str) -> None:
    tensor = {"name": "row", "datatype": "FP32", "shape": [1, 3], "data": ROWS[0]} | changes

    response = client.post(f"/v2/models/{DENSE}/infer", json={"inputs": [tensor]})

    assert response.status_code == 400
    assert message in response.json()["error"]


def test_numbers_are_not_read(client: TestClient) -> None:
    assert "to read numbers" in problem(post(client, {"row": ROWS[0]}, "read"), 400, "tensor-mismatch")


def test_arrays_of_objects_are_refused(client: TestClient) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([[1, "a", None]], object), allow_pickle=True)

    response = client.post(
        f"/v1/models/{DENSE}/predict",
        content=stream.getvalue(),
        headers={"content-type": "application/x-npy"},
    )

    assert problem(response, 400, "malformed-request")
