"""`service/codecs/arrays.py`: bytes and NumPy files to images, and arrays to NumPy files."""

import io
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from service.codecs import arrays as array_body
from service.core.drawing import mnist
from service.core.errors import MalformedRequest, PayloadTooLarge, RequestError
from tests import digits
from tests.examples import examples
from tests.service.http.bodies import (
    LIMITS,
    SHAPE,
    check_images_or_refusal,
    check_sentence,
    images,
    npy,
    npy_file,
)

TIE = 1e-12
"""In pixels of 0 to 1, far above the rounding of double precision: a number may lie between two greys."""

EXAMPLES = examples(60, HealthCheck.data_too_large, HealthCheck.large_base_example)
BATCH = st.integers(1, 4).map(lambda n: (n, *SHAPE))


def npy_refusal(body: bytes, kind: type[RequestError] = MalformedRequest) -> str:
    with pytest.raises(kind) as caught:
        array_body.read_npy(body, SHAPE, LIMITS)
    assert type(caught.value) is kind
    check_sentence(str(caught.value))
    return str(caught.value)


@EXAMPLES
@given(batch=arrays.arrays(np.uint8, BATCH))
def test_octets_are_decoded_to_images(batch: NDArray[np.uint8]) -> None:
    found = array_body.read_octets(batch.tobytes(), SHAPE, LIMITS)

    np.testing.assert_array_equal(found, batch)


@EXAMPLES
@given(body=st.binary(max_size=2000))
@example(body=b"")
@example(body=bytes(783))
@example(body=bytes(785))
def test_incomplete_images_are_refused(body: bytes) -> None:
    """
    The message contains the number of bytes.
    """
    if body and len(body) % 784 == 0:
        assert array_body.read_octets(body, SHAPE, LIMITS).shape == (len(body) // 784, 28, 28)
        return

    with pytest.raises(MalformedRequest) as caught:
        array_body.read_octets(body, SHAPE, LIMITS)

    assert str(caught.value) == f"Body should be n x 784 bytes with n >= 1; got {len(body):,} bytes."


def test_limit_of_images_is_inclusive() -> None:
    """
    For octets and for NumPy files.
    """
    taken = array_body.read_octets(bytes(784 * 64), SHAPE, LIMITS)
    with pytest.raises(PayloadTooLarge) as caught:
        array_body.read_octets(bytes(784 * 65), SHAPE, LIMITS)
    message = npy_refusal(npy(np.zeros((65, 28, 28), np.uint8)), PayloadTooLarge)

    assert len(taken) == 64
    assert str(caught.value) == message == "Batch should be at most 64 images; got 65."


@EXAMPLES
@given(
    batch=arrays.arrays(np.uint8, BATCH),
    dtype=st.sampled_from(["u1", "<f2", "<f4", "<f8", ">f2", ">f4", ">f8"]),
    flat=st.booleans(),
    one=st.booleans(),
    fortran=st.booleans(),
    version=st.sampled_from([(1, 0), (2, 0)]),
)
def test_npy_files_of_all_supported_kinds_are_decoded(
    batch: NDArray[np.uint8], dtype: str, flat: bool, one: bool, fortran: bool, version: tuple[int, int]
) -> None:
    """
    Any dtype, byte order, memory order and format; nested or flat; one image or many.
    """
    expected = batch[:1] if one else batch
    array: NDArray[Any] = expected.reshape(len(expected), -1) if flat else expected
    array = array[0] if one else array
    array = (array if dtype == "u1" else array / 255).astype(dtype, order="F" if fortran else "C")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)

    found = array_body.read_npy(stream.getvalue(), SHAPE, LIMITS)

    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@EXAMPLES
@given(units=arrays.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)))
def test_floats_are_rounded_to_the_nearest_grey(units: NDArray[np.float32]) -> None:
    """
    No pixel differs from its number by more than half a grey.
    """
    found = array_body.read_npy(npy(units), SHAPE, LIMITS)

    assert np.abs(found[0] / 255 - units.astype(np.float64)).max() <= 0.5 / 255 + TIE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.001, 1.001, 255.0])
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8"])
def test_floats_outside_0_to_1_are_reported_with_their_position(value: float, dtype: str) -> None:
    """
    Including NaN.
    """
    array = np.zeros((2, 784), dtype)
    array[1, 28 * 2 + 7] = value

    message = npy_refusal(npy(array))

    assert message.startswith("Array[1, 2, 7] should be a number 0..1; got ")


