"""Tensors of the protocol: datatypes, and input tensors whose elements are not converted yet.

`tensor_contents` converts the elements.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from service.core.errors import MalformedRequest
from service.core.wording import quote

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""NumPy dtype of each numeric datatype."""

BF16 = "BF16"
"""Datatype without a NumPy dtype: the upper 16 bits of an FP32."""

BOOL = "BOOL"

BYTES = "BYTES"
"""Datatype of elements of variable length."""

DATATYPES = (*DTYPES, BF16, BYTES)

_KNOWN = frozenset(DATATYPES)

_NAMES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}

_MOST_DIMENSIONS = 8


@lru_cache
def datatype_of(dtype: np.dtype[Any] | str) -> str:
    """Return the protocol's name of a numeric NumPy dtype: `FP32` for float32."""
    name = np.dtype(dtype).name
    return _NAMES.get(name, name.upper())


_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class Tensor(NamedTuple):
    """An input tensor; its elements are not converted yet.

    Attributes:
        name: Name of the input, as sent.
        datatype: One of `DATATYPES`.
        shape: Sides >= 0, at most eight.
        content: The elements: a memoryview of the protocol's binary encoding; a flat sequence; or, from JSON,
            lists nested as the shape says.
        parameters: Parameters of the tensor.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: memoryview | Sequence[Any]
    parameters: Mapping[str, Any] = _NO_PARAMETERS

    @property
    def title(self) -> str:
        """The tensor at the start of an error message: `Input 'image'`."""
        return f"Input {quote(self.name)}"

    @property
    def named(self) -> str:
        """The tensor within an error message: `input 'image'`."""
        return f"input {quote(self.name)}"

    @property
    def size(self) -> int:
        """Number of elements that the shape declares."""
        return math.prod(self.shape)

    def kind(self) -> str:
        """Return shape and datatype for error messages: `(3, 784) FP32`."""
        return f"{self.shape} {self.datatype}"


def check(tensor: Tensor) -> Tensor:
    """Return a tensor if its datatype is known and its shape valid.

    Raises:
        MalformedRequest: The datatype is unknown, or the shape is not at most eight sides of 0 to 2^31 - 1.
    """
    if tensor.datatype not in _KNOWN:
        raise MalformedRequest(
            f"Datatype of {tensor.named}", f"one of {', '.join(DATATYPES)}", quote(tensor.datatype)
        )
    shape = tensor.shape
    is_plausible = len(shape) <= _MOST_DIMENSIONS
    for side in shape if is_plausible else ():
        is_plausible &= isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 2**31
    if not is_plausible:
        expected = f"at most {_MOST_DIMENSIONS} whole numbers of 0 to 2147483647"
        raise MalformedRequest(f"Shape of {tensor.named}", expected, quote(list(shape)))
    return tensor
