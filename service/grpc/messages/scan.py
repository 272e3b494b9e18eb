"""Scans a ModelInferRequest without parsing it: model, version, sizes, and views of its raw contents.

Parsing a message of many small fields would take a multiple of its memory, and parsing copies raw contents
twice. So the fields are walked in protobuf's wire format first. Each field has a key (field number and wire
type) and a value: a varint, 4 or 8 bytes, or a length and so many bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from service.core.errors import MalformedRequest, PayloadTooLarge
from service.grpc.messages import inference_pb2 as pb
from service.grpc.messages.inference_pb2 import ModelInferRequest

_NAME = ModelInferRequest.MODEL_NAME_FIELD_NUMBER
_VERSION = ModelInferRequest.MODEL_VERSION_FIELD_NUMBER
_RAW = ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
_INPUTS = ModelInferRequest.INPUTS_FIELD_NUMBER
_OUTPUTS = ModelInferRequest.OUTPUTS_FIELD_NUMBER
_CONTENTS = ModelInferRequest.InferInputTensor.CONTENTS_FIELD_NUMBER

_BYTES_CONTENTS = pb.InferTensorContents.BYTES_CONTENTS_FIELD_NUMBER
_WIDTHS = {
    pb.InferTensorContents.FP32_CONTENTS_FIELD_NUMBER: 4,
    pb.InferTensorContents.FP64_CONTENTS_FIELD_NUMBER: 8,
}
"""Bytes per number of fixed-size types; varints have 1 to 10 bytes, of which only the last is below 128."""

_LAST_BYTE = 128

_ELEMENTS = 2
"""Nesting depth of the elements of typed contents."""

_NUMBERS = 784
"""Numbers in an image of 28 x 28; a request may have fewer images if they are larger."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_MAX_FIELDS = 1024
"""Maximum number of fields of a request and its tensors; clients send a few dozen. Each BYTES element of
typed contents is one more field, so the number of images is added."""


@dataclass(frozen=True)
class ScannedRequest:
    """A scanned ModelInferRequest.

    Attributes:
        model: Model name.
        version: Model version; None for the newest.
        rest: The serialized message without its raw contents.
        raw: The raw contents: views of the message.
        numbers: Upper bound of the numbers in its typed contents.
    """

    model: str
    version: str | None
    rest: bytes
    raw: list[memoryview]
    numbers: int = 0

    @classmethod
    def of(cls, content: bytes, max_images: int) -> "ScannedRequest":
        """Scan a message.

        Args:
            content: The serialized message.
            max_images: Maximum number of images in one request.

        Raises:
            MalformedRequest: It is not a protobuf message, or a name is not UTF-8.
            PayloadTooLarge: It has too many fields, or more numbers in typed contents than `max_images`
                images of 28 x 28 have.
        """
        view = memoryview(content)
        texts = {_NAME: b"", _VERSION: b""}
        rest: list[memoryview] = []
        raw: list[memoryview] = []
        max_fields = _MAX_FIELDS + max_images
        max_numbers = max_images * _NUMBERS
        numbers = 0
        for count, (depth, field) in enumerate(_walk(view)):
            if count >= max_fields:
                raise PayloadTooLarge("Message", max_fields, "fields in all", "more")
            if depth == _ELEMENTS and field.value is not None:
                numbers += _count(field.number, field.value, max_numbers - numbers)
                if numbers > max_numbers:
                    raise PayloadTooLarge("Typed contents", max_numbers, "numbers", "more")
            if depth:
                continue
            if field.number == _RAW and field.value is not None:
                raw.append(field.value)
            else:
                rest.append(field.whole)
            if field.number in texts and field.value is not None:
                texts[field.number] = bytes(field.value)
        whole = b"".join(rest) if raw else content
        return cls(_text(texts[_NAME]), _text(texts[_VERSION]) or None, whole, raw, numbers)


@dataclass(frozen=True)
class _Field:
    """A field of a message.

    Attributes:
        number: Field number.
        whole: The field's bytes: key and value.
        value: The value, if it is length-delimited.
    """

    number: int
    whole: memoryview
    value: memoryview | None


def _walk(view: memoryview) -> Iterator[tuple[int, _Field]]:
    """Yield every field of a request, of its tensors and of their contents, with its nesting depth."""
    for field in _fields(view):
        yield 0, field
        if field.number not in (_INPUTS, _OUTPUTS) or field.value is None:
            continue
        for part in _fields(field.value):
            yield 1, part
            if field.number == _INPUTS and part.number == _CONTENTS and part.value is not None:
                for element in _fields(part.value):
                    yield _ELEMENTS, element


def _count(number: int, packed: memoryview, limit: int) -> int:
    """Return an upper bound of the numbers packed in a field; exact if their bytes are more than `limit`."""
    if number == _BYTES_CONTENTS:
        return 0  # each element is a field, and fields are counted
    if number in _WIDTHS:
        return len(packed) // _WIDTHS[number]
    if len(packed) <= limit:
        return len(packed)
    return int(np.count_nonzero(np.frombuffer(packed, np.uint8) < _LAST_BYTE))


def _fields(view: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(view):
        start = at
        key, at = _varint(view, at)
        value = None
        wire_type = key & 7
        if wire_type == _VARINT:
            _, at = _varint(view, at)
        elif wire_type in (_FIXED64, _FIXED32):
            at += 8 if wire_type == _FIXED64 else 4
        elif wire_type == _BYTES:
            length, at = _varint(view, at)
            value = view[at : at + length]
            at += length
        else:
            raise unreadable()
        if at > len(view):
            raise unreadable()
        yield _Field(key >> 3, view[start:at], value)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """Decode a varint; return the number and the position after it."""
    number = 0
    for place, byte in enumerate(view[at : at + 10]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, at + place + 1
    raise unreadable()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise unreadable() from error


def unreadable() -> MalformedRequest:
    """Return the error for bytes that are not the expected message."""
    return MalformedRequest("Message", "as inference.proto describes it", "bytes that cannot be read as that")