@pytest.mark.parametrize("dtype", ["c8", "c16", "g", "G"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    message = npy_refusal(npy(np.zeros((1, 784), dtype)))

    assert message.startswith("Array should be integers 0..255, floats 0..1 or booleans; got ")
    assert str(np.dtype(dtype)) in message


@pytest.mark.parametrize("dtype", ["U1", "S1", "M8[s]", "m8[s]", [("a", "u1")], "V1"])
def test_elements_that_are_not_numbers_are_refused(dtype: Any) -> None:  # noqa: ANN401 - numpy takes many forms
    """
    Strings, times, records.
    """
    assert npy_refusal(npy(np.zeros(784, dtype))).startswith("Array should be integers 0..255, floats 0..1")


class _Bomb:
    """Says so when it is unpickled."""

    exploded = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (_Bomb, "exploded", True))


def test_pickled_objects_are_never_loaded() -> None:
    array = np.empty((1, 784), object)
    array[:] = _Bomb()

    message = npy_refusal(npy(array))
    plain = npy_refusal(pickle.dumps(_Bomb()))

    assert "got 'object'" in message
    assert "a NumPy .npy file" in plain
    assert not _Bomb.exploded


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (0,),
        (783,),
        (785,),
        (0, 784),
        (0, 28, 28),
        (28, 27),
        (2, 3, 28, 28),
        (28, 28, 3),
        (2, 783),
        (0, 1, 28, 28),
    ],
)
def test_arrays_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """
    The message contains the shape.
    """
    message = npy_refusal(npy(np.zeros(shape, np.uint8)))

    assert message.startswith("Array should be of ")
    assert message.rstrip(".'").endswith(f"{shape}")


def test_message_lists_the_accepted_shapes() -> None:
    message = npy_refusal(npy(np.zeros((2, 783), np.uint8)))

    assert "(28, 28), (784,), (n, 28, 28) or (n, 784), n >= 1" in message


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ("(1000000000, 784)", bytes(784)),
        ("(1000000000000000000000, 784)", bytes(784)),
        ("(2, 784)", bytes(784)),
        ("(1, 784)", bytes(785)),
        ("(-1, 784)", bytes(784)),
        ("(-1, -784)", bytes(784)),
        ("(-784,)", b""),
        (f"({'1, ' * 65})", b"\0"),
        (f"({'1, ' * 200})", b"\0"),
        ("(0, 1000000000000000000000000000000)", b""),
        ("(1000000000000000000000000000000, 0)", b""),
        ("(True, 784)", bytes(784)),
        ("(1.0, 784)", bytes(784)),
        ("('a', 784)", bytes(784)),
        ("[1, 784]", bytes(784)),
        ("784", bytes(784)),
        ("None", bytes(784)),
    ],
)
def test_shapes_that_contradict_the_size_are_refused(shape: str, data: bytes) -> None:
    """
    Huge, negative, many-dimensional and invalid shapes; no memory is allocated for them.
    """
    body = npy_file(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}", data)

    npy_refusal(body)


@pytest.mark.parametrize("dtype", ["<f8", ">f4"])
def test_size_of_elements_is_considered(dtype: str) -> None:
    """
    784 bytes are not 784 floats.
    """
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': (784,)}}"

    message = npy_refusal(npy_file(header, bytes(784)))

    assert f"{784 * np.dtype(dtype).itemsize:,} bytes" in message
    assert "got 784" in message


def test_format_3_is_refused() -> None:
    """
    The format is for structured arrays with non-ASCII field names.
    """
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (784,)}"

    message = npy_refusal(npy_file(header, bytes(784), (3, 0)))

    assert message.endswith("got format 3.0.")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "[]",
        "(" * 900,
        "{'descr': '|u1', 'fortran_order': False, 'shape': (784,), 'more': 1}",
        "{'descr': '|u1', 'fortran_order': 'no', 'shape': (784,)}",
        "{'descr': 'no dtype', 'fortran_order': False, 'shape': (784,)}",
        "{'descr': ('|u1', (-1,)), 'fortran_order': False, 'shape': (784,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (784L,)}",
        "__import__('os').abort()",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (784,)}" + " " * 2000,
    ],
)
def test_invalid_headers_are_refused(header: str) -> None:
    """
    The header is parsed as a literal, never executed.
    """
    assert npy_refusal(npy_file(header, bytes(784))).startswith("Body should be a NumPy .npy file")


@EXAMPLES
@given(body=st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"\x93NUMPY\x01\x00" + rest))
def test_arbitrary_bytes_are_refused(body: bytes) -> None:
    """
    With and without the signature of NumPy files.
    """
    message = npy_refusal(body)

    assert message.startswith(("Body should be ", "Array"))


@examples(150, HealthCheck.data_too_large, HealthCheck.large_base_example)
@given(data=st.data(), dtype=st.sampled_from(["u1", "<f4", ">f8"]))
def test_mutated_files_give_images_or_a_request_error(data: st.DataObject, dtype: str) -> None:
    """
    Bytes of a valid header are replaced, deleted and inserted.
    """
    body = bytearray(npy(np.zeros((2, 784), dtype)))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, 100))
        end = start + data.draw(st.integers(0, 3))
        body[start:end] = data.draw(
            st.sampled_from(list(b"0159,()[]'{}-+.:<>|ufiOVS \x00")).map(lambda b: bytes([b]))
        )

    check_images_or_refusal(lambda: array_body.read_npy(bytes(body), SHAPE, LIMITS))


@EXAMPLES
@given(
    matrix=arrays.arrays(
        np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(width=32)
    ),
    transposed=st.booleans(),
)
def test_encoded_arrays_are_read_by_numpy(matrix: NDArray[np.float32], transposed: bool) -> None:
    """
    Bit for bit, in row-major order whatever the memory order.
    """
    array = matrix.T if transposed else matrix

    body = array_body.write_npy(array)

    found = np.load(io.BytesIO(body), allow_pickle=False)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, array)


