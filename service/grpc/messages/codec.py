"""Parses ModelInferRequest and serializes ModelInferResponse, with typed or raw tensor contents."""

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
"""Field of typed contents for each datatype, by the protocol; others are sent as raw contents only."""

AnyMessage = TypeVar("AnyMessage", bound=Message)


def parse(message_type: type[AnyMessage], content: bytes) -> AnyMessage:
    """Parse a message; raises MalformedRequest if it is not one of that type."""
    message: AnyMessage = message_type()
    with contextlib.suppress(DecodeError):
        message.ParseFromString(content)
        return message
    raise unreadable()


def read(scanned: ScannedRequest) -> tuple[InferenceRequest, bool]:
    """Parse an inference request.

    Returns:
        The request, and whether its tensor contents are raw; then those of the response are raw too.

    Raises:
        MalformedRequest: The message cannot be parsed; a tensor has both kinds of contents, or contents of
            another datatype; or the number of raw contents is not that of the inputs.
    """
    request = parse(ModelInferRequest, scanned.rest)
    raw = scanned.raw
    if raw and len(raw) != len(request.inputs):
        expected = f"one content an input, {len(request.inputs):,} in all"
        raise MalformedRequest("Member 'raw_input_contents'", expected, f"{len(raw):,}")
    inference_request = InferenceRequest(
        inputs=[_input(item, raw[row] if raw else None) for row, item in enumerate(request.inputs)],
        outputs=[requested_output(item.name, _parameters(item.parameters)) for item in request.outputs],
        id=request.id,
        parameters=_parameters(request.parameters),
    )
    return inference_request, bool(raw)


def write(response: InferenceResponse, is_raw: bool) -> bytes:
    """Serialize an inference response, with raw or typed tensor contents."""
    model = response.model
    message = ModelInferResponse(model_name=model.name, model_version=model.version, id=response.id)
    for output in response.outputs:
        tensor = message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if is_raw:
            message.raw_output_contents.append(tensor_contents.encode(output.content))
        else:
            content = output.content
            elements = content if isinstance(content, list) else content.ravel().tolist()
            getattr(tensor.contents, FIELDS[output.datatype]).extend(elements)
    return bytes(message.SerializeToString())


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


def _parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {}
    for name, value in fields.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is not None:
            parameters[name] = getattr(value, choice)
    return parameters
