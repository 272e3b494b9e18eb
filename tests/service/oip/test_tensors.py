"""`service/oip/tensors.py`: datatypes, and contents to arrays and back."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.core.errors import MalformedRequest, TensorMismatch
from service.oip import tensors
from service.oip.tensors import BYTES, DTYPES, Tensor

WHOLE = [name for name in DTYPES if "INT" in name]
FLOATS = [name for name in DTYPES if name.startswith("FP")]
PIXELS = np.array([[0, 1, 2], [127, 128, 255]], np.uint8)


def of(datatype: str, content: Any, *shape: int) -> Tensor:  # noqa: ANN401 - lists and bytes of anything
    binary = memoryview(content) if isinstance(content, bytes) else content
    return tensors.check(Tensor("image", datatype, shape, binary))


def binary(datatype: str, array: NDArray[Any]) -> Tensor:
    return of(datatype, array.astype(DTYPES[datatype]).tobytes(), *array.shape)


def test_every_datatype_of_the_protocol_is_there() -> None:
    """
    Their names and sizes in bytes are the protocol's; BF16 has no NumPy type and a test of its own.
    """
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


@pytest.mark.parametrize("datatype", [name for name in [*WHOLE, *FLOATS] if name != "INT8"])
@pytest.mark.parametrize("form", ["binary", "flat", "nested"])
def test_any_datatype_that_holds_the_pixels_gives_them(datatype: str, form: str) -> None:
    """
    Whole numbers 0..255 are the same pixels in every datatype, in every form.
    """
    values = PIXELS.astype(DTYPES[datatype])
    content = {"flat": values.ravel().tolist(), "nested": values.tolist()}

    tensor = binary(datatype, PIXELS) if form == "binary" else of(datatype, content[form], *PIXELS.shape)

    found = tensors.pixels(tensor, is_unit=False)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PIXELS)


def test_int8_holds_half_of_the_pixels() -> None:
    """
    Up to 127; 200 does not fit, and -1 fits but is no pixel.
    """
    np.testing.assert_array_equal(tensors.pixels(of("INT8", [0, 127], 2), is_unit=False), [0, 127])
    with pytest.raises(MalformedRequest, match=r"Element \[1\] .*-128\.\.127, for INT8; got 200"):
        tensors.pixels(of("INT8", [0, 200], 2), is_unit=False)
    with pytest.raises(MalformedRequest, match=r"Element \[0\] .*0\.\.255; got -1"):
        tensors.pixels(of("INT8", b"\xff", 1), is_unit=False)


@pytest.mark.parametrize("datatype", FLOATS)
def test_unit_floats_are_rounded_to_the_nearest_grey(datatype: str) -> None:
    """
    0.5 is 127.5, which rounds to the even 128; compared with the datatype's own numbers in double precision.
    """
    values = np.array([0, 0.1, 0.25, 0.5, 0.999, 1]).astype(DTYPES[datatype])

    found = tensors.pixels(binary(datatype, values), is_unit=True)

    np.testing.assert_array_equal(found, [round(255 * float(value)) for value in values])
    np.testing.assert_array_equal(tensors.pixels(of(datatype, values.tolist(), 6), is_unit=True), found)


def test_bf16_is_half_of_a_float() -> None:
    """
    Binary alone: JSON has no such numbers, as other servers have it too.
    """
    halves = np.array([0, 1, 128, 255], np.float32).view(np.uint32) >> 16
    content = halves.astype("<u2").tobytes()

    np.testing.assert_array_equal(tensors.pixels(of("BF16", content, 4), is_unit=False), [0, 1, 128, 255])
    with pytest.raises(TensorMismatch, match="should be 6 bytes for"):
        tensors.pixels(of("BF16", content, 3), is_unit=False)
    with pytest.raises(TensorMismatch, match="binary for BF16; got numbers"):
        tensors.pixels(of("BF16", [1], 1), is_unit=False)


def test_booleans_are_pixels_on_the_unit_scale_alone() -> None:
    """
    True as 1 of 255 would be nearly nothing, and nobody means that.
    """
    for tensor in (of("BOOL", [True, False], 2), of("BOOL", b"\1\0", 2)):
        np.testing.assert_array_equal(tensors.pixels(tensor, is_unit=True), [255, 0])
        with pytest.raises(TensorMismatch, match="scale"):
            tensors.pixels(tensor, is_unit=False)


@pytest.mark.parametrize(
    ("datatype", "content", "words"),
    [
        ("UINT8", [1, 256], r"\[1\] of input 'image' should be a whole number 0\.\.255, for UINT8; got 256"),
        ("UINT8", [-1, 0], r"\[0\] .* got -1"),
        ("UINT8", [1, 2.5], r"\[1\] .* got 2\.5"),
        ("UINT8", [1, True], r"\[1\] .* got true"),
        ("UINT8", [1, None], r"\[1\] .* got null"),
        ("UINT8", [1, "2"], r"\[1\] .* got '2'"),
        ("UINT8", [1, {}], r"\[1\] .* got an object"),
        ("UINT8", [1, []], r"\[1\] .* got \[\]"),
        ("INT64", [0, 256], r"\[1\] .*0\.\.255; got 256"),
        ("INT64", [0, 2**63], r"\[1\] .* for INT64; got 9223372036854775808"),
        ("UINT64", [0, 2**64], r"\[1\] .* for UINT64"),
        ("UINT64", [0, -1], r"\[1\] .* for UINT64; got -1"),
        ("INT16", [0, 1e300], r"\[1\] .* for INT16"),
        ("FP32", [0, 0.5], r'\[1\] .* "scale": "unit"\); got 0\.5'),
        ("FP32", [0, 1e39], r"\[1\] .* should be a number that fits FP32; got 1e\+39"),
        ("FP32", [0, float("nan")], r"\[1\] .* got nan"),
        ("FP16", [0, 70000], r"\[1\] .* fits FP16; got 70000"),
        ("FP64", [0, False], r"\[1\] .* got false"),
        ("BOOL", [True, 1], r"\[1\] .* should be true or false; got 1"),
        ("BOOL", [0, 1], r"\[0\] .* should be true or false; got 0"),
        ("BOOL", b"\1\2", "a byte 0 or 1"),
        ("FP32", np.array([1, np.nan], "<f4").tobytes(), r"\[1\] .* got nan"),
        ("FP32", np.array([1, np.inf], "<f4").tobytes(), r"\[1\] .* got inf"),
        ("INT64", np.array([1, -(2**63)], "<i8").tobytes(), r"\[1\] .* got -9.22337e\+18"),
    ],
)
def test_an_element_that_is_no_pixel_is_named(datatype: str, content: Any, words: str) -> None:  # noqa: ANN401
    """
    Which one, what was expected, what came.
    """
    with pytest.raises(MalformedRequest, match=words):
        tensors.pixels(of(datatype, content, 2), is_unit=False)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ([1, 2, 3], "3"),
        ([1, 2, 3, 4, 5], "5"),
        ([], "0"),
        ([[1, 2], [3]], "a list of 1 where 2"),
        ([[1, 2], 3], "3 where 2"),
        ([[1, 2]], "1 lists"),
        ([[1], [2], [3], [4]], "4 lists"),
        ([[[1, 2], [3, 4]]], "1 lists"),
        (b"abc", "3"),
        (b"abcde", "5"),
        (b"", "0"),
    ],
)
def test_contents_that_are_not_of_the_shape_are_refused(content: Any, got: str) -> None:  # noqa: ANN401
    """
    Too few, too many, nested otherwise.
    """
    with pytest.raises(TensorMismatch, match=got):
        tensors.numbers(of("UINT8", content, 2, 2))


def test_a_huge_shape_costs_nothing() -> None:
    """
    Nothing is allocated for elements that did not come.
    """
    for content in (b"x", [1]):
        with pytest.raises(TensorMismatch):
            tensors.numbers(of("FP64", content, *[2**31 - 1] * 8))


@pytest.mark.parametrize(
    "shape",
    [(-1,), (2**31,), (1.0,), (True,), ("1",), (None,), (1,) * 9, ([1],)],
)
def test_shapes_are_whole_numbers(shape: tuple[Any, ...]) -> None:
    """
    Not negative, not beyond 32 bits, at most eight.
    """
    with pytest.raises(MalformedRequest, match="Shape of input 'image' should be at most 8 whole numbers"):
        tensors.check(Tensor("image", "UINT8", shape, []))


@pytest.mark.parametrize("datatype", ["uint8", "FP8", "", "TYPE_UINT8", "UINT8\n", "x" * 1000])
def test_other_datatypes_are_refused(datatype: str) -> None:
    """
    With all that there are.
    """
    with pytest.raises(MalformedRequest, match="Datatype of input 'image' should be one of BOOL, UINT8"):
        of(datatype, [1], 1)


def test_binary_contents_are_a_view() -> None:
    """
    Pixels are not copied before the network reads them.
    """
    content = PIXELS.tobytes()

    found = tensors.pixels(of("UINT8", content, 2, 3), is_unit=False)

    assert not found.flags.owndata
    assert not found.flags.writeable


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_bytes_come_back(elements: list[bytes]) -> None:
    """
    Packed and unpacked they are what they were.
    """
    assert tensors.blobs(of(BYTES, tensors.pack(elements), len(elements))) == elements


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\1\0\0", "fewer bytes"),
        (struct.pack("<I", 5) + b"abc", "5 bytes in an element that says so; got 3"),
        (struct.pack("<I", 2**32 - 1) + b"abc", "4,294,967,295 bytes"),
        (struct.pack("<I", 1) + b"a", r"2 elements for \(2,\) BYTES; got 1"),
        (b"\0" * 12, r"2 elements for \(2,\) BYTES; got more"),
    ],
)
def test_bytes_whose_lengths_lie_are_refused(content: bytes, words: str) -> None:
    """
    Cut off, too long, too many.
    """
    with pytest.raises(TensorMismatch, match=words):
        tensors.blobs(of(BYTES, content, 2))
