"""One image of a JSON document: numbers nested or flat, or a picture file in base64.

Whole numbers take no loop in Python: `bytes` checks type and range of many of them at once. Only what it
refuses is looked at number by number, to say which one is wrong.
"""

import binascii
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Drawing, Shape, from_unit
from service.core.errors import MalformedRequest
from service.core.wording import quote, shape_text

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class ImageReader:
    """Reads the images of one document.

    Attributes:
        shape: Of one image as the model takes it.
        unit: Whether numbers are 0..1 instead of 0..255.
        booleans: Whether the document may hold true or false, which Python takes for 1 and 0.
    """

    shape: Shape
    unit: bool
    booleans: bool

    def read(self, value: object, name: str) -> Drawing:
        """Read an image.

        Args:
            value: As JSON has it.
            name: Of the value, for messages: `images[3]`.

        Raises:
            MalformedRequest: It is no image of this shape and range.
        """
        field = f"Field {name!r}"
        if isinstance(value, str):
            return Drawing(field, decode_base64(value, field))
        if not isinstance(value, list):
            raise self._no_image(name, kind(value))
        pixels = self.pixels(value)
        if pixels is not None:
            return Drawing(field, np.frombuffer(pixels, np.uint8).reshape(self.shape))
        flat = self._flat(value, name)
        numbers = self._units(flat, name) if self.unit else self._whole(flat, name)
        return Drawing(field, numbers.reshape(self.shape))

    def pixels(self, value: object) -> bytes | None:
        """Return the pixels of an image of whole numbers; None if it is another, or none at all."""
        if self.unit or self.booleans or not isinstance(value, list):
            return None
        return bytes_of(value, self.shape)

    def _whole(self, flat: list[Any], name: str) -> NDArray[np.uint8]:
        """Take numbers such as 12.0 too, or say which number cannot be a pixel."""
        array = self._numbers(flat)
        if array is not None and ((array >= 0) & (array <= 255) & (array == np.rint(array))).all():
            return array.astype(np.uint8)
        for index, item in enumerate(flat):
            if not is_number(item) or not 0 <= item <= 255 or item != int(item):
                hint = ' (for numbers 0..1 add "scale": "unit")' if isinstance(item, float) else ""
                field = f"Field {self._at(name, index)!r}"
                raise MalformedRequest(field, "a whole number 0..255", kind(item) + hint)
        return np.array(flat, np.float64).astype(np.uint8)

    def _numbers(self, flat: list[Any]) -> NDArray[Any] | None:
        """Return an array of numbers, or None if there is, or may be, anything else among them."""
        if self.booleans:
            return None
        try:
            array = np.array(flat)
        except ValueError:  # lists of different lengths among them
            return None
        return array if array.ndim == 1 and array.dtype.kind in "iuf" else None

    def _units(self, flat: list[Any], name: str) -> NDArray[np.uint8]:
        array = self._numbers(flat)
        if array is not None and ((array >= 0) & (array <= 1)).all():
            return from_unit(array)
        for index, item in enumerate(flat):
            if not is_number(item) or not 0 <= item <= 1:
                field = f"Field {self._at(name, index)!r}"
                raise MalformedRequest(field, "a number 0..1", kind(item))
        return from_unit(np.array(flat, np.float64))

    def _flat(self, value: list[Any], name: str) -> list[Any]:
        """Return the numbers of an image that is nested as its shape says, or flat already."""
        size = math.prod(self.shape)
        if not value or not isinstance(value[0], list):
            if len(value) != size:
                raise self._no_image(name, f"a list of {len(value):,}")
            return value
        if len(value) != self.shape[0]:
            raise self._no_image(name, f"a list of {len(value):,} lists")
        for depth, width in enumerate(self.shape[1:], start=1):
            if not _are_lists(value, width):
                index = next(i for i, row in enumerate(value) if not _is_list(row, width))
                field = f"Field {self._at(name, index, depth)!r}"
                raise MalformedRequest(field, f"a list of {width}", kind(value[index]))
            value = list(chain.from_iterable(value))
        return value

    def _at(self, name: str, index: int, depth: int | None = None) -> str:
        """Say where something stands in the image, as `image[2][7]`."""
        where = np.unravel_index(index, self.shape[:depth])
        return name + "".join(f"[{i}]" for i in where)

    def _no_image(self, name: str, got: str) -> MalformedRequest:
        size = math.prod(self.shape)
        expected = f"{shape_text(self.shape)} numbers nested, {size:,} flat, or a picture file in base64"
        return MalformedRequest(f"Field {name!r}", expected, got)


def bytes_of(numbers: list[Any], shape: Shape) -> bytes | None:
    """Return whole numbers 0..255 as bytes, row by row.

    Args:
        numbers: Flat, or nested as the shape says; without true and false, which would count as 1 and 0.
        shape: Of the whole.

    Returns:
        As many as the shape has; None if the numbers are more, fewer or others, or no numbers.
    """
    try:
        if not numbers or not isinstance(numbers[0], list):
            return bytes(numbers) if len(numbers) == math.prod(shape) else None
        if len(shape) < 2 or len(numbers) != shape[0]:  # nested once at least
            return None
        for width in shape[1:-1]:
            if not _are_lists(numbers, width):
                return None
            numbers = list(chain.from_iterable(numbers))
        widths = {*map(len, numbers)}  # so none of them is a number, which `bytes` takes for a length
        if widths != {shape[-1]}:
            return None
        return b"".join(map(bytes, numbers))
    except (TypeError, ValueError):  # a number that is no byte, or something that is no number, or no list
        return None


reader_of = lru_cache(maxsize=32)(ImageReader)
"""Returns the reader of a shape, a scale and whether there may be booleans; the same for the same."""


def decode_base64(text: str, field: str) -> bytes:
    """Return the bytes of a `data:` URL or of plain base64.

    Args:
        text: What came.
        field: As messages call it.

    Raises:
        MalformedRequest: It is neither.
    """
    head = _DATA_URL.match(text)
    if head is None and text[:5].lower() == "data:":
        raise MalformedRequest(field, "a data: URL of an image in base64", quote(text[:40]))
    try:
        # Not base64.b64decode, which copies a text before it reads it.
        return binascii.a2b_base64(text[head.end() :] if head else text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        expected = "base64 of a PNG, JPEG or WebP file, alone or as a data: URL"
        raise MalformedRequest(field, expected, f"text that is no base64 ({error})") from error


def _are_lists(values: list[Any], length: int) -> bool:
    return {*map(type, values)} == {list} and {*map(len, values)} == {length}


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def kind(value: object) -> str:
    """Say what a JSON value is without repeating all of it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    return quote(value)
