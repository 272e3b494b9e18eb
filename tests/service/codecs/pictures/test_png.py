"""`service/codecs/pictures/png.py`: its files are decoded with Pillow and compared with the pixels."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from service.codecs.pictures import png
from service.core.network import weight_images
from tests.examples import examples


@examples()
@given(pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4))))
def test_pixels_and_transparency_are_encoded_without_loss(pixels: NDArray[np.uint8]) -> None:
    file = png.write(pixels)

    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "PNG"
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 60), (1, 500), (500, 1)])
@pytest.mark.parametrize("scale", [1, 2, 7, 32])
def test_enlarged_files_have_a_square_for_each_pixel(size: tuple[int, int], scale: int) -> None:
    image = np.random.default_rng(scale).integers(0, 256, (*size, 4), np.uint8)

    with Image.open(io.BytesIO(png.write_enlarged(image, scale))) as found:
        assert found.mode == "RGBA"
        pixels = np.asarray(found)

    np.testing.assert_array_equal(pixels, weight_images.enlarge(image, scale))


def test_encoding_needs_memory_for_the_file_but_not_for_the_enlarged_pixels() -> None:
    """
    The enlarged image has 16 million pixels, 64 MB.
    """
    image = np.random.default_rng(0).integers(0, 256, (500, 500, 4), np.uint8)

    tracemalloc.start()
    try:
        file = png.write_enlarged(image, 8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2 * len(file) + 2_000_000
    assert peak < 10_000_000
