"""tritonclient over gRPC: every test runs with the blocking and with the asyncio client.

They have calls for what their makers' server alone has and Inkling has not: streams of inferences, traces,
logs, shared memory. These are answered UNIMPLEMENTED. Inputs are always raw contents.
"""

import base64
import json
import time
from collections.abc import Callable
from queue import Queue
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult, aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.clients.served import Service, check_classes

OUTPUTS = ("logits", "probabilities")

COMPRESSIONS = ("gzip", "deflate")


@pytest.fixture(params=["grpc", "grpc-asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """`blocking` or `asyncio`."""
    return str(request.param)


@pytest.fixture(scope="module")
def clients(
    service: Service, waiting: Callable[[Callable[[], Any]], Any]
) -> dict[str, InferenceServerClient]:
    """Both clients."""
    return {
        "grpc": InferenceServerClient(service.grpc),
        "grpc-asyncio": waiting(lambda: aio.InferenceServerClient(service.grpc)),
    }


@pytest.fixture
def client(kind: str, clients: dict[str, InferenceServerClient]) -> InferenceServerClient:
    """The client of the test."""
    return clients[kind]


def tensor(array: NDArray[Any], name: str = "image") -> InferInput:
    """Return an array as an input tensor."""
    made = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array)


def check(result: InferResult, service: Service, count: int, outputs: tuple[str, ...] = OUTPUTS) -> None:
    """Check that outputs of `mlp-128` equal those of the engine bit for bit."""
    assert [output.name for output in result.get_response().outputs] == list(outputs)
    for output in outputs:
        got = result.as_numpy(output)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, service.scores(output, count))


def refusal(call: Callable[..., object], *arguments: object, **named: object) -> tuple[str, str]:
    """Return status and message of the client's exception."""
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **named)
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()


def test_server_is_live_and_ready(client: InferenceServerClient) -> None:
    assert client.is_server_live() is True
    assert client.is_server_ready() is True


def test_server_metadata_has_extensions(client: InferenceServerClient) -> None:
    metadata = client.get_server_metadata(as_json=True)

    assert metadata["name"] == "inkling"
    assert metadata["version"]
    assert {
        "classification",
        "model_configuration",
        "model_repository",
        "parameters",
        "schedule_policy",
        "statistics",
    } <= set(metadata["extensions"])


def test_model_readiness(client: InferenceServerClient) -> None:
    assert client.is_model_ready("mlp-128") is True
    assert client.is_model_ready("mlp-128", "1") is True


@pytest.mark.parametrize(("name", "version"), [("nobody", ""), ("mlp-128", "9")])
def test_unknown_models_are_not_ready(client: InferenceServerClient, name: str, version: str) -> None:
    status, message = refusal(client.is_model_ready, name, version)

    assert status == "NOT_FOUND"
    assert (version or name) in message


@pytest.mark.parametrize("version", ["", "1"])
def test_model_metadata_has_tensors(client: InferenceServerClient, version: str) -> None:
    """
    Whole numbers of 64 bits are text in protobuf's JSON.
    """
    assert client.get_model_metadata("mlp-128", version, as_json=True) == {
        "name": "mlp-128",
        "versions": ["1", "2", "3"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": ["-1", "28", "28"]}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": ["-1", "10"]} for name in OUTPUTS],
    }


