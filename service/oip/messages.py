"""Inference requests and responses of the protocol, independent of their encoding as JSON or protobuf."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core.wording import quote
from service.inference.models.model import Model
from service.oip import tensors
from service.oip.tensors import BYTES, Tensor


class RequestedOutput(NamedTuple):
    """An output that the client requests.

    Attributes:
        name: Name of the output.
        is_binary: Whether to encode its elements as binary; None for the default of the request.
        classes: Number of top classes to return in place of the values (the extension `classification`); 0
            for the values.
    """

    name: str
    is_binary: bool | None = None
    classes: int = 0

    @property
    def named(self) -> str:
        """The output in an error message: `output 'logits'`."""
        return f"output {quote(self.name)}"


class InferenceRequest(NamedTuple):
    """A parsed inference request; elements of tensors are not converted yet.

    Attributes:
        inputs: Input tensors, as `tensors.check` returned them.
        outputs: Requested outputs, in order; empty for all.
        id: Id that the response repeats.
        parameters: Request parameters: text, numbers and booleans by name. Unknown ones are ignored, because
            clients of other servers send some.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[RequestedOutput] = ()
    id: str = ""
    parameters: Mapping[str, Any] = MappingProxyType({})


class Output(NamedTuple):
    """An output tensor of a response.

    Attributes:
        name: Name of the output.
        content: (B, ...) numbers; or the elements of a BYTES tensor.
        shape: Shape of the tensor.
        is_binary: As `RequestedOutput.is_binary`.
    """

    name: str
    content: NDArray[np.generic] | list[bytes]
    shape: tuple[int, ...]
    is_binary: bool | None

    @property
    def datatype(self) -> str:
        """The protocol's name of the datatype."""
        return BYTES if isinstance(self.content, list) else tensors.datatype_of(self.content.dtype)


class InferenceResponse(NamedTuple):
    """An inference response.

    Attributes:
        model: The model that was run.
        id: Id of the request; empty for none.
        outputs: Output tensors, in the order requested.
    """

    model: Model
    id: str
    outputs: Sequence[Output]
