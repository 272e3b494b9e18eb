"""Inferences and their answers as bodies: JSON, with binary contents behind it where a tensor says so.

The only file that knows how JSON spells them.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from numpy.typing import NDArray

from service.codecs.drawings import Limits, Shape
from service.codecs.json import documents, images, number_lists
from service.core.artifact.manifest import INPUT_NAME
from service.core.errors import MalformedRequest, PayloadTooLarge, RequestError, TensorMismatch
from service.core.wording import quote, shape_text
from service.oip import tensors
from service.oip.inference import Inference, Inferred, Output, RequestedOutput, requested_output
from service.oip.tensors import BYTES, Tensor

HEADER = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body are JSON, where binary contents follow."""

_REMEMBERED = 64
"""How many of the latest JSON texts before binary contents are remembered."""

_REMEMBERED_BYTES = 1024
"""How long each of them may be."""

_MOST_IN_IMAGE = 65_536
"""Numbers of an image up to which a long list of them is not parsed at once."""

_DRAWINGS = 3
"""Dimensions of several drawings of any size, which `prepare` makes images of."""

_MOST_OBJECTS = 64
"""Inputs or outputs of one inference; the published models have one and two, or five with an explanation."""

_IS_LITTLE = sys.byteorder == "little"


class Body(NamedTuple):
    """A body whose JSON ends where its header says.

    Attributes:
        content: All of it.
        json_bytes: How much of it is JSON; 0 where it is nothing but one input's binary contents.
    """

    content: bytes
    json_bytes: int

    @classmethod
    def of(cls, content: bytes, header: str | None) -> "Body":
        """Divide a body.

        Args:
            content: All of it.
            header: What the header says; None if it was not sent, and all is JSON.

        Raises:
            MalformedRequest: The header is no number, or more than the body has.
        """
        if header is None:
            return cls(content, len(content))
        if not (header.isascii() and header.isdecimal() and int(header[:20]) <= len(content)):
            raise MalformedRequest(f"Header '{HEADER}'", f"a number 0..{len(content)}", quote(header))
        return cls(content, int(header))


def read(body: Body, shape: Shape, limits: Limits) -> tuple[Inference, bool]:
    """Read an inference.

    Args:
        body: Divided.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.

    Returns:
        What is asked, and whether outputs that say nothing of it should be binary.

    Raises:
        MalformedRequest: It is not JSON, or a member is not what it should be.
        TensorMismatch: The binary contents are more or fewer bytes than the inputs declare.
        PayloadTooLarge: It may hold more JSON values than any allowed request.
    """
    if not body.json_bytes and body.content:
        return Inference([_raw_input(body.content, shape)]), True
    most = documents.most_values(shape, limits.of(shape))
    if body.json_bytes <= min(_REMEMBERED_BYTES, most):
        head = _head(body.content[: body.json_bytes])
        if head is not None and head.binary_bytes == len(body.content) - body.json_bytes:
            return head.inference(memoryview(body.content)[body.json_bytes :]), head.is_binary
    text = body.content[: body.json_bytes]
    document = _load(text, most, shape)
    binary = _Binary(memoryview(body.content)[body.json_bytes :])
    return _inference(document, binary, shape, documents.may_hold_booleans(text))


def write(inferred: Inferred, is_binary: bool) -> tuple[bytes, int | None]:
    """Write an answer.

    Args:
        inferred: What is answered.
        is_binary: Whether outputs that say nothing of it are binary.

    Returns:
        The body, and how many bytes of it are JSON; None if all are.
    """
    contents: list[bytes] = []
    outputs = []
    for output in inferred.outputs:
        described = _described(output.name, output.datatype, output.shape)
        if is_binary if output.is_binary is None else output.is_binary:
            contents.append(binary_content(output))
            outputs.append(b'%b"parameters":{"binary_data_size":%d}}' % (described, len(contents[-1])))
        elif isinstance(output.content, list):
            elements = documents.dump([element.decode() for element in output.content])
            outputs.append(b'%b"data":%b}' % (described, elements))
        else:
            outputs.append(b'%b"data":%b}' % (described, documents.dump(output.content.ravel())))
    model = inferred.model
    name = b',"id":' + documents.dump(inferred.id) if inferred.id else b""
    text = b'%b%b,"outputs":[%b]}' % (_named(model.name, model.version), name, b",".join(outputs))
    return b"".join((text, *contents)), len(text) if contents else None


@lru_cache
def _named(name: str, version: str) -> bytes:
    return documents.dump({"model_name": name, "model_version": version})[:-1]


