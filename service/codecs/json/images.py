"""Decoder of one image in JSON: numbers, nested or flat, or an image file in base64.

Integers need no loop in Python: `bytes` checks their type and range all at once. Only an image that it
refuses is checked number by number, to name the wrong one.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.codecs import base64_text, levels
from service.codecs.drawings import Drawing, Shape
from service.core.errors import MalformedRequest
from service.core.wording import quote, shape_text


@dataclass(frozen=True)
class ImageReader:
    """Decodes the images of one document.

    Attributes:
        shape: Shape of one image of the model.
        unit: Whether numbers are 0..1 instead of 0..255.
        booleans: Whether the document may contain true or false, which Python treats as 1 and 0.
    """

    shape: Shape
    unit: bool
    booleans: bool

    def read(self, value: object, name: str) -> Drawing:
        """Decode an image.

        Args:
            value: JSON value: numbers or base64 text.
            name: Name of the value in messages, such as `images[3]`.

        Raises:
            MalformedRequest: The value is not an image of this shape and range.
        """
        field = f"Field {name!r}"
        if isinstance(value, str):
            return Drawing(field, base64_text.decode(value, field))
        if not isinstance(value, list):
            raise self._no_image(name, describe(value))
        value = _without_single_lists(value)
        pixels = self.pixels(value)
        if pixels is not None:
            return Drawing(field, np.frombuffer(pixels, np.uint8).reshape(self.shape))
        flat = self._flat(value, name)
        if self.booleans and {*map(type, flat)} == {bool}:
            return Drawing(field, np.array(flat, np.uint8).reshape(self.shape) * np.uint8(255))
        numbers = self._units(flat, name) if self.unit else self._bytes(flat, name)
        return Drawing(field, numbers.reshape(self.shape))

    def pixels(self, value: object) -> bytes | None:
        """Return the pixels of an image of integers 0..255; None if the value is anything else."""
        if self.unit or self.booleans or not isinstance(value, list):
            return None
        return uint8_bytes(value, self.shape)

    def _bytes(self, flat: list[Any], name: str) -> NDArray[np.uint8]:
        """Return pixels from integers 0..255 or floats such as 12.0; raise MalformedRequest for others."""
        array = self._numbers(flat)
        if array is not None and not levels.invalid_bytes(array).any():
            return levels.from_bytes(array)
        for index, item in enumerate(flat):
            if not is_number(item) or not levels.is_byte(item):
                hint = ' (for numbers 0..1 add "scale": "unit")' if isinstance(item, float) else ""
                field = f"Field {self._at(name, index)!r}"
                raise MalformedRequest(field, "a whole number 0..255", describe(item) + hint)
        return levels.from_bytes(np.array(flat, np.float64))

    def _numbers(self, flat: list[Any]) -> NDArray[Any] | None:
        """Return the numbers as an array; None if there is, or may be, any other value."""
        if self.booleans:
            return None
        try:
            array = np.array(flat)
        except ValueError:  # lists of different lengths
            return None
        return array if array.ndim == 1 and array.dtype.kind in "iuf" else None

    def _units(self, flat: list[Any], name: str) -> NDArray[np.uint8]:
        """Return pixels from numbers 0..1; raise MalformedRequest for others."""
        array = self._numbers(flat)
        if array is not None and not levels.invalid_units(array).any():
            return levels.from_units(array)
        for index, item in enumerate(flat):
            if not is_number(item) or not levels.is_unit(item):
                field = f"Field {self._at(name, index)!r}"
                raise MalformedRequest(field, "a number 0..1", describe(item))
        return levels.from_units(np.array(flat, np.float64))

    def _flat(self, value: list[Any], name: str) -> list[Any]:
        """Return the numbers of an image that is nested according to its shape, or flat."""
        size = math.prod(self.shape)
        if not value or not isinstance(value[0], list):
            if len(value) != size:
                hint = " without lists in it" if len(value) == self.shape[0] else ""
                raise self._no_image(name, f"a list of {len(value):,}{hint}")
            return value
        if len(value) != self.shape[0]:
            raise self._no_image(name, f"a list of {len(value):,} lists")
        for depth, width in enumerate(self.shape[1:], start=1):
            if not _are_lists(value, width):
                index = next(i for i, row in enumerate(value) if not _is_list(row, width))
                field = f"Field {self._at(name, index, depth)!r}"
                raise MalformedRequest(field, f"a list of {width}", describe(value[index]))
            value = list(chain.from_iterable(value))
        return list(chain.from_iterable(value)) if _are_lists(value, 1) else value

    def _at(self, name: str, index: int, depth: int | None = None) -> str:
        """Return the position of a value in the image, such as `image[2][7]`."""
        where = np.unravel_index(index, self.shape[:depth])
        return name + "".join(f"[{i}]" for i in where)

    def _no_image(self, name: str, got: str) -> MalformedRequest:
        size = math.prod(self.shape)
        expected = f"{shape_text(self.shape)} numbers nested, {size:,} flat, or a picture file in base64"
        return MalformedRequest(f"Field {name!r}", expected, got)


def uint8_bytes(numbers: list[Any], shape: Shape) -> bytes | None:
    """Return integers 0..255 as bytes, in row-major order.

    Args:
        numbers: Flat, or nested according to the shape; without booleans, which would become 1 and 0.
        shape: Shape of the array.

    Returns:
        One byte a number; None if the numbers have another shape or range, or there are other values.
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
        widths = {*map(len, numbers)}  # fails for a number, which `bytes` would treat as a length
        if widths != {shape[-1]}:
            return None
        return b"".join(map(bytes, numbers))
    except (TypeError, ValueError):  # a number outside 0..255, or neither a number nor a list
        return None


reader_of = lru_cache(maxsize=32)(ImageReader)
"""Returns a cached `ImageReader`."""


def _without_single_lists(value: list[Any]) -> list[Any]:
    """Return an image without an outer list of one list, and flat numbers without a list around each.

    Arrays of one image or one channel become such lists: (1, 28, 28), (1, 784), (784, 1).
    """
    while len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return list(chain.from_iterable(value)) if _are_lists(value, 1) else value


def _are_lists(values: list[Any], length: int) -> bool:
    return {*map(type, values)} == {list} and {*map(len, values)} == {length}


def _is_list(value: object, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def is_number(value: object) -> bool:
    """Return whether a JSON value is a number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def describe(value: object) -> str:
    """Return a short description of a JSON value for messages: its type, or the beginning of a text."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    return quote(value)
