"""KServe's HTTP client, with protocol versions 2 and 1.

It has no calls for metadata, configuration, statistics, repository and versions, and compresses no request;
answers may come compressed, which it undoes by itself. Over the first version it asks `GET /` whether the
server is live: here that is the page for people, which it cannot read.
"""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from numpy.typing import NDArray

from tests.clients.served import Service, check_classes

OUTPUTS = ("logits", "probabilities")

DATATYPES = {
    "u1": "UINT8",
    "u2": "UINT16",
    "i4": "INT32",
    "i8": "INT64",
    "f2": "FP16",
    "f4": "FP32",
    "f8": "FP64",
}


@pytest.fixture(scope="module")
def make(waiting: Callable[[Callable[[], Any]], Any]) -> Callable[[str], InferenceRESTClient]:
    """Create a client for a protocol version."""
    return lambda protocol: waiting(lambda: InferenceRESTClient(RESTConfig(protocol=protocol)))


@pytest.fixture(scope="module")
def client(make: Callable[[str], InferenceRESTClient]) -> InferenceRESTClient:
    """A client for protocol version 2."""
    return make("v2")


@pytest.fixture(scope="module")
def first(make: Callable[[str], InferenceRESTClient]) -> InferenceRESTClient:
    """A client for protocol version 1."""
    return make("v1")


@pytest.fixture(scope="module")
def url(service: Service) -> str:
    return f"http://{service.http}"


def tensor(array: NDArray[Any], is_binary: bool = True, **parameters: object) -> InferInput:
    """Return an array as an input tensor."""
    datatype = DATATYPES[array.dtype.str[1:]]
    made = InferInput("image", list(array.shape), datatype, parameters=parameters or None)
    made.set_data_from_numpy(array, binary_data=is_binary)
    return made


def request(inputs: InferInput, **named: object) -> InferRequest:
    return InferRequest("mlp-128", [inputs], **named)


def check(answer: InferResponse, service: Service, count: int, outputs: tuple[str, ...] = OUTPUTS) -> None:
    """Check that outputs of `mlp-128` equal those of the engine bit for bit."""
    assert answer.model_name == "mlp-128"
    assert [output.name for output in answer.outputs] == list(outputs)
    for output in answer.outputs:
        assert output.datatype == "FP32"
        np.testing.assert_array_equal(output.as_numpy(), service.scores(output.name, count))


def refusal(call: Callable[..., object], *arguments: object, **named: object) -> tuple[int, str]:
    """Return status and message of the client's exception.

    The message is taken from the answer's body, where the exception has it: into its own text the client puts
    messages of `application/json` alone, and the service's are `application/problem+json`.
    """
    with pytest.raises(httpx.HTTPStatusError) as caught:
        call(*arguments, **named)
    response = caught.value.response
    assert str(response.status_code) in str(caught.value)
    return response.status_code, response.json()["error"]


def test_server_is_live_and_ready(client: InferenceRESTClient, url: str) -> None:
    assert client.is_server_live(url) is True
    assert client.is_server_ready(url) is True


def test_model_readiness(client: InferenceRESTClient, url: str) -> None:
    assert client.is_model_ready(url, "mlp-128") is True
    assert client.is_model_ready(url, "nobody") is False


@pytest.mark.parametrize("count", [1, 64, 1000])
@pytest.mark.parametrize("is_binary_out", [True, False])
@pytest.mark.parametrize("is_binary_in", [True, False])
def test_outputs_equal_the_engine_bit_for_bit(
    client: InferenceRESTClient,
    service: Service,
    url: str,
    is_binary_in: bool,
    is_binary_out: bool,
    count: int,
) -> None:
    """
    Binary or JSON, in and out, in batches of any size; numbers of JSON read as FP32 are the same too.
    """
    asked = request(
        tensor(service.images(count), is_binary_in), parameters={"binary_data_output": is_binary_out}
    )

    headers: dict[str, str] = {}
    answer = client.infer(url, asked, model_name="mlp-128", response_headers=headers)

    check(answer, service, count)
    assert ("inference-header-content-length" in headers) is is_binary_out


