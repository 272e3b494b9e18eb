"""One inference of the Open Inference Protocol: what is asked, what it means, what is answered.

Knows nothing of how either is written; `body` reads and writes JSON and binary, `service.grpc` messages.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.core import explanation, ink
from service.core.errors import MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.manifest import INPUT_NAME, LOGITS_NAME, PROBABILITIES_NAME
from service.http import explain
from service.http.answering import Question
from service.http.drawings import Drawing, Drawings, Limits, Shape, check_count, quote
from service.http.exchange import Exchange
from service.http.preparation import Preparation
from service.protocol import tensors
from service.protocol.tensors import BYTES, Tensor
from service.serving.predictor import Prediction
from service.serving.registry import Model

Written = TypeVar("Written")

SHARES_NAME, BIAS_NAME, EXPLAINED_NAME = "shares", "bias", "explained"
"""Outputs of an inference with the parameter `explain`: each pixel's share in a class's logit, what of the
logit no pixel has a share in, and which class it is."""

_MICROSECOND = 1e-6

_SHARED_MEMORY = "shared_memory_"


class Wanted(NamedTuple):
    """An output that a caller asks for.

    Attributes:
        name: Of the output.
        is_binary: Whether its contents should be binary; None if the caller does not say.
        classes: How many of the likeliest classes to name instead of giving the numbers; 0 gives the numbers.
    """

    name: str
    is_binary: bool | None = None
    classes: int = 0

    @property
    def named(self) -> str:
        """Its name within a message."""
        return f"output {quote(self.name)}"


def wanted(name: str, parameters: Mapping[str, Any]) -> Wanted:
    """Return what a caller asks for with an output's name and parameters.

    Raises:
        MalformedRequest: A parameter is not what it should be.
    """
    if not parameters:
        return Wanted(name)
    asked = Wanted(name)
    _check_no_shared_memory(parameters, asked)
    classes = parameters.get("classification", 0)
    if not isinstance(classes, int) or isinstance(classes, bool) or not 0 <= classes < 2**31:
        field = f"Parameter 'classification' of {asked.named}"
        raise MalformedRequest(field, "a whole number, at least 0", quote(classes))
    is_binary = parameters.get("binary_data")
    if is_binary is not None and not isinstance(is_binary, bool):
        raise MalformedRequest(f"Parameter 'binary_data' of {asked.named}", "true or false", quote(is_binary))
    return Wanted(name, is_binary, classes)


class Inference(NamedTuple):
    """What a caller asks.

    Attributes:
        inputs: Tensors, as `tensors.check` returned them, not looked into yet.
        outputs: Which are wanted, in order; none means all.
        id: What the answer repeats.
        parameters: As the protocol has them: text, numbers, true and false by name. Unknown ones are passed
            over, because other servers' clients send some.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[Wanted] = ()
    id: str = ""
    parameters: Mapping[str, Any] = MappingProxyType({})


class Output(NamedTuple):
    """A tensor of an answer.

    Attributes:
        name: Of the output.
        content: (B, ...) numbers; or BYTES, one element after another.
        shape: Of the content.
        is_binary: As it was asked for.
    """

    name: str
    content: NDArray[Any] | list[bytes]
    shape: tuple[int, ...]
    is_binary: bool | None

    @property
    def datatype(self) -> str:
        """The protocol's name of what the content holds."""
        return BYTES if isinstance(self.content, list) else tensors.datatype_of(self.content.dtype)


class Inferred(NamedTuple):
    """What a caller is answered.

    Attributes:
        model: Who answered.
        id: The inference's.
        outputs: In the order in which they were asked for.
    """

    model: Model
    id: str
    outputs: Sequence[Output]


_SCORES = (Wanted(LOGITS_NAME), Wanted(PROBABILITIES_NAME))
_EXPLAINED = (*_SCORES, Wanted(SHARES_NAME), Wanted(BIAS_NAME), Wanted(EXPLAINED_NAME))


