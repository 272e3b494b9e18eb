"""Parameters of an inference request and of its outputs, validated."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from service.core.errors import MalformedRequest
from service.core.wording import list_text, quote
from service.inference import explanation
from service.inference.models.model import Model
from service.inference.preprocessing import DRAWN, Preprocessing
from service.oip.messages import RequestedOutput
from service.oip.tensors import Tensor

_MICROSECOND = 1e-6

_SHARED_MEMORY = "shared_memory_"


def requested_output(name: str, parameters: Mapping[str, Any]) -> RequestedOutput:
    """Return a requested output, from its name and its parameters.

    Raises:
        MalformedRequest: A parameter has a wrong type or value.
    """
    output = RequestedOutput(name)
    if not parameters:
        return output
    check_no_shared_memory(parameters, output)
    classes = parameters.get("classification", 0)
    if not isinstance(classes, int) or isinstance(classes, bool) or not 0 <= classes < 2**31:
        field = f"Parameter 'classification' of {output.named}"
        raise MalformedRequest(field, "a whole number, at least 0", quote(classes))
    is_binary = parameters.get("binary_data")
    if is_binary is not None and not isinstance(is_binary, bool):
        field = f"Parameter 'binary_data' of {output.named}"
        raise MalformedRequest(field, "true or false", quote(is_binary))
    return RequestedOutput(name, is_binary, classes)


def check_no_shared_memory(parameters: Mapping[str, Any], owner: Tensor | RequestedOutput) -> None:
    """Raise MalformedRequest if a tensor is to be read from or written to shared memory."""
    for name in parameters:
        if name.startswith(_SHARED_MEMORY):
            field = f"Parameters of {owner.named}"
            raise MalformedRequest(field, "without shared memory, which is not supported", quote(name))


def is_unit(parameters: Mapping[str, Any], tensor: Tensor) -> bool:
    """Return whether the elements of an input are 0..1; its own `scale` overrides the request's.

    Raises:
        MalformedRequest: `scale` is neither `byte` nor `unit`.
    """
    scale = tensor.parameters.get("scale", parameters.get("scale", "byte"))
    if scale not in ("byte", "unit"):
        raise MalformedRequest("Parameter 'scale'", "'byte' (0..255) or 'unit' (0..1)", quote(scale))
    return bool(scale == "unit")


def preprocessing(parameters: Mapping[str, Any], model: Model) -> Preprocessing | None:
    """Return the parameter `prepare`; None if it is absent.

    Raises:
        MalformedRequest: It is unknown, or `auto` or `mnist` for a model of another preprocessing.
    """
    prepare = parameters.get("prepare")
    if prepare is None or prepare == "none":
        return prepare
    if prepare not in ("auto", "mnist"):
        raise MalformedRequest("Parameter 'prepare'", "'none', 'auto' or 'mnist'", quote(prepare))
    if model.preprocessing not in DRAWN:
        raise MalformedRequest("Parameter 'prepare'", "'none' for a model of other images", quote(prepare))
    return "auto" if prepare == "auto" else "mnist"


class ExplainedClass(NamedTuple):
    """The class whose logit to explain.

    Attributes:
        label_index: Index of its label; None for the top class of each image.
    """

    label_index: int | None


def explained_class(parameters: Mapping[str, Any], model: Model) -> ExplainedClass | None:
    """Return the parameter `explain`; None if no explanation is requested.

    Raises:
        MalformedRequest: It is neither a boolean nor a label of the model.
        NotExplainable: An explanation is requested of a model that has none.
    """
    explain = parameters.get("explain", False)
    if explain is not False:
        explanation.check_model(model)
    if isinstance(explain, bool):
        return ExplainedClass(None) if explain else None
    labels = model.manifest.labels
    if explain not in labels:
        expected = f"true, false or one of {list_text(labels)}"
        raise MalformedRequest("Parameter 'explain'", expected, quote(explain))
    return ExplainedClass(labels.index(explain))


def timeout_s(parameters: Mapping[str, Any]) -> float | None:
    """Return the parameter `timeout`, which is in microseconds, in seconds; None if it is absent or 0."""
    timeout = natural(parameters, "timeout")
    return timeout * _MICROSECOND if timeout else None


def natural(parameters: Mapping[str, Any], name: str) -> int | None:
    """Return a parameter that is a whole number of at least 0; None if it is absent.

    Raises:
        MalformedRequest: It is something else, or has more than 63 bits.
    """
    value = parameters.get(name)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value):
        value = int(value)  # some clients send whole numbers as text
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise MalformedRequest(f"Parameter {name!r}", "a whole number, at least 0", quote(value))
    return value
