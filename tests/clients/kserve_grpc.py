"""KServe's gRPC client.

It has no calls for metadata, configuration, statistics, repository and compression.
"""

import logging
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest, InferResponse
from kserve.protocol.infer_type import RequestedOutput
from numpy.typing import NDArray

from tests.clients.served import Service, check_classes

OUTPUTS = ("logits", "probabilities")

DATATYPES = {
    "u1": "UINT8",
    "u2": "UINT16",
    "u4": "UINT32",
    "u8": "UINT64",
    "i2": "INT16",
    "i4": "INT32",
    "i8": "INT64",
    "f2": "FP16",
    "f4": "FP32",
    "f8": "FP64",
}


@pytest.fixture(scope="module")
def client(service: Service, waiting: Callable[[Callable[[], Any]], Any]) -> InferenceGRPCClient:
    logging.getLogger("kserve").setLevel(logging.CRITICAL)
    return waiting(lambda: InferenceGRPCClient(service.grpc))


def tensor(array: NDArray[Any], is_raw: bool = True, **parameters: object) -> InferInput:
    """Return an array as an input tensor, with raw or typed contents."""
    datatype = DATATYPES[array.dtype.str[1:]]
    made = InferInput("image", list(array.shape), datatype, parameters=parameters or None)
    made.set_data_from_numpy(array, binary_data=is_raw)
    return made


def request(inputs: InferInput, model: str = "mlp-128", **named: object) -> InferRequest:
    return InferRequest(model, [inputs], **named)


def check(answer: InferResponse, service: Service, count: int, outputs: tuple[str, ...] = OUTPUTS) -> None:
    """Check that outputs of `mlp-128` equal those of the engine bit for bit."""
    assert (answer.model_name, answer.model_version) == ("mlp-128", "3")
    assert [output.name for output in answer.outputs] == list(outputs)
    for output in answer.outputs:
        assert output.datatype == "FP32"
        np.testing.assert_array_equal(output.as_numpy(), service.scores(output.name, count))