@dataclass(frozen=True)
class _Explain:
    """Whose logit to explain: the class's of a label, or None for each image's likeliest."""

    index: int | None


def question(
    inference: Inference,
    model: Model,
    limits: Limits,
    exchange: Exchange,
    write: Callable[[Inferred], Written],
) -> Question[Written]:
    """Make of an inference what `Answering` answers.

    Args:
        inference: What is asked.
        model: Of whom.
        limits: How much one request may hold.
        exchange: Where an explanation's time is noted.
        write: Writes the answer.

    Raises:
        TensorMismatch: The inputs are not the model's.
        MalformedRequest: An output, an element or a parameter is not what it should be.
        PayloadTooLarge: More images than the limits allow.
    """
    parameters = inference.parameters
    wants_explanation = _explanation(parameters, model)
    outputs = _check_wanted(inference.outputs, wants_explanation is not None)
    if wants_explanation is not None:
        limits = explain.limits_of(limits)
    prepare = _prepare(parameters, model)

    def encode(prediction: Prediction) -> Written:
        found = {
            LOGITS_NAME: prediction.scores.logits,
            PROBABILITIES_NAME: prediction.scores.probabilities,
        }
        if wants_explanation is not None and any(output.name not in found for output in outputs):
            found |= _explained(prediction, wants_explanation)
            exchange.mark("explain")
        labels = model.manifest.labels
        answered = [_output(output, found[output.name], labels) for output in outputs]
        return write(Inferred(model, inference.id, answered))

    return Question(
        _drawings(inference, model, limits, prepare),
        encode,
        prepare,
        most_inline=None if wants_explanation is None else explain.MOST_INLINE,
        timeout_s=_timeout_s(parameters),
        priority=_natural(parameters, "priority") or 0,
        image_bytes=None if wants_explanation is None else explain.image_bytes(model),
    )


def _drawings(inference: Inference, model: Model, limits: Limits, prepare: Preparation | None) -> Drawings:
    inputs = inference.inputs
    if len(inputs) != 1 or inputs[0].name != INPUT_NAME:
        got = ", ".join(quote(tensor.name) for tensor in inputs[:4]) or "none"
        raise TensorMismatch("Inputs", f"one named {INPUT_NAME!r}", got)
    tensor = inputs[0]
    _check_no_shared_memory(tensor.parameters, tensor)
    shape = model.shape
    limits = limits.of(shape)
    if tensor.datatype == BYTES:
        if len(tensor.shape) != 1 or tensor.size < 1:
            raise _misfit(tensor, shape)
        check_count(tensor.size, limits)
        return [
            Drawing(f"Element [{row}] of {tensor.named}", blob)
            for row, blob in enumerate(tensors.blobs(tensor))
        ]
    is_any_size = prepare in ("auto", "mnist") and len(tensor.shape) == 3
    if tensor.size < 1 or (tensor.shape[1:] != shape and not is_any_size):
        raise _misfit(tensor, shape)
    check_count(tensor.shape[0], limits)
    if is_any_size and tensor.size > limits.picture_pixels:
        raise PayloadTooLarge("Pictures", limits.picture_pixels, "pixels together", f"{tensor.size:,}")
    images = tensors.pixels(tensor, _is_unit(inference.parameters, tensor))
    if images.shape[1:] == shape:
        return images
    return [Drawing(f"Image {row} of {tensor.named}", image) for row, image in enumerate(images)]


def _misfit(tensor: Tensor, shape: Shape) -> TensorMismatch:
    sides = ", ".join(str(side) for side in shape)
    expected = (
        f"(B, {sides}) UINT8 with B >= 1, or numbers that are exactly that, or (B,) {BYTES} of picture files"
    )
    return TensorMismatch(tensor.title, expected, tensor.kind())


def _is_unit(parameters: Mapping[str, Any], tensor: Tensor) -> bool:
    scale = tensor.parameters.get("scale", parameters.get("scale", "byte"))
    if scale not in ("byte", "unit"):
        raise MalformedRequest("Parameter 'scale'", "'byte' (0..255) or 'unit' (0..1)", quote(scale))
    return bool(scale == "unit")


