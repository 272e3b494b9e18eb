"""`service/codecs/pictures/png.py`: the files that it writes, read by Pillow."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from service.codecs.pictures import png
from service.core.network import weight_images


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 60), (1, 500), (500, 1)])
@pytest.mark.parametrize("scale", [1, 2, 7, 32])
def test_a_file_shows_every_pixel_as_a_square(size: tuple[int, int], scale: int) -> None:
    """
    Pillow, which checks every checksum, reads the image enlarged.
    """
    image = np.random.default_rng(scale).integers(0, 256, (*size, 4), np.uint8)

    with Image.open(io.BytesIO(png.write_enlarged(image, scale))) as found:
        assert found.mode == "RGBA"
        pixels = np.asarray(found)

    np.testing.assert_array_equal(pixels, weight_images.enlarge(image, scale))


def test_writing_takes_memory_for_the_file_and_not_for_its_pixels() -> None:
    """
    16 million pixels are 64 MB.
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
