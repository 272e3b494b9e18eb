"""`service/oip/tensor_contents.py`: elements to arrays, and arrays to binary."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.core.errors import MalformedRequest, TensorMismatch
from service.oip import tensor_contents, tensors
from service.oip.tensors import BYTES, DTYPES, Tensor

WHOLE = [name for name in DTYPES if "INT" in name]
FLOATS = [name for name in DTYPES if name.startswith("FP")]
PIXELS = np.array([[0, 1, 2], [127, 128, 255]], np.uint8)


def of(datatype: str, content: Any, *shape: int) -> Tensor:  # noqa: ANN401 - lists and bytes of anything
    binary = memoryview(content) if isinstance(content, bytes) else content
    return tensors.check(Tensor("image", datatype, shape, binary))


def binary(datatype: str, array: NDArray[Any]) -> Tensor:
    return of(datatype, array.astype(DTYPES[datatype]).tobytes(), *array.shape)


@pytest.mark.parametrize("datatype", [name for name in [*WHOLE, *FLOATS] if name != "INT8"])
@pytest.mark.parametrize("form", ["binary", "flat", "nested"])
def test_pixels_are_the_same_in_every_datatype_and_encoding(datatype: str, form: str) -> None:
    values = PIXELS.astype(DTYPES[datatype])
    content = {"flat": values.ravel().tolist(), "nested": values.tolist()}

    tensor = binary(datatype, PIXELS) if form == "binary" else of(datatype, content[form], *PIXELS.shape)

    found = tensor_contents.pixels(tensor, is_unit=False)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PIXELS)


def test_int8_holds_pixels_up_to_127() -> None:
    """200 is out of range for INT8; -1 is within, but no pixel."""
    np.testing.assert_array_equal(tensor_contents.pixels(of("INT8", [0, 127], 2), is_unit=False), [0, 127])
    with pytest.raises(MalformedRequest, match=r"Element \[1\] .*-128\.\.127, for INT8; got 200"):
        tensor_contents.pixels(of("INT8", [0, 200], 2), is_unit=False)
    with pytest.raises(MalformedRequest, match=r"Element \[0\] .*0\.\.255; got -1"):
        tensor_contents.pixels(of("INT8", b"\xff", 1), is_unit=False)


@pytest.mark.parametrize("datatype", FLOATS)
def test_unit_floats_are_rounded_to_the_nearest_grey(datatype: str) -> None:
    """0.5 is 127.5, which rounds to the even 128."""
    values = np.array([0, 0.1, 0.25, 0.5, 0.999, 1]).astype(DTYPES[datatype])

    found = tensor_contents.pixels(binary(datatype, values), is_unit=True)

    np.testing.assert_array_equal(found, [round(255 * float(value)) for value in values])
    np.testing.assert_array_equal(
        tensor_contents.pixels(of(datatype, values.tolist(), 6), is_unit=True), found
    )


def test_bf16_is_accepted_as_binary_only() -> None:
    halves = np.array([0, 1, 128, 255], np.float32).view(np.uint32) >> 16
    content = halves.astype("<u2").tobytes()

    np.testing.assert_array_equal(
        tensor_contents.pixels(of("BF16", content, 4), is_unit=False), [0, 1, 128, 255]
    )
    with pytest.raises(TensorMismatch, match="should be 6 bytes for"):
        tensor_contents.pixels(of("BF16", content, 3), is_unit=False)
    with pytest.raises(TensorMismatch, match="binary for BF16; got numbers"):
        tensor_contents.pixels(of("BF16", [1], 1), is_unit=False)


def test_booleans_are_pixels_with_scale_unit_only() -> None:
    for tensor in (of("BOOL", [True, False], 2), of("BOOL", b"\1\0", 2)):
        np.testing.assert_array_equal(tensor_contents.pixels(tensor, is_unit=True), [255, 0])
        with pytest.raises(TensorMismatch, match="scale"):
            tensor_contents.pixels(tensor, is_unit=False)


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
        ("INT64", np.array([1, -(2**63)], "<i8").tobytes(), r"\[1\] .* got -9223372036854775808"),
    ],
)
def test_an_element_that_is_no_pixel_is_refused_with_its_index(
    datatype: str,
    content: Any,  # noqa: ANN401
    words: str,
) -> None:
    with pytest.raises(MalformedRequest, match=words):
        tensor_contents.pixels(of(datatype, content, 2), is_unit=False)


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
def test_elements_that_do_not_match_the_shape_are_refused(content: Any, got: str) -> None:  # noqa: ANN401
    with pytest.raises(TensorMismatch, match=got):
        tensor_contents.numbers(of("UINT8", content, 2, 2))


def test_a_huge_shape_allocates_no_memory() -> None:
    for content in (b"x", [1]):
        with pytest.raises(TensorMismatch):
            tensor_contents.numbers(of("FP64", content, *[2**31 - 1] * 8))


def test_binary_pixels_are_not_copied() -> None:
    content = PIXELS.tobytes()

    found = tensor_contents.pixels(of("UINT8", content, 2, 3), is_unit=False)

    assert not found.flags.owndata
    assert not found.flags.writeable


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_bytes_elements_survive_encoding(elements: list[bytes]) -> None:
    assert tensor_contents.blobs(of(BYTES, tensor_contents.encode(elements), len(elements))) == elements


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\1\0\0", "fewer bytes"),
        (struct.pack("<I", 5) + b"abc", "5 bytes, the declared length of an element; got 3"),
        (struct.pack("<I", 2**32 - 1) + b"abc", "4,294,967,295 bytes"),
        (struct.pack("<I", 1) + b"a", r"2 elements for \(2,\) BYTES; got 1"),
        (b"\0" * 12, r"2 elements for \(2,\) BYTES; got more"),
    ],
)
def test_bytes_elements_with_wrong_lengths_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(TensorMismatch, match=words):
        tensor_contents.blobs(of(BYTES, content, 2))
