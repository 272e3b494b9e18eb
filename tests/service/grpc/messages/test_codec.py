"""Typed and raw tensor contents, valid and invalid."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.grpc.messages import inference_pb2 as pb
from service.grpc.messages.scan import ScannedRequest
from service.oip import tensor_contents
from tests import precision, toys
from tests.service.grpc.calls import DOT, Client, raw, refused, typed
from tests.service.http.bodies import picture

LOGITS = [0, 0, 0, 1]
"""What the newest version of `quadrants` says of DOT: every quarter's opposite."""

PIXELS = DOT.ravel().tolist()


def test_raw_contents_get_raw_contents(grpc_client: Client) -> None:
    message = grpc_client.infer(raw()).message

    assert [output.name for output in message.outputs] == ["logits", "probabilities"]
    assert [list(output.shape) for output in message.outputs] == [[1, 4], [1, 4]]
    assert not any(output.HasField("contents") for output in message.outputs)
    logits, probabilities = (np.frombuffer(content, "<f4") for content in message.raw_output_contents)
    assert logits.tolist() == LOGITS
    exact = np.array([LOGITS], np.float32)
    assert np.all(np.abs(probabilities - toys.softmax(exact)) <= precision.softmax_error(exact))


@pytest.mark.parametrize(
    ("field", "datatype", "scale"),
    [
        *[("uint_contents", datatype, 1) for datatype in ("UINT8", "UINT16", "UINT32")],
        *[("int_contents", datatype, 1) for datatype in ("INT16", "INT32")],
        ("int64_contents", "INT64", 1),
        ("uint64_contents", "UINT64", 1),
        ("fp32_contents", "FP32", 1),
        ("fp64_contents", "FP64", 1),
        ("fp32_contents", "FP32", 255),
        ("bool_contents", "BOOL", 255),
    ],
)
def test_typed_contents_get_typed_contents(
    grpc_client: Client, field: str, datatype: str, scale: int
) -> None:
    """
    Of every datatype; as 0..1 if the request says so.
    """
    asked = typed(field, [value // scale for value in PIXELS], datatype)
    if scale != 1:
        asked.parameters["scale"].string_param = "unit"

    message = grpc_client.infer(asked).message

    assert not message.raw_output_contents
    assert list(message.outputs[0].contents.fp32_contents) == LOGITS


def test_classes_are_bytes(grpc_client: Client) -> None:
    for asked in (raw(), typed("uint_contents", PIXELS, "UINT8")):
        requested_output = asked.outputs.add(name="logits")
        requested_output.parameters["classification"].int64_param = 1

        message = grpc_client.infer(asked).message

        label = b"1.0:3:lower right"
        (output,) = message.outputs
        assert output.datatype == "BYTES"
        if asked.raw_input_contents:
            assert list(message.raw_output_contents) == [len(label).to_bytes(4, "little") + label]
        else:
            assert list(output.contents.bytes_contents) == [label]


def test_explanations_are_outputs(grpc_client: Client) -> None:
    asked = raw()
    asked.parameters["explain"].bool_param = True

    message = grpc_client.infer(asked).message

    found = {output.name: output.datatype for output in message.outputs}
    assert found == {
        "logits": "FP32",
        "probabilities": "FP32",
        "shares": "FP32",
        "bias": "FP32",
        "explained": "INT64",
    }


def _both() -> pb.ModelInferRequest:
    asked = typed("uint_contents", PIXELS, "UINT8")
    asked.raw_input_contents.append(DOT.tobytes())
    return asked


def _neither() -> pb.ModelInferRequest:
    return typed("uint_contents", [], "UINT8")


def _two_raw() -> pb.ModelInferRequest:
    asked = raw()
    asked.raw_input_contents.append(b"")
    return asked


def _shared() -> pb.ModelInferRequest:
    asked = _neither()
    asked.inputs[0].parameters["shared_memory_region"].string_param = "a"
    return asked


WRONG: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "both": (_both, ("contents or raw_input_contents", "both")),
    "neither": (_neither, ("784 elements", "got 0")),
    "two raw contents for one input": (_two_raw, ("raw_input_contents", "1 in all", "got 2")),
    "no input": (lambda: pb.ModelInferRequest(model_name="quadrants"), ("image", "none")),
    "too short": (lambda: raw(DOT.tobytes()[:-1]), ("784 bytes", "783")),
    "too long": (lambda: raw(DOT.tobytes() + b"\0"), ("784 bytes", "785")),
    "too few elements": (lambda: typed("uint_contents", PIXELS[1:], "UINT8"), ("784 elements", "783")),
    "negative dimension": (lambda: raw(shape=[-1, 28, 28]), ("0 to 2147483647", "-1")),
    "overflowing dimensions": (lambda: raw(shape=[2**62, 2**62, 4]), ("0 to 2147483647",)),
    "huge declaration": (lambda: raw(shape=[2**31 - 1, 28, 28]), ("64 images",)),
    "unknown datatype": (lambda: raw(datatype="INT7"), ("UINT8", "INT7")),
    "another field": (lambda: typed("fp32_contents", PIXELS, "UINT8"), ("uint_contents", "fp32_contents")),
    "no field of its own": (lambda: typed("fp32_contents", PIXELS, "FP16"), ("raw_input_contents", "FP16")),
    "does not fit": (lambda: typed("uint_contents", [256, *PIXELS[1:]], "UINT8"), ("[0, 0, 0]", "256")),
    "not finite": (lambda: typed("fp32_contents", [np.inf, *PIXELS[1:]], "FP32"), ("[0, 0, 0]", "inf")),
    "shared memory": (_shared, ("shared memory",)),
    "no message": (lambda: b"\xff", ("inference.proto",)),
    "a cut message": (lambda: raw().SerializeToString()[:-1], ("inference.proto",)),
    "a group": (lambda: b"\x0b\x0c", ("inference.proto",)),
    "a number without end": (lambda: b"\x80" * 11, ("inference.proto",)),
    "a name that is no text": (lambda: b"\x0a\x01\xff", ("inference.proto",)),
    "an id that is no text": (lambda: b"\x1a\x01\xff" + raw().SerializeToString(), ("inference.proto",)),
}
"""Inferences that are refused, and what the sentence names."""


@pytest.mark.parametrize("what", WRONG)
def test_invalid_requests_are_refused(grpc_client: Client, what: str) -> None:
    make, parts = WRONG[what]
    code = "RESOURCE_EXHAUSTED" if what == "huge declaration" else "INVALID_ARGUMENT"

    answer = grpc_client.infer(make())

    refused(answer, code, *parts)


@pytest.mark.parametrize(
    "part",
    [
        b"\x2a\x00",  # an empty input
        b"\x2a\x06\x22\x00\x22\x00\x22\x00",  # an input of empty parameters
        b"\x22\x00",  # an empty parameter
        b"\x3a\x00",  # an empty raw content
        b"\x98\x06\x01",  # a field that nobody knows
        b"\x2a\x08\x2a\x06\x42\x00\x42\x00\x42\x00",  # an input of empty elements
    ],
)
def test_too_many_fields_are_refused_before_parsing(grpc_client: Client, part: bytes) -> None:
    """
    Each parsed field would take a multiple of its memory.
    """
    answer = grpc_client.infer(raw().SerializeToString() + part * 2000)

    refused(answer, "RESOURCE_EXHAUSTED", "1,088 fields", "more")


def test_scanning_does_not_copy_raw_contents() -> None:
    """
    They are views of the message; the rest is a message without them.
    """
    asked = raw(bytes(range(200)))
    without = pb.ModelInferRequest()
    without.CopyFrom(asked)
    del without.raw_input_contents[:]
    first = pb.ModelInferRequest(raw_input_contents=[b"first"]).SerializeToString()
    content = first + asked.SerializeToString()

    envelope = ScannedRequest.of(content, 64)

    assert (envelope.model, envelope.version) == ("quadrants", None)
    assert [bytes(part) for part in envelope.raw] == [b"first", bytes(range(200))]
    assert all(part.obj is content for part in envelope.raw)
    assert pb.ModelInferRequest.FromString(envelope.rest) == without


@pytest.mark.parametrize("shape", [[1], [1, 1]])
@pytest.mark.parametrize("is_raw", [True, False])
def test_image_file_may_be_base64_of_shape_n_1(grpc_client: Client, shape: list[int], is_raw: bool) -> None:
    """
    As MLServer's codec writes it.
    """
    text = base64.b64encode(picture(Image.fromarray(DOT[0])))
    request = typed("bytes_contents", [text], "BYTES", shape=shape)
    if is_raw:
        request = raw(tensor_contents.encode([text]), datatype="BYTES", shape=shape)
    request.parameters["prepare"].string_param = "none"

    message = grpc_client.infer(request).message

    assert message.outputs[0].shape == [1, 4]
