"""Inferences and their answers as protobuf messages: typed contents, or raw ones beside the tensors.

The only file that knows how protobuf spells them.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from service.core.errors import MalformedRequest
from service.grpc.messages.inference_pb2 import ModelInferRequest, ModelInferResponse
from service.grpc.messages.scan import ScannedRequest, unreadable
from service.oip import tensor_contents, tensors
from service.oip.messages import InferenceRequest, InferenceResponse
from service.oip.parameters import requested_output
from service.oip.tensors import Tensor

FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    tensors.BYTES: "bytes_contents",
}
"""Which of the typed contents hold a datatype, as the protocol says; others come as raw contents only."""

AnyMessage = TypeVar("AnyMessage", bound=Message)


def parse(kind: type[AnyMessage], content: bytes) -> AnyMessage:
    """Read a message; raises MalformedRequest if it is none of that kind."""
    message: AnyMessage = kind()
    with contextlib.suppress(DecodeError):
        message.ParseFromString(content)
        return message
    raise unreadable()


def read(envelope: ScannedRequest) -> tuple[InferenceRequest, bool]:
    """Read an inference.

    Args:
        envelope: Looked at.

    Returns:
        What is asked, and whether its contents are raw, as the answer's should be then.

    Raises:
        MalformedRequest: It is no such message; or a tensor has both kinds of contents, or those of another
            datatype; or there are more or fewer raw contents than inputs.
    """
    request = parse(ModelInferRequest, envelope.rest)
    raw = envelope.raw
    if raw and len(raw) != len(request.inputs):
        expected = f"one content an input, {len(request.inputs):,} in all"
        raise MalformedRequest("Member 'raw_input_contents'", expected, f"{len(raw):,}")
    inference = InferenceRequest(
        inputs=[_input(item, raw[row] if raw else None) for row, item in enumerate(request.inputs)],
        outputs=[requested_output(item.name, _parameters(item.parameters)) for item in request.outputs],
        id=request.id,
        parameters=_parameters(request.parameters),
    )
    return inference, bool(raw)


def write(inference_response: InferenceResponse, is_raw: bool) -> bytes:
    """Write an answer, its contents raw or typed."""
    model = inference_response.model
    response = ModelInferResponse(model_name=model.name, model_version=model.version, id=inference_response.id)
    for output in inference_response.outputs:
        tensor = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if is_raw:
            response.raw_output_contents.append(tensor_contents.encode(output.content))
        else:
            content = output.content
            elements = content if isinstance(content, list) else content.ravel().tolist()
            getattr(tensor.contents, FIELDS[output.datatype]).extend(elements)
    return bytes(response.SerializeToString())


def _input(item: ModelInferRequest.InferInputTensor, raw: memoryview | None) -> Tensor:
    parameters = _parameters(item.parameters)
    empty = tensors.check(Tensor(item.name, item.datatype, tuple(item.shape), (), parameters))
    typed = [field.name for field, _ in item.contents.ListFields()]
    if raw is not None:
        if typed:
            raise MalformedRequest(empty.title, "contents or raw_input_contents", "both")
        return Tensor(item.name, item.datatype, empty.shape, raw, parameters)
    if not typed:
        return empty
    field = FIELDS.get(item.datatype, "raw_input_contents")
    if typed != [field]:
        expected = f"{field}, as {item.datatype} needs"
        raise MalformedRequest(f"Contents of {empty.named}", expected, ", ".join(typed))
    return Tensor(item.name, item.datatype, empty.shape, getattr(item.contents, field), parameters)


def _parameters(found: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {}
    for name, value in found.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is not None:
            parameters[name] = getattr(value, choice)
    return parameters
