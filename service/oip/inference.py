"""Inference of the protocol: converts an inference request into a `PredictionRequest` of the pipeline.

JSON and protobuf are encoded and decoded elsewhere: `service.oip.json_codec`, `service.grpc.messages`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.codecs import rows
from service.codecs.drawings import Drawing, DrawingsOrRows, Limits, Shape, check_count, without_ones
from service.core.artifact.manifest import LOGITS_NAME, PROBABILITIES_NAME
from service.core.errors import MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.wording import quote
from service.inference import explanation
from service.inference.models.model import Model
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction
from service.inference.preprocessing import Preprocessing
from service.inference.request_context import RequestContext
from service.oip import parameters, tensor_contents
from service.oip.messages import InferenceRequest, InferenceResponse, Output, RequestedOutput
from service.oip.parameters import ExplainedClass
from service.oip.tensors import BOOL, BYTES, Tensor

Response = TypeVar("Response")

SHARES_NAME, BIAS_NAME, EXPLAINED_NAME = "shares", "bias", "explained"
"""Outputs with the parameter `explain`: the attribution of each pixel to the logit of a class, the rest of
the logit, and the index of that class."""

_SCORES = (LOGITS_NAME, PROBABILITIES_NAME)
_EXPLANATION = (SHARES_NAME, BIAS_NAME, EXPLAINED_NAME)


def prediction_request(
    request: InferenceRequest,
    model: Model,
    limits: Limits,
    context: RequestContext,
    write: Callable[[InferenceResponse], Response],
) -> PredictionRequest[Response]:
    """Convert an inference request into a request of the prediction pipeline.

    Args:
        request: The inference request.
        model: The model that it names.
        limits: Limits of one request.
        context: The request context, where the time of an explanation is added.
        write: Encodes the response.

    Raises:
        TensorMismatch: The inputs are not those of the model.
        MalformedRequest: An output, an element or a parameter is not valid.
        PayloadTooLarge: There are more images than the limits allow.
    """
    explained = parameters.explained_class(request.parameters, model)
    outputs = _requested_outputs(request.outputs, explained is not None)
    if explained is not None:
        limits = explanation.limits_of(limits)
    prepare = parameters.preprocessing(request.parameters, model)

    def encode(prediction: Prediction) -> Response:
        values: dict[str, NDArray[Any]] = {
            LOGITS_NAME: prediction.scores.logits,
            PROBABILITIES_NAME: prediction.scores.probabilities,
        }
        if explained is not None and any(output.name not in values for output in outputs):
            values |= _explain(prediction, explained)
            context.mark("explain")
        labels = model.manifest.labels
        tensors = [_output(output, values[output.name], labels) for output in outputs]
        return write(InferenceResponse(model, request.id, tensors))

    return PredictionRequest(
        _drawings(request, model, limits, prepare),
        encode,
        prepare,
        most_inline=None if explained is None else explanation.MOST_INLINE,
        timeout_s=parameters.timeout_s(request.parameters),
        priority=parameters.natural(request.parameters, "priority") or 0,
        image_bytes=None if explained is None else explanation.image_bytes(model),
    )


def _drawings(
    request: InferenceRequest, model: Model, limits: Limits, prepare: Preprocessing | None
) -> DrawingsOrRows:
    """Return the images of the input tensor, or its image files, or rows of numbers."""
    name = model.manifest.input.name
    if len(request.inputs) != 1 or request.inputs[0].name != name:
        got = ", ".join(quote(tensor.name) for tensor in request.inputs[:4]) or "none"
        raise TensorMismatch("Inputs", f"one named {name!r}", got)
    tensor = request.inputs[0]
    parameters.check_no_shared_memory(tensor.parameters, tensor)
    shape = model.shape
    limits = limits.of(shape)
    if model.takes_rows:
        return _rows(tensor, shape, limits)
    if tensor.datatype == BYTES:
        if tensor.size < 1 or tensor.shape[:1] != (tensor.size,):  # (n, 1): n files, as in MLServer
            raise _mismatch(tensor, shape)
        check_count(tensor.size, limits)
        return [
            Drawing(f"Element [{row}] of {tensor.named}", blob)
            for row, blob in enumerate(tensor_contents.blobs(tensor))
        ]
    is_any_size = prepare in ("auto", "mnist") and len(tensor.shape) == 3
    is_shape = tensor.shape[1:] == shape or without_ones(tensor.shape[1:]) == without_ones(shape)
    if tensor.size < 1 or not (is_shape or is_any_size):
        raise _mismatch(tensor, shape)
    check_count(tensor.shape[0], limits)
    if is_any_size and tensor.size > limits.picture_pixels:
        raise PayloadTooLarge("Pictures", limits.picture_pixels, "pixels together", f"{tensor.size:,}")
    images = tensor_contents.pixels(tensor, parameters.is_unit(request.parameters, tensor))
    if is_shape:
        return images.reshape(-1, *shape)
    return [Drawing(f"Image {row} of {tensor.named}", image) for row, image in enumerate(images)]


def _rows(tensor: Tensor, shape: Shape, limits: Limits) -> NDArray[np.float32]:
    """Return the rows of an input tensor of numbers."""
    if tensor.datatype in (BYTES, BOOL) or tensor.size < 1 or tensor.shape[1:] != shape:
        expected = f"(B, {shape[0]}) FP32 with B >= 1, or another type of numbers"
        raise TensorMismatch(tensor.title, expected, tensor.kind())
    check_count(tensor.shape[0], limits)
    return rows.to_float32(tensor_contents.numbers(tensor), f"Elements of {tensor.named} ")


def _mismatch(tensor: Tensor, shape: Shape) -> TensorMismatch:
    sides = ", ".join(str(side) for side in shape)
    expected = (
        f"(B, {sides}) UINT8 with B >= 1, or numbers that are exactly that, or (B,) {BYTES} of picture files"
    )
    return TensorMismatch(tensor.title, expected, tensor.kind())


def _explain(prediction: Prediction, explained: ExplainedClass) -> Mapping[str, NDArray[Any]]:
    """Compute the outputs of an explanation."""
    classes, found = explanation.explain(prediction, explained.label_index)
    return {
        SHARES_NAME: found.shares,
        BIAS_NAME: found.bias,
        EXPLAINED_NAME: classes.astype(np.int64),
    }


def _requested_outputs(requested: Sequence[RequestedOutput], explains: bool) -> Sequence[RequestedOutput]:
    """Return the requested outputs after checking them; if none is requested, all that there are."""
    known = (*_SCORES, *_EXPLANATION) if explains else _SCORES
    if not requested:
        return [RequestedOutput(name) for name in known]
    names = [output.name for output in requested]
    for name in names:
        if name not in known:
            hint = "" if explains else f" ({', '.join(_EXPLANATION)} need the parameter explain)"
            raise MalformedRequest("Output", f"one of {', '.join(known)}{hint}", quote(name))
        if names.count(name) > 1:
            raise MalformedRequest("Output", "named once", f"{quote(name)} twice")
    for output in requested:
        if output.classes and output.name not in _SCORES:
            field = f"Parameter 'classification' of {output.named}"
            raise MalformedRequest(field, f"absent: only {' and '.join(_SCORES)} have classes", "one")
    return requested


def _output(requested: RequestedOutput, values: NDArray[Any], labels: Sequence[str]) -> Output:
    """Return an output tensor: the values, or the top classes as `value:index:label`."""
    if not requested.classes:
        return Output(requested.name, values, values.shape, requested.is_binary)
    ranking = np.argsort(-values, axis=1, kind="stable")[:, : requested.classes]
    elements = [
        f"{np.format_float_positional(row[i], trim='0')}:{i}:{labels[i]}".encode()
        for row, order in zip(values, ranking, strict=True)
        for i in order
    ]
    return Output(requested.name, elements, ranking.shape, requested.is_binary)
