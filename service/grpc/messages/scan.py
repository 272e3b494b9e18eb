"""Scans a ModelInferRequest without parsing it: model, version, sizes, and views of its raw contents.

A message of a few bytes a field would take up very much memory once it is unpacked, and unpacking copies raw
contents twice. So the outer fields are walked over first, in protobuf's wire format: each has a key, its
number and kind, and then a number, four or eight bytes, or a length and as many bytes.
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
"""Bytes of a number where all are of one size; others have one to ten, of which the last is below 128."""

_LAST_BYTE = 128

_ELEMENTS = 2
"""Depth of the elements of typed contents within a message."""

_NUMBERS = 784
"""Numbers of an image; of larger images fewer are allowed in a request."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_MOST_FIELDS = 1024
"""Of an inference and its tensors, together; the protocol's clients send a few dozen. Of BYTES in typed
contents each element is a field, so as many more are taken as images."""


@dataclass(frozen=True)
class ScannedRequest:
    """An inference's message, its raw contents apart.

    Attributes:
        model: Whom it asks.
        version: Which one; None for the newest.
        rest: The message without its raw contents, as it came.
        raw: The raw contents, views of the message.
        numbers: How many numbers its typed contents hold, at most.
    """

    model: str
    version: str | None
    rest: bytes
    raw: list[memoryview]
    numbers: int = 0

    @classmethod
    def of(cls, content: bytes, max_images: int) -> "ScannedRequest":
        """Look at a message.

        Args:
            content: All of it.
            max_images: In one request.

        Raises:
            MalformedRequest: It is no message, or names its model in no text.
            PayloadTooLarge: It has more fields than any inference needs, or more numbers in typed contents
                than so many images of 28 x 28 have.
        """
        view = memoryview(content)
        texts = {_NAME: b"", _VERSION: b""}
        rest: list[memoryview] = []
        raw: list[memoryview] = []
        most = _MOST_FIELDS + max_images
        most_numbers = max_images * _NUMBERS
        numbers = 0
        for count, (depth, field) in enumerate(_walk(view)):
            if count >= most:
                raise PayloadTooLarge("Message", most, "fields in all", "more")
            if depth == _ELEMENTS and field.value is not None:
                numbers += _count(field.number, field.value, most_numbers - numbers)
                if numbers > most_numbers:
                    raise PayloadTooLarge("Typed contents", most_numbers, "numbers", "more")
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
        number: Which.
        whole: As it stands in the message.
        value: What it holds, if that has a length of its own.
    """

    number: int
    whole: memoryview
    value: memoryview | None


def _walk(view: memoryview) -> Iterator[tuple[int, _Field]]:
    """Yield every field of an inference, of its tensors and of their contents, with its depth."""
    for field in _fields(view):
        yield 0, field
        if field.number not in (_INPUTS, _OUTPUTS) or field.value is None:
            continue
        for part in _fields(field.value):
            yield 1, part
            if field.number == _INPUTS and part.number == _CONTENTS and part.value is not None:
                for element in _fields(part.value):
                    yield _ELEMENTS, element


def _count(number: int, packed: memoryview, most: int) -> int:
    """Return an upper limit of how many numbers are packed in a field, exact if it exceeds `most`."""
    if number == _BYTES_CONTENTS:
        return 0  # each element is a field, and fields are counted
    if number in _WIDTHS:
        return len(packed) // _WIDTHS[number]
    if len(packed) <= most:
        return len(packed)
    return int(np.count_nonzero(np.frombuffer(packed, np.uint8) < _LAST_BYTE))


def _fields(view: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(view):
        start = at
        key, at = _varint(view, at)
        value = None
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, at = _varint(view, at)
            value = view[at : at + length]
            at += length
        else:
            raise unreadable()
        if at > len(view):
            raise unreadable()
        yield _Field(key >> 3, view[start:at], value)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the last byte below 128, and where it ends."""
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
    """Return the error for bytes that are no message."""
    return MalformedRequest("Message", "as inference.proto describes it", "bytes that cannot be read as that")
