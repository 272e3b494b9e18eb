"""`service/codecs/npz.py`: archives with one NumPy file, valid, broken and hostile."""

import io
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.codecs import npz
from service.codecs.drawings import Limits
from service.core.errors import MalformedRequest, PayloadTooLarge, RequestError
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

MANY = Limits(images=4096, picture_pixels=1, points=1)


def savez(*, compressed: bool = True, **named: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **named)  # type: ignore[arg-type]  # any names
    return stream.getvalue()


def archive(content: bytes, name: str = "x.npy", method: int = zipfile.ZIP_DEFLATED, count: int = 1) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for number in range(count):
            file.writestr(name if count == 1 else f"{number}{name}", content)
    return stream.getvalue()


def refusal(body: bytes, kind: type[RequestError] = MalformedRequest, limits: Limits = LIMITS) -> str:
    with pytest.raises(kind) as caught:
        npz.read(body, SHAPE, limits)
    assert type(caught.value) is kind
    check_sentence(str(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "<i8", "<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_array_is_read_as_a_numpy_file(compressed: bool, dtype: str, order: Any) -> None:  # noqa: ANN401
    batch = images(*range(60))
    array = np.asarray(batch / 255 if "f" in dtype else batch, dtype, order=order)

    found = npz.read(savez(compressed=compressed, images=array), SHAPE, LIMITS)

    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, batch)


def test_one_flat_image_is_read() -> None:
    np.testing.assert_array_equal(npz.read(savez(a=images(1).ravel()), SHAPE, LIMITS), images(1))


def test_several_arrays_are_refused_by_their_names() -> None:
    message = refusal(savez(x_train=images(1), y_train=np.array([7])))

    assert message == "Body should be a NumPy .npz file with one array; got 'x_train', 'y_train'."


@pytest.mark.parametrize(
    ("body", "got"),
    [
        (b"", "another file"),
        (b"PK\x03\x04", "another file"),
        (savez(a=images(1))[:-1], "another file"),
        (savez(a=images(1)) + b"comment", "another file"),
        (archive(b"", count=0), "an empty one"),
        (archive(b"text", name="digit.png"), "'digit.png'"),
        (archive(b"text"), "another header"),
        (archive(npy(images(1)), method=zipfile.ZIP_BZIP2), "another method"),
        (archive(npy(images(1)), method=zipfile.ZIP_LZMA), "another method"),
        (archive(npy(images(1)) + b"x"), "more"),
        (archive(npy(images(1))[:-1]), "fewer"),
        (archive(npy(images(1)), count=17), "one with 17 files"),
        (archive(npy(images(1)), count=10_000), "one with 10,000 files"),
        (archive(npy(np.array([{}], object))), "'object'"),
        (archive(npy(np.zeros((2, 783)))), "(2, 783)"),
    ],
)
def test_other_archives_are_refused(body: bytes, got: str) -> None:
    assert got in refusal(body)


def test_wrong_numbers_are_reported_with_their_position() -> None:
    array = np.zeros((60, 784), np.int64)
    array[59, 7] = 256

    assert refusal(savez(a=array)) == "Array[59, 0, 7] should be a whole number 0..255; got 256."


def test_limit_of_images_is_checked_before_decompressing() -> None:
    """
    The header declares a terabyte; no number of it is there.
    """
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 784)}"

    assert "at most 64 images" in refusal(archive(npy_file(header)), PayloadTooLarge)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_bomb_takes_little_memory(order: Any) -> None:  # noqa: ANN401 - NumPy's
    """
    25 MB of zeros in 25 KB: not more memory than the pixels and a step. In column-major order it is refused.
    """
    body = savez(a=np.zeros((4096, 784), np.float64, order=order))
    assert len(body) < 30_000
    tracemalloc.start()
    try:
        if order == "C":
            assert npz.read(body, SHAPE, MANY).shape == (4096, 28, 28)
        else:
            assert "column-major order" in refusal(body, limits=MANY)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak <= 4096 * 784 + 4 * 2**20


def test_a_list_of_files_behind_another_one_is_not_read() -> None:
    """
    The 64-bit form of the last record could declare a list of any length.
    """
    body = archive(npy(images(1)))
    locator = b"PK\x06\x07" + bytes(16)

    assert "another file" in refusal(body[:-22] + locator + body[-22:])


@examples(150)
@given(data=st.data())
def test_mutated_archives_give_images_or_a_request_error(data: st.DataObject) -> None:
    """
    Bytes of a valid archive are replaced, deleted and inserted.
    """
    body = bytearray(savez(a=images(1, 2)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.sampled_from([0, 1, 4]))] = data.draw(st.binary(max_size=4))

    check_images_or_refusal(lambda: npz.read(bytes(body), SHAPE, LIMITS))
