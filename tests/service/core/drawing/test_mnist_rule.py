"""`service/core/drawing/mnist_rule.py`: which 28 x 28 images are used unchanged; preprocessing of others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from service.core.drawing import mnist, mnist_rule
from service.core.drawing.steps import StepRecorder
from service.core.errors import BlankImage
from tests import digits
from tests.examples import examples

Grey = NDArray[np.uint8]

ALL = [way for ways in digits.DIGITS.values() for way in ways]

LIKENESS = 0.82
"""Least cosine between a digit scaled down with its canvas and prepared, and the same digit from its strokes.
Different digits have at most 0.8."""


def scaled_down(way: digits.Strokes, left: int = 0, top: int = 0, size: int = 280) -> Grey:
    """Return a canvas of 400 x 400, white on black, scaled down by its area."""
    canvas = np.zeros((420, 420), np.uint8)
    digit = digits.canvas(way, size, size // 15, dark_on_light=False)
    canvas[top : top + size, left : left + size] = np.asarray(digit)
    return np.asarray(canvas.reshape(28, 15, 28, 15).mean(axis=(1, 3)), np.uint8)


def likeness(one: Grey, other: Grey) -> float:
    a, b = one.ravel().astype(float), other.ravel().astype(float)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def square(side: int, left: int, top: int, level: int = 255) -> Grey:
    """Return a square of one grey on black."""
    image = np.zeros((28, 28), np.uint8)
    image[top : top + side, left : left + side] = level
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (square(20, 4, 4), True),  # its centre is at 14.0, off by half a pixel
        (square(19, 5, 5), True),
        (square(18, 5, 5), False),
        (square(22, 3, 3), True),
        (square(23, 3, 3), False),
        (square(19, 6, 5), False),
        (square(19, 5, 4), False),
        (square(19, 5, 5, level=199), False),
        (square(19, 5, 5, level=200), True),
        (square(28, 0, 0), False),
        (square(0, 0, 0), False),
    ],
)
def test_size_centre_and_contrast_decide(image: Grey, expected: bool) -> None:
    """
    A larger side of 19 to 22, the centre of mass in the middle, and a bright stroke.
    """
    assert mnist_rule.is_as_mnist(image) == expected
    assert mnist_rule.are_as_mnist(image[None]).tolist() == [expected]


@examples(100)
@given(npst.arrays(np.uint8, (3, 28, 28), elements=st.sampled_from([0, 0, 0, 255]) | st.integers(0, 255)))
def test_one_image_and_a_batch_are_decided_alike(images: Grey) -> None:
    """
    Whatever the pixels.
    """
    cropped = images.copy()
    cropped[:, :4] = cropped[:, -4:] = cropped[:, :, :4] = cropped[:, :, -4:] = 0

    for batch in (images, cropped):
        assert mnist_rule.are_as_mnist(batch).tolist() == [mnist_rule.is_as_mnist(image) for image in batch]


@pytest.mark.parametrize("way", ALL)
def test_a_prepared_drawing_is_as_mnists_and_its_negative_becomes_it(way: digits.Strokes) -> None:
    """
    The pixels that an answer shows can be posted again: nothing is prepared twice.
    """
    image = mnist.from_picture(np.asarray(digits.canvas(way)))

    found = mnist_rule.prepare_batch(image[None])
    inverted = mnist_rule.prepare_batch(255 - image[None])

    assert found.changed == []
    assert np.shares_memory(found.images, image)
    assert inverted.changed == [0]
    np.testing.assert_array_equal(inverted.images[0], image)


@pytest.mark.parametrize("way", ALL)
@pytest.mark.parametrize(("left", "top", "size"), [(0, 0, 200), (120, 90, 300), (0, 0, 340), (220, 10, 200)])
def test_a_digit_scaled_down_with_its_canvas_is_fitted_and_centred(
    way: digits.Strokes, left: int, top: int, size: int
) -> None:
    """
    Of any size, anywhere, light on dark, dark on light and on grey paper.
    """
    wanted = mnist.from_strokes(digits.arrays(way))
    dark = scaled_down(way, left, top, size)
    grey = np.asarray(200 - dark * 0.6, np.uint8)

    found = mnist_rule.prepare_batch(np.stack([dark, 255 - dark, grey]))

    assert found.changed == [0, 1, 2]
    for image in found.images:
        assert likeness(image, wanted) >= LIKENESS


def test_only_the_images_of_a_batch_that_need_it_are_changed() -> None:
    """
    The others keep their bits and their places; the batch that came is left alone.
    """
    usual = square(19, 5, 5)
    moved = np.roll(usual, 3, axis=1)
    batch = np.stack([usual, moved, usual])
    before = batch.copy()

    found = mnist_rule.prepare_batch(batch)

    assert found.changed == [1]
    np.testing.assert_array_equal(batch, before)
    np.testing.assert_array_equal(found.images[::2], batch[::2])
    np.testing.assert_array_equal(found.images[1], mnist.from_picture(moved))


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_an_even_image_is_blank_and_named(level: int) -> None:
    """
    By its row in the batch.
    """
    batch = np.stack([square(19, 5, 5), np.full((28, 28), level, np.uint8)])

    with pytest.raises(BlankImage, match=r"^Image 1 should show something drawn"):
        mnist_rule.prepare_batch(batch)


def test_the_steps_of_an_inverted_image_are_shown() -> None:
    """
    As it came, and as the network sees it.
    """
    image = square(19, 5, 5)
    recorder = StepRecorder()

    mnist_rule.prepare(255 - image, "Image 0", recorder)

    assert [step.name for step in recorder.steps] == ["drawn", "taken"]
    np.testing.assert_array_equal(recorder.steps[1].picture, image)