def test_octets_and_npy_give_the_same_images() -> None:
    batch = images(1, 2, 3)

    octets = array_body.read_octets(batch.tobytes(), SHAPE, LIMITS)
    array = array_body.read_npy(npy(batch), SHAPE, LIMITS)

    np.testing.assert_array_equal(octets, array)


@EXAMPLES
@given(
    batch=arrays.arrays(np.uint8, BATCH),
    dtype=st.sampled_from(["u2", "<i2", ">i4", "<i8", ">u8", "u4"]),
)
def test_integers_of_every_size_are_pixels(batch: NDArray[np.uint8], dtype: str) -> None:
    """
    NumPy's default is int64.
    """
    found = array_body.read_npy(npy(batch.astype(dtype)), SHAPE, LIMITS)

    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, batch)


def test_booleans_are_black_and_white() -> None:
    drawn = images(1, 2) > 99

    np.testing.assert_array_equal(array_body.read_npy(npy(drawn), SHAPE, LIMITS), drawn * 255)


@pytest.mark.parametrize(("dtype", "value"), [("i1", -1), ("<i8", 256), (">i4", -(2**31)), ("u8", 2**64 - 1)])
def test_integers_out_of_range_are_reported_with_their_position(dtype: str, value: int) -> None:
    array = np.zeros((2, 784), dtype)
    array[1, 28 * 2 + 7] = value

    assert npy_refusal(npy(array)) == f"Array[1, 2, 7] should be a whole number 0..255; got {value}."


@pytest.mark.parametrize(
    "shape",
    [(2, 1, 28, 28), (2, 28, 28, 1), (2, 784, 1), (2, 1, 784), (1, 2, 28, 28), (2, 1, 28, 1, 28)],
)
def test_sides_of_one_do_not_matter(shape: tuple[int, ...]) -> None:
    """
    As PyTorch and Keras shape images of one channel.
    """
    batch = images(1, 2)

    found = array_body.read_npy(npy(batch.reshape(shape)), SHAPE, LIMITS)

    np.testing.assert_array_equal(found, batch)


@pytest.mark.parametrize("value", [np.nextafter(np.float32(1), np.float32(2)), np.float32(-1e-6)])
def test_rounding_errors_are_accepted(value: np.float32) -> None:
    """
    float32 computes 1.0000001 where 1 is meant.
    """
    array = np.full((1, 784), value, np.float32)

    np.testing.assert_array_equal(
        array_body.read_npy(npy(array), SHAPE, LIMITS), np.full((1, *SHAPE), round(float(value)) * 255)
    )


@pytest.mark.parametrize(
    ("value", "got"), [(1.0001, "1.0001"), (-0.00011, "-0.00011"), (253, "253.0 (numbers")]
)
def test_refused_numbers_are_written_with_all_digits(value: float, got: str) -> None:
    """
    Rounded they could look valid.
    """
    message = npy_refusal(npy(np.full(784, value, np.float32)))

    assert f"should be a number 0..1; got {got}" in message


def test_missing_elements_are_counted() -> None:
    message = npy_refusal(npy_file("{'descr': '|u1', 'fortran_order': False, 'shape': (28, 28)}"))

    assert message == "Body should be 784 bytes after its header of shape (28, 28); got 0."


def _digits() -> NDArray[np.uint8]:
    """Return drawn digits with grey edges: (16, 28, 28)."""
    ways = [way for found in digits.DIGITS.values() for way in found]
    return np.stack([mnist.from_strokes(digits.arrays(way)) for way in ways[:16]])


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i2", "<i4", "<i8"])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_raw_arrays_of_wider_numbers_are_refused(dtype: str, count: int) -> None:
    """
    One image of float32 would be four of bytes.
    """
    unit = 255 if dtype.startswith("<f") else 1
    body = (_digits()[:count] / unit).astype(dtype).tobytes()

    with pytest.raises(MalformedRequest) as caught:
        array_body.read_octets(body, SHAPE, LIMITS)

    message = str(caught.value)
    check_sentence(message)
    assert f"one a pixel; got {len(body):,} bytes of {np.dtype(dtype).name}" in message


def test_raw_floats_0_to_255_are_refused() -> None:
    with pytest.raises(MalformedRequest, match="bytes of float32"):
        array_body.read_octets(_digits()[:2].astype("<f4").tobytes(), SHAPE, LIMITS)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("scale", [1, 4])
def test_bytes_are_not_mistaken_for_wider_numbers(count: int, scale: int) -> None:
    """
    Neither digits, in full or faint, nor blank images, nor lines of one pixel.
    """
    lines = np.zeros((count, *SHAPE), np.uint8)
    lines[:, 4:24, 8] = 255
    for batch in (_digits()[:count] // np.uint8(scale), lines, np.zeros_like(lines)):
        np.testing.assert_array_equal(array_body.read_octets(batch.tobytes(), SHAPE, LIMITS), batch)