@pytest.mark.parametrize("outputs", [("probabilities", "logits"), ("logits",), ("probabilities",)])
def test_requested_outputs_are_returned(
    client: InferenceRESTClient, service: Service, url: str, outputs: tuple[str, ...]
) -> None:
    """
    Some of them or all, one as JSON beside one that is binary, in their order.
    """
    requested_output = [RequestedOutput(name, {"binary_data": name == "logits"}) for name in outputs]

    answer = client.infer(
        url, request(tensor(service.images(64)), request_outputs=requested_output), "mlp-128"
    )

    check(answer, service, 64, outputs)


@pytest.mark.parametrize(
    ("dtype", "is_binary"),
    [*((dtype, True) for dtype in DATATYPES), ("u1", False), ("i8", False), ("f4", False)],
)
def test_integers_are_accepted_in_any_datatype(
    client: InferenceRESTClient, service: Service, url: str, dtype: str, is_binary: bool
) -> None:
    """
    The client sends FP16 only as binary contents.
    """
    answer = client.infer(url, request(tensor(service.images(64).astype(dtype), is_binary)), "mlp-128")

    check(answer, service, 64)


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("of_the_input", [True, False])
def test_unit_scale_is_a_parameter_of_request_or_input(
    client: InferenceRESTClient, service: Service, url: str, of_the_input: bool, is_binary: bool
) -> None:
    greys = np.asarray(service.images(64) / 255, np.float32)
    scale = {"scale": "unit"}
    asked = (
        request(tensor(greys, is_binary, **scale))
        if of_the_input
        else request(tensor(greys, is_binary), parameters=scale)
    )

    check(client.infer(url, asked, "mlp-128"), service, 64)


@pytest.mark.parametrize("is_binary", [True, False])
def test_classification_returns_the_top_classes(
    client: InferenceRESTClient, service: Service, url: str, is_binary: bool
) -> None:
    requested_output = [RequestedOutput("probabilities", {"classification": 3, "binary_data": is_binary})]

    answer = client.infer(
        url, request(tensor(service.images(64)), request_outputs=requested_output), "mlp-128"
    )

    (output,) = answer.outputs
    assert output.datatype == "BYTES"
    check_classes(output.as_numpy(), service.scores("probabilities", 64), 3)


@pytest.mark.parametrize("algorithm", ["identity", "gzip", "deflate", "gzip, deflate, br"])
def test_responses_can_be_compressed(
    client: InferenceRESTClient, service: Service, url: str, algorithm: str
) -> None:
    """
    The client says by itself that it takes compressed answers, and undoes what comes.
    """
    headers: dict[str, str] = {}
    answer = client.infer(
        url,
        request(tensor(service.images(1000)), parameters={"binary_data_output": True}),
        "mlp-128",
        headers={"Accept-Encoding": algorithm},
        response_headers=headers,
    )

    check(answer, service, 1000)
    if algorithm in ("gzip", "deflate"):
        assert headers["content-encoding"] == algorithm


def test_request_id_is_returned(client: InferenceRESTClient, service: Service, url: str) -> None:
    """
    The client makes one up where none is given.
    """
    inputs = tensor(service.images(1))

    assert client.infer(url, request(inputs, request_id="seven-7"), "mlp-128").id == "seven-7"
    assert len(client.infer(url, request(inputs), "mlp-128").id) == 36


def test_priority_and_timeout_are_accepted(client: InferenceRESTClient, service: Service, url: str) -> None:
    inputs = tensor(service.images(64))

    ample = request(inputs, parameters={"priority": 1, "timeout": 60_000_000})
    check(client.infer(url, ample, "mlp-128"), service, 64)

    status, _ = refusal(client.infer, url, request(inputs, parameters={"timeout": 1}), "mlp-128")
    assert status == 504


def test_parameter_prepare_preprocesses_drawings(
    client: InferenceRESTClient, service: Service, url: str
) -> None:
    asked = request(tensor(service.array("canvases")), parameters={"prepare": "mnist"})

    answer = client.infer(url, asked, "ink")

    np.testing.assert_array_equal(
        answer.get_output_by_name("probabilities").as_numpy(), service.array("canvases-probabilities")
    )