def _prepare(parameters: Mapping[str, Any], model: Model) -> Preparation | None:
    prepare = parameters.get("prepare")
    if prepare is None or prepare == "none":
        return prepare
    if prepare not in ("auto", "mnist"):
        raise MalformedRequest("Parameter 'prepare'", "'none', 'auto' or 'mnist'", quote(prepare))
    if model.shape != (ink.SIDE, ink.SIDE):
        raise MalformedRequest("Parameter 'prepare'", "'none' for a model of other images", quote(prepare))
    return "auto" if prepare == "auto" else "mnist"


def _explanation(parameters: Mapping[str, Any], model: Model) -> _Explain | None:
    asked = parameters.get("explain", False)
    if asked is False:
        return None
    if asked is True:
        return _Explain(None)
    labels = model.manifest.labels
    if asked not in labels:
        expected = f"true, false or one of {explain.listed(labels)}"
        raise MalformedRequest("Parameter 'explain'", expected, quote(asked))
    return _Explain(labels.index(asked))


def _explained(prediction: Prediction, wants: _Explain) -> dict[str, NDArray[Any]]:
    images = prediction.images
    if wants.index is None:
        classes = np.asarray(prediction.scores.probabilities.argmax(axis=1), np.intp)
    else:
        classes = np.full(len(images), wants.index, np.intp)
    explained = explanation.explain(prediction.model.layers, images, classes)
    return {
        SHARES_NAME: explained.shares,
        BIAS_NAME: explained.bias,
        EXPLAINED_NAME: classes.astype(np.int64),
    }


def _timeout_s(parameters: Mapping[str, Any]) -> float | None:
    timeout = _natural(parameters, "timeout")
    return timeout * _MICROSECOND if timeout else None


def _natural(parameters: Mapping[str, Any], name: str) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value):
        value = int(value)  # some clients write whole numbers as text
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise MalformedRequest(f"Parameter {name!r}", "a whole number, at least 0", quote(value))
    return value


def _check_wanted(asked: Sequence[Wanted], explains: bool) -> Sequence[Wanted]:
    if not asked:
        return _EXPLAINED if explains else _SCORES
    known = [output.name for output in (_EXPLAINED if explains else _SCORES)]
    names = [output.name for output in asked]
    for name in names:
        if name not in known:
            hint = (
                ""
                if explains
                else f" ({SHARES_NAME}, {BIAS_NAME}, {EXPLAINED_NAME} need the parameter explain)"
            )
            raise MalformedRequest("Output", f"one of {', '.join(known)}{hint}", quote(name))
        if names.count(name) > 1:
            raise MalformedRequest("Output", "named once", f"{quote(name)} twice")
    for output in asked:
        if output.classes and output.name not in (LOGITS_NAME, PROBABILITIES_NAME):
            field = f"Parameter 'classification' of output {output.name!r}"
            raise MalformedRequest(
                field, f"left out, as it is for {LOGITS_NAME} and {PROBABILITIES_NAME}", "one"
            )
    return asked


def _output(wanted: Wanted, values: NDArray[Any], labels: Sequence[str]) -> Output:
    if not wanted.classes:
        return Output(wanted.name, values, values.shape, wanted.is_binary)
    best = np.argsort(-values, axis=1, kind="stable")[:, : wanted.classes]
    elements = [
        f"{np.format_float_positional(row[i], trim='0')}:{i}:{labels[i]}".encode()
        for row, order in zip(values, best, strict=True)
        for i in order
    ]
    return Output(wanted.name, elements, best.shape, wanted.is_binary)


def _check_no_shared_memory(parameters: Mapping[str, Any], whose: Tensor | Wanted) -> None:
    for name in parameters:
        if name.startswith(_SHARED_MEMORY):
            field = f"Parameters of {whose.named}"
            raise MalformedRequest(field, "none of shared memory, which is not there", quote(name))
