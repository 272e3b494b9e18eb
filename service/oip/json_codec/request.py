"""Parses inference requests in JSON, with or without binary contents."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from service.codecs import base64_text
from service.codecs.drawings import Limits, Shape
from service.codecs.json import images, parser
from service.core.artifact.manifest import INPUT_NAME
from service.core.errors import MalformedRequest, PayloadTooLarge, RequestError, TensorMismatch
from service.core.wording import quote, shape_text
from service.oip import parameters, tensors
from service.oip.json_codec import long_input
from service.oip.json_codec.body import BinaryContents, Body, ContentSizes
from service.oip.messages import InferenceRequest, RequestedOutput
from service.oip.tensors import BYTES, Tensor

_CACHED = 64
"""Number of JSON texts before binary contents that are cached, parsed."""

_CACHED_BYTES = 1024
"""Length of the longest text that is cached."""

_MOST_OBJECTS = 64
"""Inputs or outputs of one request; models have one input and two outputs, five with an explanation."""


def read_request(body: Body, shape: Shape, limits: Limits) -> tuple[InferenceRequest, bool]:
    """Parse an inference request.

    Args:
        body: The body.
        shape: Shape of one image of the model.
        limits: Limits of one request.

    Returns:
        The request, and whether its outputs are binary by default.

    Raises:
        MalformedRequest: The body is not JSON, or a member has a wrong type or value.
        TensorMismatch: The size of the binary contents is not the sum of the sizes that the inputs declare.
        PayloadTooLarge: There are more JSON values than any allowed request has.
    """
    if not body.json_bytes and body.content:
        return InferenceRequest([_raw_input(body.content, shape)]), True
    most = parser.max_values(shape, limits.of(shape))
    text = parser.without_bom(body.text())
    if body.json_bytes <= min(_CACHED_BYTES, most):
        template = _template(text)
        if template is not None and template.binary_bytes == len(body.content) - body.json_bytes:
            return template.request(body.binary()), template.is_binary
    document = long_input.load(text, most, shape)
    return _request(document, BinaryContents(body.binary()), shape, parser.may_contain_booleans(text))


class _Template(NamedTuple):
    """A parsed request whose inputs are all binary, without their contents.

    Most clients send the same JSON again and again, so it is cached.

    Attributes:
        without_contents: The request.
        sizes: Size of the contents of each input in bytes.
        binary_bytes: The sum of the sizes.
        is_binary: Whether the outputs are binary by default.
    """

    without_contents: InferenceRequest
    sizes: tuple[int, ...]
    binary_bytes: int
    is_binary: bool

    def request(self, binary: memoryview) -> InferenceRequest:
        """Return the request with binary contents."""
        inputs = []
        start = 0
        for tensor, size in zip(self.without_contents.inputs, self.sizes, strict=True):
            content = binary[start : start + size]
            inputs.append(Tensor(tensor.name, tensor.datatype, tensor.shape, content, tensor.parameters))
            start += size
        request = self.without_contents
        return InferenceRequest(inputs, request.outputs, request.id, request.parameters)


@lru_cache(maxsize=_CACHED)
def _template(text: bytes) -> _Template | None:
    """Parse the JSON before binary contents; None if it is invalid, or an input is not binary."""
    binary = ContentSizes()
    try:
        request, is_binary = _request(parser.parse(text, len(text)), binary, None, True)
    except RequestError:
        return None
    if len(binary.sizes) < len(request.inputs):
        return None
    return _Template(request, tuple(binary.sizes), sum(binary.sizes), is_binary)


def _request(
    document: object, binary: BinaryContents, shape: Shape | None, booleans: bool
) -> tuple[InferenceRequest, bool]:
    """Validate a parsed document.

    Args:
        document: The JSON document.
        binary: The binary contents.
        shape: Shape of one image of the model; None if elements in JSON need not be read.
        booleans: Whether the text may contain true or false.
    """
    if not isinstance(document, dict):
        raise MalformedRequest("Body", "a JSON object with inputs", images.describe(document))
    given = member_object(document, "parameters", "Body")
    is_binary = given.get("binary_data_output", False)
    if not isinstance(is_binary, bool):
        raise MalformedRequest("Parameter 'binary_data_output'", "true or false", quote(is_binary))
    request = InferenceRequest(
        inputs=[
            _input(item, f"inputs[{row}]", binary, shape, booleans)
            for row, item in enumerate(_objects(document, "inputs"))
        ],
        outputs=[_output(item, f"outputs[{row}]") for row, item in enumerate(_objects(document, "outputs"))],
        id=_text(document, "id", "Body", ""),
        parameters=given,
    )
    binary.end()
    return request, is_binary


def _raw_input(content: bytes, shape: Shape) -> Tensor:
    """Return the only input of a body without JSON: images of the model's shape."""
    size = math.prod(shape)
    if len(content) % size:
        raise TensorMismatch(
            "Body", f"n x {size:,} bytes, each image {shape_text(shape)}", f"{len(content):,} bytes"
        )
    return Tensor(INPUT_NAME, "UINT8", (len(content) // size, *shape), memoryview(content))


def _input(
    item: Mapping[str, Any], field: str, binary: BinaryContents, model_shape: Shape | None, booleans: bool
) -> Tensor:
    name = _text(item, "name", field)
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise MalformedRequest(
            f"Member 'shape' of {field}", "a list of whole numbers", images.describe(shape)
        )
    given = member_object(item, "parameters", field)
    tensor = tensors.check(Tensor(name, _text(item, "datatype", field), tuple(shape), (), given))
    size = given.get("binary_data_size")
    data = item.get("data")
    if size is None:
        content = _elements(data, tensor, field, model_shape, booleans)
        return Tensor(name, tensor.datatype, tensor.shape, content, given)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise MalformedRequest(
            f"Parameter 'binary_data_size' of {field}", "a whole number, at least 0", quote(size)
        )
    if data is not None:
        raise MalformedRequest(field.capitalize(), "data or binary_data_size", "both")
    return Tensor(name, tensor.datatype, tensor.shape, binary.take(size, field), given)


def _elements(
    data: object, tensor: Tensor, field: str, model_shape: Shape | None, booleans: bool
) -> memoryview | Sequence[Any]:
    """Return the member `data` of an input; pixels and image files are decoded."""
    if isinstance(data, memoryview):  # `long_input` decoded it
        return data
    if not isinstance(data, list):
        raise MalformedRequest(f"Member 'data' of {field}", "a list", images.describe(data))
    if tensor.datatype == BYTES:
        for _ in tensor.shape[1:]:  # nested as the shape says, whose other sides are 1
            data = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in data]
        return [_blob(text, f"Element [{index}] of {field}") for index, text in enumerate(data)]
    if tensor.datatype == "UINT8" and not booleans and long_input.can_be_images(tensor.shape, model_shape):
        pixels = images.uint8_bytes(data, tensor.shape)
        if pixels is not None:
            return memoryview(pixels)
    return data


def _blob(text: object, field: str) -> bytes:
    if not isinstance(text, str):
        raise MalformedRequest(field, "a picture file in base64", images.describe(text))
    return base64_text.decode(text, field)


def _output(item: Mapping[str, Any], field: str) -> RequestedOutput:
    name = _text(item, "name", field)
    return parameters.requested_output(name, member_object(item, "parameters", field))


def _objects(document: Mapping[str, Any], member: str) -> Sequence[Mapping[str, Any]]:
    """Return a member of the document that is a list of objects; `outputs` may be absent."""
    found = document.get(member)
    if found is None and member == "outputs":
        return ()
    if not isinstance(found, list):
        raise MalformedRequest(f"Member {member!r} of Body", "a list of objects", images.describe(found))
    if len(found) > _MOST_OBJECTS:
        raise PayloadTooLarge(f"Member {member!r} of Body", _MOST_OBJECTS, "objects", f"{len(found):,}")
    for row, item in enumerate(found):
        if not isinstance(item, dict):
            raise MalformedRequest(f"{member}[{row}]", "an object", images.describe(item))
    return found


def member_object(document: Mapping[str, Any], member: str, field: str) -> Mapping[str, Any]:
    """Return a member of a JSON object that is itself an object; empty if it is absent.

    Args:
        document: The object.
        member: Name of the member.
        field: Name of the object in an error message.

    Raises:
        MalformedRequest: The member is not an object.
    """
    found = document.get(member)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedRequest(f"Member {member!r} of {field}", "an object", images.describe(found))
    return found


def _text(document: Mapping[str, Any], member: str, field: str, default: str | None = None) -> str:
    found = document.get(member, default)
    if not isinstance(found, str):
        raise MalformedRequest(f"Member {member!r} of {field}", "text", images.describe(found))
    return found