def refusal(call: Callable[..., object], *arguments: object) -> tuple[str, str]:
    """Return status and message of the client's exception."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        call(*arguments)
    return caught.value.code().name, caught.value.details()


def test_server_is_live_and_ready(client: InferenceGRPCClient) -> None:
    assert client.is_server_live() is True
    assert client.is_server_ready() is True


def test_model_readiness(client: InferenceGRPCClient) -> None:
    assert client.is_model_ready("mlp-128") is True
    assert refusal(client.is_model_ready, "nobody")[0] == "NOT_FOUND"


@pytest.mark.parametrize("count", [1, 64, 1000])
@pytest.mark.parametrize("is_raw", [True, False])
def test_outputs_equal_the_engine_bit_for_bit(
    client: InferenceGRPCClient, service: Service, is_raw: bool, count: int
) -> None:
    check(client.infer(request(tensor(service.images(count), is_raw))), service, count)


@pytest.mark.parametrize("outputs", [("probabilities", "logits"), ("logits",), ("probabilities",)])
def test_requested_outputs_are_returned(
    client: InferenceGRPCClient, service: Service, outputs: tuple[str, ...]
) -> None:
    requested_output = [RequestedOutput(name) for name in outputs]

    answer = client.infer(request(tensor(service.images(64)), request_outputs=requested_output))

    check(answer, service, 64, outputs)


def test_version_can_be_requested(client: InferenceGRPCClient, service: Service) -> None:
    answer = client.infer(request(tensor(service.images(64)), "quadrants", model_version="1"))

    assert answer.model_version == "1"
    np.testing.assert_array_equal(
        answer.get_output_by_name("logits").as_numpy(), service.scores("logits", 64, "quadrants", "1")
    )


@pytest.mark.parametrize(
    ("dtype", "is_raw"),
    [*((dtype, True) for dtype in DATATYPES), *((dtype, False) for dtype in DATATYPES if dtype != "f2")],
)
def test_integers_are_accepted_in_any_datatype(
    client: InferenceGRPCClient, service: Service, dtype: str, is_raw: bool
) -> None:
    """
    The protocol has no typed contents for FP16.
    """
    check(client.infer(request(tensor(service.images(64).astype(dtype), is_raw))), service, 64)


@pytest.mark.parametrize("is_raw", [True, False])
@pytest.mark.parametrize("of_the_input", [True, False])
def test_unit_scale_is_a_parameter_of_request_or_input(
    client: InferenceGRPCClient, service: Service, of_the_input: bool, is_raw: bool
) -> None:
    greys = np.asarray(service.images(64) / 255, np.float32)
    scale = {"scale": "unit"}
    asked = (
        request(tensor(greys, is_raw, **scale))
        if of_the_input
        else request(tensor(greys, is_raw), parameters=scale)
    )

    check(client.infer(asked), service, 64)


def test_classification_returns_the_top_classes(client: InferenceGRPCClient, service: Service) -> None:
    requested_output = [RequestedOutput("probabilities", {"classification": 3})]

    answer = client.infer(request(tensor(service.images(64)), request_outputs=requested_output))

    (output,) = answer.outputs
    assert output.datatype == "BYTES"
    check_classes(output.as_numpy(), service.scores("probabilities", 64), 3)


def test_request_id_is_returned(client: InferenceGRPCClient, service: Service) -> None:
    """
    Over gRPC the client makes none up.
    """
    inputs = tensor(service.images(1))

    assert client.infer(request(inputs, request_id="seven-7")).id == "seven-7"
    assert client.infer(request(inputs)).id == ""


def test_priority_and_timeout_are_accepted(client: InferenceGRPCClient, service: Service) -> None:
    inputs = tensor(service.images(64))

    ample = request(inputs, parameters={"priority": 1, "timeout": 60_000_000})
    check(client.infer(ample), service, 64)

    status, _ = refusal(client.infer, request(inputs, parameters={"timeout": 1}))
    assert status == "DEADLINE_EXCEEDED"


def test_parameter_prepare_preprocesses_drawings(client: InferenceGRPCClient, service: Service) -> None:
    asked = request(tensor(service.array("canvases")), "ink", parameters={"prepare": "mnist"})

    answer = client.infer(asked)

    np.testing.assert_array_equal(
        answer.get_output_by_name("probabilities").as_numpy(), service.array("canvases-probabilities")
    )


def test_parameter_explain_returns_attributions(client: InferenceGRPCClient, service: Service) -> None:
    answer = client.infer(request(tensor(service.images(1)), "ink", parameters={"explain": "3"}))

    found = {output.name: output.as_numpy() for output in answer.outputs}
    assert found["explained"].tolist() == [3]
    np.testing.assert_allclose(found["shares"], service.array("explained-shares"), atol=1e-4)
    np.testing.assert_allclose(found["bias"], service.array("explained-bias"), atol=1e-4)


WRONG: dict[str, tuple[Callable[[NDArray[np.uint8]], InferRequest], str, tuple[str, ...]]] = {
    "model": (lambda images: request(tensor(images), "nobody"), "NOT_FOUND", ("nobody",)),
    "version": (lambda images: request(tensor(images), model_version="9"), "NOT_FOUND", ("9",)),
    "shape": (
        lambda images: request(tensor(images[:, :9])),
        "INVALID_ARGUMENT",
        ("28, 28", "(1, 9, 28)"),
    ),
    "fraction": (
        lambda images: request(tensor(images / np.float32(510), is_raw=False)),
        "INVALID_ARGUMENT",
        ("0..255",),
    ),
    "too many": (
        lambda images: request(tensor(np.repeat(images, 1001, axis=0))),
        "RESOURCE_EXHAUSTED",
        ("1,000", "1,001"),
    ),
    "output": (
        lambda images: request(tensor(images), request_outputs=[RequestedOutput("digit")]),
        "INVALID_ARGUMENT",
        ("logits, probabilities", "digit"),
    ),
}
"""Requests that are refused: with which status, and what the message names."""


@pytest.mark.parametrize("what", WRONG)
def test_invalid_requests_raise_with_the_message(client: InferenceGRPCClient, what: str) -> None:
    """
    What was expected and what came, as the client's exception shows it.
    """
    asked, status, named = WRONG[what]

    found = refusal(client.infer, asked(np.full((1, 28, 28), 255, np.uint8)))

    assert found[0] == status
    for part in named:
        assert part in found[1]