@pytest.mark.parametrize("version", ["", "1"])
def test_model_configuration(client: InferenceServerClient, version: str) -> None:
    configuration = client.get_model_config("mlp-128", version, as_json=True)["config"]

    assert configuration["name"] == "mlp-128"
    assert configuration["backend"] == "onnxruntime"
    assert configuration["max_batch_size"] == 1000
    assert configuration["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["28", "28"]}]
    assert configuration["output"] == [
        {"name": name, "data_type": "TYPE_FP32", "dims": ["10"]} for name in OUTPUTS
    ]


def test_statistics_count_requests(client: InferenceServerClient, service: Service) -> None:
    """
    Requests, images, batch sizes and failures of the version that was asked, and of no other.
    """

    def recorded(version: str) -> Any:  # noqa: ANN401 - a message
        (record,) = client.get_inference_statistics("counted", version).model_stats
        assert (record.name, record.version) == ("counted", version)
        return record

    def batches(record: Any) -> dict[int, int]:  # noqa: ANN401 - a message
        return {batch.batch_size: batch.compute_infer.count for batch in record.batch_stats}

    before, other = recorded("2"), recorded("1")
    began_ms = time.time() * 1000
    for count in (1, 5, 5):
        client.infer("counted", [tensor(service.images(count))], "2")
    refusal(client.infer, "counted", [tensor(service.images(1)[:, :9])], "2")
    after = recorded("2")

    assert recorded("1") == other
    assert after.inference_count - before.inference_count == 11
    assert after.execution_count - before.execution_count == 3
    assert began_ms - 1 <= after.last_inference <= time.time() * 1000 + 1
    for name, count in (
        ("success", 3),
        ("fail", 1),
        ("queue", 3),
        ("compute_input", 3),
        ("compute_infer", 3),
        ("compute_output", 3),
    ):
        grown = getattr(after.inference_stats, name).count - getattr(before.inference_stats, name).count
        assert (name, grown) == (name, count)
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert batches(after).get(1, 0) - batches(before).get(1, 0) == 1
    assert batches(after).get(5, 0) - batches(before).get(5, 0) == 2
    every = client.get_inference_statistics().model_stats
    assert {("counted", "1"), ("counted", "2"), ("ink", "1")} <= {
        (record.name, record.version) for record in every
    }


@pytest.mark.parametrize("count", [1, 64, 1000])
def test_outputs_equal_the_engine_bit_for_bit(
    client: InferenceServerClient, service: Service, count: int
) -> None:
    requested_output = [InferRequestedOutput(output) for output in OUTPUTS]

    result = client.infer("mlp-128", [tensor(service.images(count))], outputs=requested_output)

    check(result, service, count)


@pytest.mark.parametrize("outputs", [("probabilities", "logits"), ("logits",), ("probabilities",)])
def test_requested_outputs_are_returned(
    client: InferenceServerClient, service: Service, outputs: tuple[str, ...]
) -> None:
    """
    Some of them or all, in the order in which they are asked for.
    """
    requested_output = [InferRequestedOutput(output) for output in outputs]

    check(
        client.infer("mlp-128", [tensor(service.images(64))], outputs=requested_output), service, 64, outputs
    )


def test_all_outputs_are_returned_by_default(client: InferenceServerClient, service: Service) -> None:
    check(client.infer("mlp-128", [tensor(service.images(64))]), service, 64)


def test_requested_version_or_the_newest_responds(client: InferenceServerClient, service: Service) -> None:
    for version, answered in (("", "2"), ("1", "1"), ("2", "2")):
        result = client.infer("quadrants", [tensor(service.images(64))], version)

        assert result.get_response().model_name == "quadrants"
        assert result.get_response().model_version == answered
        np.testing.assert_array_equal(
            result.as_numpy("logits"), service.scores("logits", 64, "quadrants", answered)
        )


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8"])
def test_integers_are_accepted_in_any_datatype(
    client: InferenceServerClient, service: Service, dtype: str
) -> None:
    check(client.infer("mlp-128", [tensor(service.images(64).astype(dtype))]), service, 64)


def test_integers_are_accepted_as_bf16(client: InferenceServerClient, service: Service) -> None:
    """
    BF16, which holds every whole number to 256.
    """
    result = client.infer("mlp-128", [tensor(service.images(64).astype(ml_dtypes.bfloat16))])

    check(result, service, 64)


def test_large_messages_are_accepted(client: InferenceServerClient, service: Service) -> None:
    """
    A thousand images in double precision, 6 MB: within the service's limits and beyond gRPC's usual 4 MiB.
    """
    check(client.infer("mlp-128", [tensor(service.images(1000).astype("f8"))]), service, 1000)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_unit_scale_is_a_parameter_of_the_request(
    client: InferenceServerClient, service: Service, dtype: str
) -> None:
    """
    `scale: unit` as a parameter of the request; this client has none of an input.
    """
    greys = np.asarray(service.images(64) / 255, dtype)

    result = client.infer("mlp-128", [tensor(greys)], parameters={"scale": "unit"})

    check(result, service, 64)


@pytest.mark.parametrize("classes", [1, 3, 10])
def test_classification_returns_the_top_classes(
    client: InferenceServerClient, service: Service, classes: int
) -> None:
    """
    As `value:index:label`, the likeliest first.
    """
    requested_output = [InferRequestedOutput(output, class_count=classes) for output in OUTPUTS]

    result = client.infer("mlp-128", [tensor(service.images(64))], outputs=requested_output)

    for output in OUTPUTS:
        assert result.get_output(output).datatype == "BYTES"
        check_classes(result.as_numpy(output), service.scores(output, 64), classes)


@pytest.mark.parametrize("algorithm", COMPRESSIONS)
def test_messages_can_be_compressed(client: InferenceServerClient, service: Service, algorithm: str) -> None:
    result = client.infer("mlp-128", [tensor(service.images(1000))], compression_algorithm=algorithm)

    check(result, service, 1000)


def test_request_id_is_returned(client: InferenceServerClient, service: Service) -> None:
    inputs = [tensor(service.images(1))]

    assert client.infer("mlp-128", inputs, request_id="seven-7").get_response().id == "seven-7"
    assert client.infer("mlp-128", inputs).get_response().id == ""


def test_priority_and_long_timeout_change_nothing(client: InferenceServerClient, service: Service) -> None:
    result = client.infer("mlp-128", [tensor(service.images(64))], priority=1, timeout=60_000_000)

    check(result, service, 64)


def test_short_timeout_raises(client: InferenceServerClient, service: Service) -> None:
    """
    A microsecond has passed before the request is read.
    """
    status, message = refusal(client.infer, "ink", [tensor(service.images(1000))], timeout=1)

    assert status == "DEADLINE_EXCEEDED"
    assert message


def test_parameters_of_other_servers_are_ignored(client: InferenceServerClient, service: Service) -> None:
    """
    Sequences and parameters that mean nothing here.
    """
    result = client.infer(
        "mlp-128",
        [tensor(service.images(64))],
        sequence_id=3,
        sequence_start=True,
        sequence_end=True,
        parameters={"tenant": "a", "number": 1.5, "is_it": True, "many": 7},
    )

    check(result, service, 64)


def test_parameter_prepare_preprocesses_drawings(client: InferenceServerClient, service: Service) -> None:
    """
    Images of any size with the parameter `prepare`.
    """
    result = client.infer("ink", [tensor(service.array("canvases"))], parameters={"prepare": "mnist"})

    np.testing.assert_array_equal(result.as_numpy("probabilities"), service.array("canvases-probabilities"))


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
@pytest.mark.parametrize("encode", [bytes, base64.b64encode])
def test_image_files_are_bytes_tensors(
    client: InferenceServerClient,
    service: Service,
    shape: tuple[int, ...],
    encode: Callable[[bytes], bytes],
) -> None:
    """
    Of shape (n,) or (n, 1); also in base64, as MLServer's codec writes them.
    """
    files = np.array([encode((service.folder / "two.png").read_bytes())], np.object_).reshape(shape)

    result = client.infer("ink", [tensor(files)])

    np.testing.assert_array_equal(result.as_numpy("probabilities"), service.array("two-probabilities"))


@pytest.mark.parametrize("explain", [True, "3"])
def test_parameter_explain_returns_attributions(
    client: InferenceServerClient, service: Service, explain: bool | str
) -> None:
    """
    The parameter `explain`: of the likeliest class or of a label's. Shares and bias add up to the logit.
    """
    result = client.infer("ink", [tensor(service.images(1))], parameters={"explain": explain})

    scores = service.array("explained-logits")
    index = 3 if explain == "3" else int(scores[0].argmax())
    assert result.as_numpy("explained").dtype == np.int64
    assert result.as_numpy("explained").tolist() == [index]
    shares, bias = result.as_numpy("shares"), result.as_numpy("bias")
    assert shares.shape == (1, 28, 28)
    assert shares.sum(dtype=float) + bias[0] == pytest.approx(float(scores[0, index]), abs=1e-3)
    np.testing.assert_array_equal(result.as_numpy("logits"), scores)
    if explain == "3":
        np.testing.assert_allclose(shares, service.array("explained-shares"), atol=1e-4)
        np.testing.assert_allclose(bias, service.array("explained-bias"), atol=1e-4)


def test_async_infer_of_the_blocking_client(
    clients: dict[str, InferenceServerClient], service: Service
) -> None:
    """
    The client of asyncio has no such call.
    """
    answers: Queue[tuple[InferResult, object]] = Queue()
    for _ in range(3):
        clients["grpc"].async_infer(
            "mlp-128",
            [tensor(service.images(64))],
            lambda result, error: answers.put((result, error)),
        )

    for _ in range(3):
        result, error = answers.get(timeout=60)
        assert error is None
        check(result, service, 64)


def test_models_are_loaded_and_unloaded(client: InferenceServerClient, service: Service, kind: str) -> None:
    """
    A version that is published while the service runs answers once it is loaded; what is unloaded is
    UNAVAILABLE until it is loaded again.
    """
    name = f"growing-{kind}"
    images = [tensor(service.images(64))]

    def states() -> dict[str, str]:
        index = client.get_model_repository_index().models
        return {model.version: model.state for model in index if model.name == name}

    assert states() == {"1": "READY"}
    service.publish(name, "2")
    assert client.infer(name, images).get_response().model_version == "1"

    client.load_model(name)

    assert states() == {"1": "READY", "2": "READY"}
    result = client.infer(name, images)
    assert result.get_response().model_version == "2"
    np.testing.assert_array_equal(result.as_numpy("logits"), service.scores("logits", 64, "quadrants", "2"))

    client.unload_model(name)

    assert set(states().values()) == {"UNAVAILABLE"}
    status, message = refusal(client.infer, name, images)
    assert status == "UNAVAILABLE"
    assert name in message
    assert client.is_server_ready() is True

    client.load_model(name)

    assert client.is_model_ready(name, "2") is True
    assert client.infer(name, images, "1").get_response().model_version == "1"


def test_unsupported_load_parameters_are_refused(client: InferenceServerClient) -> None:
    status, message = refusal(client.load_model, "nobody")

    assert status == "NOT_FOUND"
    assert "nobody" in message

    status, message = refusal(client.load_model, "quadrants", config=json.dumps({"name": "quadrants"}))

    assert status == "INVALID_ARGUMENT"
    assert "config" in message


def test_unknown_models_and_versions_raise(client: InferenceServerClient, service: Service) -> None:
    for call, arguments in (
        (client.infer, ([tensor(service.images(1))],)),
        (client.get_model_metadata, ()),
        (client.get_model_config, ()),
        (client.get_inference_statistics, ()),
    ):
        assert refusal(call, "nobody", *arguments)[0] == "NOT_FOUND"
        assert "nobody" in refusal(call, "nobody", *arguments)[1]
        assert refusal(call, "mlp-128", *arguments, "9")[0] == "NOT_FOUND"
        assert "9" in refusal(call, "mlp-128", *arguments, "9")[1]


INVALID, TOO_MUCH = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"

WRONG: dict[str, tuple[Callable[[NDArray[np.uint8]], InferInput], str, tuple[str, ...]]] = {
    "shape": (lambda images: tensor(images[:, :9]), INVALID, ("28, 28", "(1, 9, 28)")),
    "dimensions": (lambda images: tensor(images.reshape(1, 784)), INVALID, ("28, 28", "(1, 784)")),
    "no image": (lambda images: tensor(images[:0]), INVALID, ("B >= 1", "(0, 28, 28)")),
    "fraction": (lambda images: tensor(images / np.float32(510)), INVALID, ("0..255", "scale")),
    "above 255": (lambda images: tensor(images.astype("i4") + 1), INVALID, ("0..255", "256")),
    "below 0": (lambda images: tensor(-images.astype("i8")), INVALID, ("0..255", "-255")),
    "not a number": (lambda images: tensor(images + np.float32("nan")), INVALID, ("0..255", "nan")),
    "true and false": (lambda images: tensor(images > 0), INVALID, ("UINT8", "BOOL")),
    "name": (lambda images: tensor(images, "picture"), INVALID, ("image", "picture")),
    "no picture file": (
        lambda images: tensor(np.array([images.tobytes()], np.object_)),
        INVALID,
        ("image",),
    ),
    "lying": (lambda images: tensor(images).set_shape([3, 28, 28]), INVALID, ("(3, 28, 28)",)),
    "too many": (lambda images: tensor(np.repeat(images, 1001, axis=0)), TOO_MUCH, ("1,000", "1,001")),
}
"""Inputs that are refused, made of one white image: with which status, and what the message names."""


@pytest.mark.parametrize("what", WRONG)
def test_invalid_inputs_raise_with_the_message(client: InferenceServerClient, what: str) -> None:
    """
    What was expected and what came, as the client's exception shows it.
    """
    make, status, named = WRONG[what]

    found = refusal(client.infer, "mlp-128", [make(np.full((1, 28, 28), 255, np.uint8))])

    assert found[0] == status
    for part in named:
        assert part in found[1]


def test_invalid_outputs_and_parameters_raise(client: InferenceServerClient, service: Service) -> None:
    inputs = [tensor(service.images(1))]

    status, message = refusal(client.infer, "ink", inputs, outputs=[InferRequestedOutput("digit")])

    assert status == INVALID
    assert "logits, probabilities" in message
    assert "digit" in message

    for name, value in (("prepare", "photo"), ("explain", "eleven"), ("scale", "percent")):
        status, message = refusal(client.infer, "ink", inputs, parameters={name: value})

        assert status == INVALID
        assert name in message
        assert value in message


def test_shared_memory_is_refused(client: InferenceServerClient, service: Service) -> None:
    shared = InferInput("image", [1, 28, 28], "UINT8")
    shared.set_shared_memory("region", 784)

    assert refusal(client.infer, "mlp-128", [shared])[0] == INVALID

    shared = InferRequestedOutput("logits")
    shared.set_shared_memory("region", 40)
    status, message = refusal(client.infer, "mlp-128", [tensor(service.images(1))], outputs=[shared])

    assert status == INVALID
    assert "shared_memory" in message


def test_calls_of_other_servers_are_unimplemented(client: InferenceServerClient) -> None:
    for call in (client.get_system_shared_memory_status, client.get_log_settings, client.get_trace_settings):
        assert refusal(call)[0] == "UNIMPLEMENTED"


def test_streams_of_other_servers_are_unimplemented(service: Service) -> None:
    """
    The blocking client is told through its callback; the client of asyncio has the same call.
    """
    errors: Queue[InferenceServerException] = Queue()

    def note(result: None, error: InferenceServerException) -> None:
        del result
        errors.put(error)

    with InferenceServerClient(service.grpc) as client:
        client.start_stream(note)

        assert errors.get(timeout=60).status() == "StatusCode.UNIMPLEMENTED"