@lru_cache
def _described(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    return documents.dump({"name": name, "datatype": datatype, "shape": shape})[:-1] + b","


def binary_content(output: Output) -> bytes:
    """Write an output's content as binary contents."""
    if isinstance(output.content, list):
        return tensors.pack(output.content)
    content = output.content
    if _IS_LITTLE and content.dtype.isnative:
        return content.tobytes()
    return content.astype(content.dtype.newbyteorder("<"), copy=False).tobytes()


class _Binary:
    """What follows the JSON, taken piece by piece."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._taken = 0

    def take(self, size: int, field: str) -> memoryview:
        left = self._content.nbytes - self._taken
        if size > left:
            raise TensorMismatch(f"Binary data of {field}", f"{size:,} bytes", f"{left:,}")
        self._taken += size
        return self._content[self._taken - size : self._taken]

    def end(self) -> None:
        """Check that nothing is left; raises TensorMismatch if something is."""
        if self._taken != self._content.nbytes:
            expected = f"{self._taken:,} bytes, as the inputs' binary_data_size say together"
            raise TensorMismatch("Binary data", expected, f"{self._content.nbytes:,}")


class _Sizes(_Binary):
    """Stands for binary contents that are not there; notes how many bytes of them each input takes."""

    def __init__(self) -> None:
        super().__init__(memoryview(b""))
        self.taken: list[int] = []

    def take(self, size: int, field: str) -> memoryview:
        del field
        self.taken.append(size)
        return memoryview(b"")


class _Head(NamedTuple):
    """The JSON of an inference whose inputs are all binary; most callers send the same again and again.

    Attributes:
        without_contents: What is asked.
        sizes: How many bytes each input has.
        binary_bytes: And all together.
        is_binary: Whether outputs that say nothing of it should be binary.
    """

    without_contents: Inference
    sizes: tuple[int, ...]
    binary_bytes: int
    is_binary: bool

    def inference(self, binary: memoryview) -> Inference:
        """Return what is asked with these contents."""
        inputs = []
        start = 0
        for tensor, size in zip(self.without_contents.inputs, self.sizes, strict=True):
            content = binary[start : start + size]
            inputs.append(Tensor(tensor.name, tensor.datatype, tensor.shape, content, tensor.parameters))
            start += size
        asked = self.without_contents
        return Inference(inputs, asked.outputs, asked.id, asked.parameters)


@lru_cache(maxsize=_REMEMBERED)
def _head(text: bytes) -> _Head | None:
    """Understand the JSON before binary contents; None if it is wrong, or holds contents itself."""
    sizes = _Sizes()
    try:
        inference, is_binary = _inference(documents.load(text, len(text)), sizes, None, True)
    except RequestError:
        return None
    if len(sizes.taken) < len(inference.inputs):
        return None
    return _Head(inference, tuple(sizes.taken), sum(sizes.taken), is_binary)


def _inference(
    document: object, binary: _Binary, shape: Shape | None, booleans: bool
) -> tuple[Inference, bool]:
    """Understand a document.

    Args:
        document: What the JSON says.
        binary: What follows it.
        shape: Of one image as the model takes it; None if no elements in JSON are read.
        booleans: Whether there may be true or false in it.
    """
    if not isinstance(document, dict):
        raise MalformedRequest("Body", "a JSON object with inputs", images.kind(document))
    parameters = member_object(document, "parameters", "Body")
    is_binary = parameters.get("binary_data_output", False)
    if not isinstance(is_binary, bool):
        raise MalformedRequest("Parameter 'binary_data_output'", "true or false", quote(is_binary))
    inference = Inference(
        inputs=[
            _input(item, row, binary, shape, booleans)
            for row, item in enumerate(_objects(document, "inputs"))
        ],
        outputs=[_wanted(item, row) for row, item in enumerate(_objects(document, "outputs"))],
        id=_text(document, "id", "Body", ""),
        parameters=parameters,
    )
    binary.end()
    return inference, is_binary


def _load(text: bytes, most_values: int, shape: Shape) -> object:
    """Parse JSON, the contents of a long input of whole numbers as an array."""
    if len(text) >= documents.LONG_BYTES:
        documents.check_values(text, most_values)
        document = _load_long(text, shape)
        if document is not None:
            return document
    return documents.load(text, most_values, shape)


def _is_of_images(shape: tuple[int, ...], model_shape: Shape | None) -> bool:
    """Tell whether a tensor of a shape can hold what a model takes: images of its own shape, or drawings.

    What reads contents by their declared shape asks this first.
    """
    return len(shape) > 1 and (shape[1:] == model_shape or len(shape) == _DRAWINGS)


def _load_long(text: bytes, model_shape: Shape) -> object:
    """Parse the JSON of one input of numbers, its data as binary contents; None if it is anything else."""
    cut = number_lists.cut(text, b"data", is_last=False)
    document = None if cut is None else number_lists.load_rest(cut)
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if cut is None or not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        return None
    shape, datatype = inputs[0].get("shape"), inputs[0].get("datatype")
    if not number_lists.is_cut(inputs[0].get("data")) or not isinstance(datatype, str):
        return None
    if not isinstance(shape, list) or not all(type(side) is int and 0 < side <= len(text) for side in shape):
        return None
    if not _is_of_images(tuple(shape), model_shape):
        return None
    sides = () if cut.depth() == 1 else tuple(shape[1:])
    if cut.depth() not in (1, len(shape)) or math.prod(sides) > _MOST_IN_IMAGE:
        return None
    numbers = _numbers(cut, datatype, sides)
    if numbers is None or len(numbers) != math.prod(shape):
        return None
    inputs[0]["data"] = numbers.data
    return document


def _numbers(cut: number_lists.Cut, datatype: str, sides: tuple[int, ...]) -> NDArray[Any] | None:
    if datatype == "UINT8":
        found = number_lists.whole_numbers(cut.body, cut.start + 1, cut.stop - 1, sides)
        if found is not None:
            return found
    dtype = tensors.DTYPES.get(datatype)
    return None if dtype is None else number_lists.numbers(cut, sides, dtype)


def _raw_input(content: bytes, shape: Shape) -> Tensor:
    size = math.prod(shape)
    if len(content) % size:
        raise TensorMismatch(
            "Body", f"n x {size:,} bytes, each image {shape_text(shape)}", f"{len(content):,} bytes"
        )
    return Tensor(INPUT_NAME, "UINT8", (len(content) // size, *shape), memoryview(content))


def _input(
    item: Mapping[str, Any], row: int, binary: _Binary, model_shape: Shape | None, booleans: bool
) -> Tensor:
    where = f"inputs[{row}]"
    name = _text(item, "name", where)
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise MalformedRequest(f"Member 'shape' of {where}", "a list of whole numbers", images.kind(shape))
    parameters = member_object(item, "parameters", where)
    tensor = Tensor(name, _text(item, "datatype", where), tuple(shape), (), parameters)
    tensors.check(tensor)
    size = parameters.get("binary_data_size")
    data = item.get("data")
    if size is None:
        if isinstance(data, memoryview):  # was read already
            return Tensor(name, tensor.datatype, tensor.shape, data, parameters)
        if not isinstance(data, list):
            raise MalformedRequest(f"Member 'data' of {where}", "a list", images.kind(data))
        content: memoryview | list[Any] = data
        if tensor.datatype == BYTES:
            content = _blobs(data, where)
        elif tensor.datatype == "UINT8" and not booleans and _is_of_images(tensor.shape, model_shape):
            pixels = images.bytes_of(data, tensor.shape)
            content = data if pixels is None else memoryview(pixels)
        return Tensor(name, tensor.datatype, tensor.shape, content, parameters)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        field = f"Parameter 'binary_data_size' of {where}"
        raise MalformedRequest(field, "a whole number, at least 0", quote(size))
    if data is not None:
        raise MalformedRequest(where.capitalize(), "data or binary_data_size", "both")
    return Tensor(name, tensor.datatype, tensor.shape, binary.take(size, where), parameters)


def _blobs(data: Sequence[object], where: str) -> list[bytes]:
    blobs = []
    for index, text in enumerate(data):
        field = f"Element [{index}] of {where}"
        if not isinstance(text, str):
            raise MalformedRequest(field, "a picture file in base64", images.kind(text))
        blobs.append(images.decode_base64(text, field))
    return blobs


def _wanted(item: Mapping[str, Any], row: int) -> RequestedOutput:
    where = f"outputs[{row}]"
    return requested_output(_text(item, "name", where), member_object(item, "parameters", where))


def _objects(document: Mapping[str, Any], member: str) -> Sequence[Mapping[str, Any]]:
    found = document.get(member)
    if found is None and member == "outputs":
        return ()
    if not isinstance(found, list):
        raise MalformedRequest(f"Member {member!r} of Body", "a list of objects", images.kind(found))
    if len(found) > _MOST_OBJECTS:
        raise PayloadTooLarge(f"Member {member!r} of Body", _MOST_OBJECTS, "objects", f"{len(found):,}")
    for row, item in enumerate(found):
        if not isinstance(item, dict):
            raise MalformedRequest(f"{member}[{row}]", "an object", images.kind(item))
    return found


def member_object(document: Mapping[str, Any], member: str, where: str) -> Mapping[str, Any]:
    """Return a member of a JSON object that is an object itself; empty if it is not there.

    Args:
        document: The object.
        member: Its name.
        where: What the object is, for the message.

    Raises:
        MalformedRequest: It is something else.
    """
    found = document.get(member)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedRequest(f"Member {member!r} of {where}", "an object", images.kind(found))
    return found


def _text(document: Mapping[str, Any], member: str, where: str, default: str | None = None) -> str:
    found = document.get(member, default)
    if not isinstance(found, str):
        raise MalformedRequest(f"Member {member!r} of {where}", "text", images.kind(found))
    return found
