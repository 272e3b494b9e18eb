"""Inferences and their answers as bodies: JSON, with binary contents behind it where a tensor says so.

The only file that knows how JSON spells them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.core.errors import MalformedRequest, TensorMismatch
from service.core.manifest import INPUT_NAME
from service.http import json_body, json_image, wire
from service.http.drawings import Limits, Shape, by, quote
from service.protocol import tensors
from service.protocol.inference import Inference, Inferred, Output, Wanted, wanted
from service.protocol.tensors import BYTES, Tensor

HEADER = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body are JSON, where binary contents follow."""


@dataclass(frozen=True)
class Body:
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
    text = body.content[: body.json_bytes]
    document = json_body.load(text, json_body.most_values(shape, limits.of(shape)))
    if not isinstance(document, dict):
        raise MalformedRequest("Body", "a JSON object with inputs", json_image.kind(document))
    parameters = member_object(document, "parameters", "Body")
    is_binary = parameters.get("binary_data_output", False)
    if not isinstance(is_binary, bool):
        raise MalformedRequest("Parameter 'binary_data_output'", "true or false", quote(is_binary))
    binary = _Binary(memoryview(body.content)[body.json_bytes :])
    inference = Inference(
        inputs=[_input(item, row, binary) for row, item in enumerate(_objects(document, "inputs"))],
        outputs=[_wanted(item, row) for row, item in enumerate(_objects(document, "outputs"))],
        id=_text(document, "id", "Body", ""),
        parameters=parameters,
    )
    binary.end()
    return inference, is_binary


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
        described: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if is_binary if output.is_binary is None else output.is_binary:
            contents.append(binary_content(output))
            described["parameters"] = {"binary_data_size": len(contents[-1])}
        elif isinstance(output.content, list):
            described["data"] = [element.decode() for element in output.content]
        else:
            described["data"] = output.content.ravel()
        outputs.append(described)
    model = inferred.model
    document: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if inferred.id:
        document["id"] = inferred.id
    text = wire.dump_json({**document, "outputs": outputs})
    return b"".join((text, *contents)), len(text) if contents else None


def binary_content(output: Output) -> bytes:
    """Write an output's content as binary contents."""
    if isinstance(output.content, list):
        return tensors.pack(output.content)
    content = output.content
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


def _raw_input(content: bytes, shape: Shape) -> Tensor:
    size = int(np.prod(shape))
    if len(content) % size:
        raise TensorMismatch("Body", f"n x {size:,} bytes, each image {by(shape)}", f"{len(content):,} bytes")
    return Tensor(INPUT_NAME, "UINT8", (len(content) // size, *shape), memoryview(content))


def _input(item: Mapping[str, Any], row: int, binary: _Binary) -> Tensor:
    where = f"inputs[{row}]"
    name = _text(item, "name", where)
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise MalformedRequest(
            f"Member 'shape' of {where}", "a list of whole numbers", json_image.kind(shape)
        )
    parameters = member_object(item, "parameters", where)
    tensor = Tensor(name, _text(item, "datatype", where), tuple(shape), (), parameters)
    tensors.check(tensor)
    size = parameters.get("binary_data_size")
    data = item.get("data")
    if size is None:
        if not isinstance(data, list):
            raise MalformedRequest(f"Member 'data' of {where}", "a list", json_image.kind(data))
        content = _blobs(data, where) if tensor.datatype == BYTES else data
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
            raise MalformedRequest(field, "a picture file in base64", json_image.kind(text))
        blobs.append(json_image.decode_base64(text, field))
    return blobs


def _wanted(item: Mapping[str, Any], row: int) -> Wanted:
    where = f"outputs[{row}]"
    return wanted(_text(item, "name", where), member_object(item, "parameters", where))


def _objects(document: Mapping[str, Any], member: str) -> Sequence[Mapping[str, Any]]:
    found = document.get(member)
    if found is None and member == "outputs":
        return ()
    if not isinstance(found, list):
        raise MalformedRequest(f"Member {member!r} of Body", "a list of objects", json_image.kind(found))
    for row, item in enumerate(found):
        if not isinstance(item, dict):
            raise MalformedRequest(f"{member}[{row}]", "an object", json_image.kind(item))
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
        raise MalformedRequest(f"Member {member!r} of {where}", "an object", json_image.kind(found))
    return found


def _text(document: Mapping[str, Any], member: str, where: str, default: str | None = None) -> str:
    found = document.get(member, default)
    if not isinstance(found, str):
        raise MalformedRequest(f"Member {member!r} of {where}", "text", json_image.kind(found))
    return found