def test_parameter_explain_returns_attributions(
    client: InferenceRESTClient, service: Service, url: str
) -> None:
    answer = client.infer(url, request(tensor(service.images(1)), parameters={"explain": "3"}), "ink")

    found = {output.name: output.as_numpy() for output in answer.outputs}
    assert found["explained"].tolist() == [3]
    np.testing.assert_allclose(found["shares"], service.array("explained-shares"), atol=1e-4)
    np.testing.assert_allclose(found["bias"], service.array("explained-bias"), atol=1e-4)
    total = found["shares"].sum(dtype=float) + found["bias"][0]
    assert total == pytest.approx(float(service.array("explained-logits")[0, 3]), abs=1e-3)


WRONG: dict[str, tuple[str, Callable[[NDArray[np.uint8]], InferRequest], int, tuple[str, ...]]] = {
    "model": ("nobody", lambda images: request(tensor(images)), 404, ("nobody",)),
    "shape": ("mlp-128", lambda images: request(tensor(images[:, :9])), 400, ("28, 28", "(1, 9, 28)")),
    "fraction": ("mlp-128", lambda images: request(tensor(images / np.float32(510))), 400, ("0..255",)),
    "too many": (
        "mlp-128",
        lambda images: request(tensor(np.repeat(images, 1001, axis=0))),
        413,
        ("1,000", "1,001"),
    ),
    "output": (
        "mlp-128",
        lambda images: request(tensor(images), request_outputs=[RequestedOutput("digit")]),
        400,
        ("logits, probabilities", "digit"),
    ),
}
"""Requests that are refused: the model asked, the request, the status, and what the message names."""


@pytest.mark.parametrize("what", WRONG)
def test_invalid_requests_raise_with_the_message(client: InferenceRESTClient, url: str, what: str) -> None:
    """
    What was expected and what came.
    """
    model, asked, status, named = WRONG[what]

    found = refusal(client.infer, url, asked(np.full((1, 28, 28), 255, np.uint8)), model)

    assert found[0] == status
    for part in named:
        assert part in found[1]


def test_v1_readiness(first: InferenceRESTClient, url: str) -> None:
    """
    For an unknown model the client raises.
    """
    assert first.is_model_ready(url, "mlp-128") is True
    status, message = refusal(first.is_model_ready, url, "nobody")
    assert status == 404
    assert "nobody" in message


@pytest.mark.parametrize("count", [1, 64])
def test_v1_predictions_equal_the_engine_bit_for_bit(
    first: InferenceRESTClient, service: Service, url: str, count: int
) -> None:
    answer = first.infer(url, {"instances": service.images(count).tolist()}, model_name="mlp-128")

    predictions = answer["predictions"]
    scores = service.scores("probabilities", count)
    found = np.array([prediction["probabilities"] for prediction in predictions], np.float32)
    np.testing.assert_array_equal(found, scores)
    assert [prediction["label"] for prediction in predictions] == [str(row.argmax()) for row in scores]


@pytest.mark.parametrize("what", ["no instances", "shape", "an inference of the second version"])
def test_v1_errors_have_a_message(first: InferenceRESTClient, service: Service, url: str, what: str) -> None:
    images = service.images(1)
    asked = {
        "no instances": {"inputs": images.tolist()},
        "shape": {"instances": images[:, :9].tolist()},
        "an inference of the second version": request(tensor(images, is_binary=False)),
    }[what]

    status, message = refusal(first.infer, url, asked, model_name="mlp-128")

    assert status == 400
    assert ("28" if what == "shape" else "instances") in message


def test_v1_explain_is_not_supported(first: InferenceRESTClient, service: Service, url: str) -> None:
    """
    The client asks for them at `:explain`; the service has its own, and the second version's parameter.
    """
    asked = {"instances": service.images(1).tolist()}

    assert refusal(first.explain, url, "mlp-128", asked)[0] == 405
