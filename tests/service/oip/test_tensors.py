"""`service/oip/tensors.py`: datatypes and shapes."""

from typing import Any

import pytest

from service.core.errors import MalformedRequest
from service.oip import tensors
from service.oip.tensors import DTYPES, Tensor


def test_names_and_sizes_of_datatypes() -> None:
    """BF16 has no NumPy dtype."""
    sizes = {name: dtype.itemsize for name, dtype in DTYPES.items()}

    assert sizes == {
        "BOOL": 1,
        "UINT8": 1,
        "UINT16": 2,
        "UINT32": 4,
        "UINT64": 8,
        "INT8": 1,
        "INT16": 2,
        "INT32": 4,
        "INT64": 8,
        "FP16": 2,
        "FP32": 4,
        "FP64": 8,
    }
    assert {name: tensors.datatype_of(dtype) for name, dtype in DTYPES.items()} == {
        name: name for name in DTYPES
    }


@pytest.mark.parametrize(
    "shape",
    [(-1,), (2**31,), (1.0,), (True,), ("1",), (None,), (1,) * 9, ([1],)],
)
def test_invalid_shapes_are_refused(shape: tuple[Any, ...]) -> None:
    with pytest.raises(MalformedRequest, match="Shape of input 'image' should be at most 8 whole numbers"):
        tensors.check(Tensor("image", "UINT8", shape, []))


@pytest.mark.parametrize("datatype", ["uint8", "FP8", "", "TYPE_UINT8", "UINT8\n", "x" * 1000])
def test_unknown_datatypes_are_refused(datatype: str) -> None:
    with pytest.raises(MalformedRequest, match="Datatype of input 'image' should be one of BOOL, UINT8"):
        tensors.check(Tensor("image", datatype, (1,), [1]))
