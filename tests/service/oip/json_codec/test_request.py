"""`service/oip/json_codec/request.py`: invalid requests and their error messages, and random bodies."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.oip.json_codec.body import HEADER
from service.oip.tensors import DATATYPES
from tests.examples import examples
from tests.service.http.bodies import check_sentence, problem
from tests.service.oip.messages import DOT, INFER, LOGITS, declared, document, post, read, tensor

PIXELS = DOT.tobytes()


WRONG: list[tuple[str, Any, str]] = [
    ("no JSON", b"{", "Body should be JSON in UTF-8"),
    ("nothing", b"", "Body should be JSON in UTF-8, nested at most 1,024 deep; got nothing"),
    ("a list", b"[]", "Body should be a JSON object with inputs; got a list of 0"),
    ("no inputs", b"{}", "Member 'inputs' of Body should be a list of objects; got null"),
    ("empty inputs", {"inputs": []}, "Inputs should be one named 'image'; got none"),
    ("inputs of text", {"inputs": ["image"]}, "inputs[0] should be an object; got 'image'"),
    ("two inputs", document(tensor(), tensor()), "Inputs should be one named 'image'; got 'image', 'image'"),
    ("another name", document(tensor(name="x")), "Inputs should be one named 'image'; got 'x'"),
    ("no name", document(tensor(name=None)), "Member 'name' of inputs[0] should be text; got null"),
    (
        "no datatype",
        document({"name": "image", "shape": [1]}),
        "Member 'datatype' of inputs[0] should be text; got null",
    ),
    ("no shape", document(tensor(shape=None)), "Member 'shape' of inputs[0] should be a list"),
    ("no data", document(tensor(data=None)), "Member 'data' of inputs[0] should be a list; got null"),
    ("a negative side", document(tensor(shape=[-1, 28, 28])), "Shape of input 'image' should be at most 8"),
    ("an overflowing side", document(tensor(shape=[2**63, 28, 28])), "Shape of input 'image'"),
    ("a side of 1.0", document(tensor(shape=[1.0, 28, 28])), "Shape of input 'image'"),
    ("no image", document(tensor(shape=[0, 28, 28], data=[])), "Input 'image' should be (B, 28, 28) UINT8"),
    ("another shape", document(tensor(shape=[1, 784])), "got (1, 784) UINT8"),
    ("too few", document(tensor(data=[1] * 783)), "Input 'image' should be 784 elements"),
    ("too deep", document(tensor(data=[[[[1]]]])), "Data of input 'image' should be flat, or nested as"),
    ("no byte", document(tensor(data=[256] * 784)), "Element [0, 0, 0] of input 'image'"),
    ("id", document(id=7), "Member 'id' of Body should be text; got 7"),
    ("parameters", document(parameters=[]), "Member 'parameters' of Body should be an object"),
    (
        "binary",
        document(parameters={"binary_data_output": 1}),
        "'binary_data_output' should be true or false",
    ),
    ("scale", document(parameters={"scale": "log"}), "Parameter 'scale' should be 'byte' (0..255) or 'unit'"),
    (
        "prepare",
        document(parameters={"prepare": True}),
        "Parameter 'prepare' should be 'none', 'auto' or 'mnist'",
    ),
    (
        "explain",
        document(parameters={"explain": "x"}),
        "should be true, false or one of upper left, upper right",
    ),
    ("timeout", document(parameters={"timeout": -1}), "Parameter 'timeout' should be a whole number"),
    ("priority", document(parameters={"priority": 1.5}), "Parameter 'priority' should be a whole number"),
    ("output", document(outputs=[{"name": "x"}]), "Output should be one of logits, probabilities ("),
    ("shares", document(outputs=[{"name": "shares"}]), "need the parameter explain); got 'shares'"),
    ("twice", document(outputs=[{"name": "logits"}] * 2), "Output should be named once; got 'logits' twice"),
    ("outputs", document(outputs={}), "Member 'outputs' of Body should be a list of objects; got an object"),
    (
        "classes",
        document(outputs=[{"name": "logits", "parameters": {"classification": -1}}]),
        "Parameter 'classification' of output 'logits' should be a whole number, at least 0; got -1",
    ),
    (
        "classes of shares",
        document(
            parameters={"explain": True}, outputs=[{"name": "bias", "parameters": {"classification": 1}}]
        ),
        "Parameter 'classification' of output 'bias' should be absent",
    ),
    (
        "shared memory in",
        document(tensor(parameters={"shared_memory_region": "a"}, data=[])),
        "Parameters of input 'image' should be without shared memory, which is not supported",
    ),
    (
        "shared memory out",
        document(outputs=[{"name": "logits", "parameters": {"shared_memory_region": "a"}}]),
        "Parameters of output 'logits' should be without shared memory",
    ),
    ("a size of text", document(declared(784, parameters={"binary_data_size": "784"})), "'binary_data_size'"),
    ("a negative size", document(declared(-1)), "Parameter 'binary_data_size' of inputs[0]"),
    (
        "contents that are not there",
        document(declared(784)),
        "Binary data of inputs[0] should be 784 bytes; got 0",
    ),
    ("both", document(declared(784, data=[1])), "Inputs[0] should be data or binary_data_size; got both"),
    (
        "a list in base64",
        document(tensor(shape=[1], datatype="BYTES", data=[[1]])),
        "in base64; got a list of 1",
    ),
    ("no base64", document(tensor(shape=[1], datatype="BYTES", data=["?"])), "text that is no base64"),
    ("no picture", document(tensor(shape=[1], datatype="BYTES", data=["aGVsbG8="])), "[0] of input 'image'"),
    ("BYTES of two sides", document(tensor(shape=[1, 2], datatype="BYTES", data=["aaaa"])), "(B,) BYTES"),
]


@pytest.mark.parametrize(("text", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_invalid_requests_are_refused_with_the_reason(
    client: TestClient, text: dict[str, Any] | bytes, words: str
) -> None:
    response = post(client, text)

    detail = response.json()["error"]
    assert words in detail
    assert problem(response, 400, response.json()["type"].removeprefix("/problems/")) == detail


@pytest.mark.parametrize(
    ("header", "binary", "words"),
    [
        ("-1", PIXELS, "should be a number 0.."),
        ("1e3", PIXELS, "should be a number 0.."),
        ("", PIXELS, "should be a number 0.."),
        ("99999", PIXELS, "should be a number 0.."),
        ("9" * 400, PIXELS, "should be a number 0.."),
        ("²", PIXELS, "should be a number 0.."),
        ("10", PIXELS, "Body should be JSON in UTF-8"),
        (None, PIXELS[:-1], "Binary data of inputs[0] should be 784 bytes; got 783"),
        (
            None,
            PIXELS + b"x",
            "Binary data should be 784 bytes, the sum of the inputs' binary_data_size; got 785",
        ),
        (None, b"", "Binary data of inputs[0] should be 784 bytes; got 0"),
    ],
)
def test_a_wrong_length_of_the_json_is_refused(
    client: TestClient, header: str | None, binary: bytes, words: str
) -> None:
    text = json.dumps(document(declared(784))).encode()
    given_header = str(len(text)) if header is None else header

    response = client.post(INFER, content=text + binary, headers=[(HEADER.encode(), given_header.encode())])

    assert response.status_code == 400
    assert words in response.json()["error"]


def test_binary_contents_of_another_size_than_the_shape_are_refused(client: TestClient) -> None:
    response = post(client, document(declared(783)), PIXELS[:-1])

    assert "Input 'image' should be 784 bytes for (1, 28, 28) UINT8; got 783" in problem(
        response, 400, "tensor-mismatch"
    )


def test_a_body_without_json_must_be_whole_images(client: TestClient) -> None:
    detail = problem(post(client, b"", PIXELS[:-1], header="0"), 400, "tensor-mismatch")

    assert detail == "Body should be n x 784 bytes, each image 28 x 28; got 783 bytes."


@pytest.mark.parametrize(
    "request_document",
    [
        document(tensor(shape=[65, 28, 28])),
        document(tensor(shape=[2**31 - 1, 28, 28])),
        document(tensor(shape=[2**31 - 1], datatype="BYTES", data=["aGVsbG8="])),
        document(tensor(shape=[1, 2**31 - 1, 28]), parameters={"prepare": "mnist"}),
    ],
)
def test_a_huge_declared_shape_is_refused(client: TestClient, request_document: dict[str, Any]) -> None:
    problem(post(client, request_document), 413, "payload-too-large")


def test_too_many_json_values_are_refused(client: TestClient) -> None:
    text = b'{"inputs":[' + b"[]," * 60_000 + b"[]]}"

    problem(post(client, text), 413, "payload-too-large")


def test_unknown_members_and_parameters_are_ignored(client: TestClient) -> None:
    request_document = document(
        tensor(parameters={"content_type": "np", "headers": {"a": [1]}}),
        parameters={"sequence_id": 1, "sequence_start": True, "content_type": "np"},
        outputs=[{"name": "logits", "parameters": {"content_type": "np"}, "more": 1}],
        more=[],
    )

    np.testing.assert_array_equal(read(post(client, request_document)).arrays["logits"], LOGITS)


SIDES = st.one_of(
    st.sampled_from([0, 1, 2, 27, 28, 784]), st.integers(), st.floats(), st.none(), st.booleans()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "binary_data_size",
            "binary_data",
            "binary_data_output",
            "classification",
            "scale",
            "prepare",
            "explain",
            "timeout",
            "priority",
            "shared_memory_offset",
        ]
    ),
    st.sampled_from([0, 1, 783, 784, 1568, 2**64, True, False, "unit", "mnist", "none", "upper left"]) | JSON,
    max_size=3,
)
INPUTS = st.fixed_dictionaries(
    {
        "name": st.just("image") | JSON,
        "shape": st.just([1, 28, 28]) | st.lists(SIDES, max_size=9) | JSON,
        "datatype": st.sampled_from(DATATYPES) | JSON,
    },
    optional={
        "data": st.just([1] * 784) | st.lists(st.integers() | st.floats(allow_nan=False), max_size=4) | JSON,
        "parameters": PARAMETERS | JSON,
    },
)
OUTPUTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["logits", "probabilities", "shares", "bias"]) | JSON},
    optional={"parameters": PARAMETERS | JSON},
)
DOCUMENTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=2) | JSON},
    optional={
        "outputs": st.lists(OUTPUTS, max_size=2) | JSON,
        "parameters": PARAMETERS | JSON,
        "id": st.text(max_size=20) | JSON,
    },
)


@examples(400, *HealthCheck)
@given(
    request_document=DOCUMENTS,
    binary=st.sampled_from([b"", PIXELS, PIXELS * 2]) | st.binary(max_size=40),
    off=st.sampled_from([None, 0]) | st.integers(-3, 3),
)
def test_random_documents_never_cause_a_server_error(
    client: TestClient, request_document: dict[str, Any], binary: bytes, off: int | None
) -> None:
    text = json.dumps(request_document).encode()
    headers = {} if off is None else {HEADER: str(max(0, len(text) + off))}

    response = client.post(INFER, content=text + binary, headers=headers)

    assert response.status_code in (200, 400, 413, 422, 504), response.text
    if response.status_code != 200:
        check_sentence(response.json()["error"])


@examples(200, *HealthCheck)
@given(content=st.binary(max_size=1000), header=st.none() | st.integers(0, 1000))
def test_random_bodies_never_cause_a_server_error(
    client: TestClient, content: bytes, header: int | None
) -> None:
    headers = {} if header is None else {HEADER: str(header)}

    response = client.post(INFER, content=content, headers=headers)

    assert response.status_code in (200, 400)
