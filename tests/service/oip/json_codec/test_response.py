"""`service/oip/json_codec/response.py`: responses in JSON and binary, byte by byte."""

import struct
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from service.inference.models.model import Model
from service.oip.json_codec.body import HEADER
from service.oip.json_codec.response import write_response
from service.oip.messages import InferenceResponse, Output
from tests import precision, toys
from tests.service.oip.messages import DOT, LOGITS, declared, document, post, read, tensor

PIXELS = DOT.tobytes()


def test_a_json_response_byte_by_byte(client: TestClient) -> None:
    """Members are in the protocol's order, data is flat, float32 has the fewest digits that identify it."""
    answer = post(client, document(id="a-1", outputs=[{"name": "logits"}]))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert HEADER not in answer.headers
    assert answer.content == (
        b'{"model_name":"quadrants","model_version":"2","id":"a-1","outputs":'
        b'[{"name":"logits","datatype":"FP32","shape":[1,4],"data":[0.0,0.0,0.0,1.0]}]}'
    )


def test_a_binary_response_byte_by_byte(client: TestClient) -> None:
    """The header is the length of the JSON; the contents are little-endian."""
    output = {"name": "logits", "parameters": {"binary_data": True}}

    answer = post(client, document(declared(784), outputs=[output]), PIXELS)

    text = (
        b'{"model_name":"quadrants","model_version":"2","outputs":'
        b'[{"name":"logits","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}'
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers[HEADER] == str(len(text))
    assert answer.content == text + struct.pack("<4f", 0, 0, 0, 1)


def test_json_and_binary_outputs_can_be_mixed(client: TestClient) -> None:
    """Outputs are in the requested order."""
    outputs = [{"name": "probabilities"}, {"name": "logits", "parameters": {"binary_data": False}}]
    request = document(outputs=outputs, parameters={"binary_data_output": True})

    found = read(post(client, request))

    first, second = found.document["outputs"]
    assert (first["name"], second["name"]) == ("probabilities", "logits")
    assert first["parameters"] == {"binary_data_size": 16}
    assert "data" not in first
    assert second["data"] == [0, 0, 0, 1]
    off = np.abs(found.arrays["probabilities"] - toys.softmax(LOGITS))
    assert np.all(off <= precision.softmax_error(LOGITS))


def test_all_outputs_are_returned_by_default(client: TestClient) -> None:
    """Also for an empty list; an absent or empty id is not returned."""
    members: dict[str, Any]
    for members in ({}, {"outputs": []}, {"id": ""}):
        found = read(post(client, document(**members)))

        assert list(found.arrays) == ["logits", "probabilities"]
        assert "id" not in found.document
        np.testing.assert_array_equal(found.arrays["logits"], LOGITS)


def test_a_body_without_json(client: TestClient) -> None:
    """With a header of 0 the body is the only input: the batch size follows from its length."""
    answer = post(client, b"", PIXELS * 3, header="0")

    found = read(answer)
    np.testing.assert_array_equal(found.arrays["logits"], LOGITS.repeat(3, axis=0))
    assert all("parameters" in output for output in found.document["outputs"])


def test_classification_byte_by_byte(client: TestClient) -> None:
    """Elements are value, index and label, by descending value; binary elements follow their length."""
    output: dict[str, Any] = {"name": "logits", "parameters": {"classification": 2}}

    in_json = post(client, document(outputs=[output]))
    output["parameters"]["binary_data"] = True
    in_binary = post(client, document(outputs=[output]))

    elements = [b"1.0:3:lower right", b"0.0:0:upper left"]
    (found,) = in_json.json()["outputs"]
    assert (found["datatype"], found["shape"]) == ("BYTES", [1, 2])
    assert found["data"] == [element.decode() for element in elements]
    size = int(in_binary.headers[HEADER])
    assert in_binary.content[size:] == b"".join(struct.pack("<I", len(e)) + e for e in elements)


def test_classification_of_more_classes_than_exist_returns_all(client: TestClient) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": 1000}}]

    (found,) = post(client, document(tensor(DOT.repeat(2, axis=0)), outputs=outputs)).json()["outputs"]

    numbers = read(post(client, document())).arrays["probabilities"][0]
    assert found["shape"] == [2, 4]
    for row in (found["data"][:4], found["data"][4:]):
        values = [float(element.split(":")[0]) for element in row]
        np.testing.assert_array_equal(np.array(values, np.float32), np.sort(numbers)[::-1])


@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize("name", ["", "mine", 'ü"'])
def test_the_json_equals_the_document_dumped_at_once(name: str, is_binary: bool) -> None:
    """
    For every kind of output.
    """
    rng = np.random.default_rng(1)
    floats = rng.normal(0, 4, (3, 10)).astype(np.float32)
    arrays: dict[str, NDArray[Any]] = {
        "logits": floats,
        "shares": rng.normal(0, 1, (3, 2, 2)),
        "explained": np.arange(3),
    }
    model = cast("Model", SimpleNamespace(name='to"y', version="3"))
    outputs = [Output(key, array, array.shape, None) for key, array in arrays.items()]
    outputs += [
        Output("classes", [b"0.5:1:one", b"0.25:0:none"], (1, 2), False),
        outputs[0]._replace(is_binary=True),
    ]
    described: list[dict[str, Any]] = []
    contents = b""
    for output in outputs:
        one: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        content = output.content
        if (is_binary or output.is_binary) and output.is_binary is not False:
            assert isinstance(content, np.ndarray)
            one["parameters"] = {"binary_data_size": content.nbytes}
            contents += content.tobytes()
        else:
            one["data"] = (
                [text.decode() for text in content] if isinstance(content, list) else content.ravel()
            )
        described.append(one)
    document = {"model_name": 'to"y', "model_version": "3", "id": name, "outputs": described}
    if not name:
        del document["id"]
    expected = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    assert write_response(InferenceResponse(model, name, outputs), is_binary) == (
        expected + contents,
        len(expected),
    )
