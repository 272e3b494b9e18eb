import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import photo
from service.core.drawing.steps import StepRecorder
from tests.examples import examples

PHOTOS = npst.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3)))

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"]


@examples()
@given(pixels=npst.arrays(np.uint8, (64, 64, 3)))
def test_images_of_the_final_size_are_unchanged(pixels: NDArray[np.uint8]) -> None:
    """
    Preprocessing is idempotent.
    """
    np.testing.assert_array_equal(photo.prepare(Image.fromarray(pixels)), pixels)


@pytest.mark.parametrize(("wide", "tall"), [(128, 128), (300, 128), (128, 131), (129, 128)])
def test_central_square_is_reduced_by_averaging(wide: int, tall: int) -> None:
    """
    The central 128 x 128, in squares of 2 x 2.
    """
    pixels = np.random.default_rng(1).integers(0, 256, (tall, wide, 3), np.uint8)
    top, left = (tall - 128) // 2, (wide - 128) // 2
    middle = pixels[top : top + 128, left : left + 128].astype(float)
    means = middle.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))

    found = photo.prepare(Image.fromarray(pixels))

    assert found.dtype == np.uint8
    assert np.abs(found - means).max() <= 1  # Pillow rounds twice: along rows, then along columns


@examples(30)
@given(pixels=PHOTOS, mode=st.sampled_from(MODES))
def test_any_size_and_mode_is_preprocessed_without_changing_the_source(
    pixels: NDArray[np.uint8], mode: str
) -> None:
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 256)
    elif mode == "PA":
        picture = picture.convert("P").convert("PA")
    else:
        picture = picture.convert(mode)
    before = picture.tobytes()

    found = photo.prepare(picture)

    assert (found.shape, str(found.dtype)) == (photo.SHAPE, "uint8")
    assert (picture.mode, picture.tobytes()) == (mode, before)


@pytest.mark.parametrize("size", [(64, 64), (128, 200)])
@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "CMYK"])
def test_colours_are_preserved_in_every_mode(mode: str, size: tuple[int, int]) -> None:
    """
    Orange stays orange.
    """
    picture = Image.new("RGB", size, (255, 128, 0)).convert(mode)

    found = photo.prepare(picture)

    assert np.abs(found.astype(int) - (255, 128, 0)).max() <= 26  # the usual palette has steps of 51


@pytest.mark.parametrize("grey", [0, 100, 255])
def test_greyscale_becomes_three_equal_channels(grey: int) -> None:
    """
    8 or 16 bits per pixel, of which the upper 8 are used.
    """
    pixels = np.full((70, 70), grey, np.uint8)

    for picture in (Image.fromarray(pixels), Image.fromarray(pixels.astype(np.uint16) * 256 + 5)):
        assert (photo.prepare(picture) == grey).all()


def test_transparent_pixels_become_white() -> None:
    """
    Left half transparent black, right half opaque blue; no dark pixels at their border.
    """
    pixels = np.zeros((130, 130, 4), np.uint8)
    pixels[:, 65:] = (0, 0, 255, 255)

    found = photo.prepare(Image.fromarray(pixels))

    assert (found[:, :31] == 255).all()
    assert (found[:, 33:] == (0, 0, 255)).all()
    assert (found[..., 2] == 255).all()


def test_half_transparent_pixels_are_blended_with_white() -> None:
    found = photo.prepare(Image.new("RGBA", (90, 90), (0, 0, 0, 128)))

    assert np.abs(found.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_colours_declared_transparent_become_white(mode: str) -> None:
    """
    PNG chunk tRNS.
    """
    picture = Image.new("L", (64, 64), 0).convert(mode)
    picture.info["transparency"] = (0, 0, 0) if mode == "RGB" else 0

    assert (photo.prepare(picture) == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2), (63, 64)])
def test_small_and_narrow_images_are_enlarged(size: tuple[int, int]) -> None:
    """
    An image of one colour keeps it.
    """
    assert (photo.prepare(Image.new("RGB", size, (1, 2, 3))) == (1, 2, 3)).all()


@pytest.mark.parametrize(("shape", "part"), [((20, 40), (1, 3)), ((40, 20), (0, 4))])
def test_other_shapes_use_the_central_part_of_their_proportions(
    shape: tuple[int, int], part: tuple[int, int]
) -> None:
    """
    A picture with rows of brightness 0, 50, 100 and 150, each as high as a quarter of it.
    """
    pixels = np.repeat(np.array([0, 50, 100, 150], np.uint8), 20)[:, None].repeat(80, axis=1)

    found = photo.prepare(Image.fromarray(pixels), shape=shape)

    assert (found.shape, str(found.dtype)) == (shape, "uint8")
    assert sorted(set(found.ravel().tolist())) == [50 * row for row in range(*part)]


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_is_applied_before_the_proportions(orientation: int) -> None:
    """
    A photograph of 80 x 40 that is stored on its side is upright as 40 x 80.
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (80, 40), (9, 9, 9)).save(file, "JPEG", exif=exif)
    recorder = StepRecorder()

    with Image.open(file) as picture:
        found = photo.prepare(picture, recorder, (16, 8, 3))

    height, width = recorder.steps[1].picture.shape[:2]
    assert found.shape == (16, 8, 3)
    assert (height, width) == ((80, 40) if orientation == 6 else (40, 20))
