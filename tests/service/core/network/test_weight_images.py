from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.network import weight_images
from service.core.network.weight_images import Palette
from tests.examples import examples

HALF = Fraction(1, 2) + Fraction(1, 10**6)
"""Tolerance of a level: rounded to the nearest, ties in either direction."""

WEIGHTS = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.just(0.0)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.floats(-1, 1, width=32),
)


@pytest.fixture(scope="module")
def quadrants(toy_root: Path) -> Artifact:
    return artifact.read(toy_root, "quadrants", "1")


def exact_pixel(weight: float, largest: float) -> tuple[Fraction, Fraction, Fraction, int]:
    """Return RGBA of one pixel according to the formula, without rounding."""
    v = Fraction(weight) / Fraction(largest) if largest else Fraction(0)
    red_and_blue = 1 - max(v, Fraction(0))
    green = 1 - max(-v, Fraction(0))
    return red_and_blue * 255, green * 255, red_and_blue * 255, 0 if v == 0 else 255


@examples()
@given(WEIGHTS)
@example(np.zeros((2, 3), np.float32))
@example(np.array([[-1e-45, 3e38]], np.float32))
def test_weight_image_equals_the_formula_pixel_by_pixel(weights: NDArray[np.float32]) -> None:
    """
    Computed with fractions, one pixel at a time.
    """
    image = weight_images.weight_image(weights)

    assert image.shape == (*weights.shape, 4)
    assert image.dtype == np.dtype(np.uint8)
    largest = max(abs(float(weight)) for weight in weights.flat)
    for pixel, weight in zip(image.reshape(-1, 4), weights.flat, strict=True):
        red, green, blue, alpha = exact_pixel(float(weight), largest)
        for got, exact in zip(pixel[:3], (red, green, blue), strict=True):
            assert abs(int(got) - exact) <= HALF
        assert pixel[3] == alpha


def test_weight_image_is_green_for_positive_and_purple_for_negative() -> None:
    weights = np.array([[2, -2], [1, 0]], np.float32)

    image = weight_images.weight_image(weights)

    assert image.tolist() == [
        [[0, 255, 0, 255], [255, 0, 255, 255]],
        [[128, 255, 128, 255], [255, 255, 255, 0]],
    ]


def test_safe_palette_is_blue_for_positive_and_vermillion_for_negative() -> None:
    weights = np.array([[3, -3, 0]], np.float32)

    image = weight_images.weight_image(weights, "safe")

    assert image.tolist() == [[[0, 114, 178, 255], [213, 94, 0, 255], [255, 255, 255, 0]]]


@pytest.mark.parametrize("palette", ["lesson", "safe"])
def test_colours_fade_evenly_towards_white(palette: Palette) -> None:
    """
    Half the largest weight is half-way between white and the full colour.
    """
    full = weight_images.weight_image(np.array([[1, -1]], np.float32), palette).astype(int)

    half = weight_images.weight_image(np.array([[1, -1, 0.5, -0.5]], np.float32), palette).astype(int)[:, 2:]

    assert np.abs(half[..., :3] - (255 + full[..., :3]) / 2).max() <= 0.5
    assert (half[..., 3] == 255).all()


@pytest.mark.parametrize("palette", ["lesson", "safe"])
def test_weights_of_zero_are_transparent(palette: Palette) -> None:
    image = weight_images.weight_image(np.zeros((3, 2), np.float32), palette)

    assert not image[..., 3].any()


def test_weights_of_rgb_images_are_three_planes_on_one_scale() -> None:
    """
    Red 2 and -1, green 0 and 1, blue -2 and 0.
    """
    weights = np.array([[[2, 0, -2], [-1, 1, 0]]], np.float32)

    image = weight_images.weight_image(weights)

    clear = [255, 255, 255, 0]
    assert image.tolist() == [
        [[0, 255, 0, 255], [255, 128, 255, 255]],
        [clear, [128, 255, 128, 255]],
        [[255, 0, 255, 255], clear],
    ]


def test_palette_colour_is_grey_for_zero_weights() -> None:
    """
    Positive red, negative blue, half green; and a pixel of zero weights.
    """
    weights = np.array([[[4, 0, -4], [0, 2, 0], [0, 0, 0]]], np.float32)

    image = weight_images.weight_image(weights, "colour")

    assert image.tolist() == [[[255, 128, 0, 255], [128, 191, 128, 255], [128, 128, 128, 0]]]


def test_weight_image_does_not_change_the_weights() -> None:
    weights = np.array([[1, -2]], np.float32)

    weight_images.weight_image(weights)

    assert weights.tolist() == [[1, -2]]


@pytest.mark.parametrize(
    ("units", "columns"),
    [(1, 1), (2, 2), (3, 3), (4, 2), (5, 5), (6, 3), (7, 3), (8, 4), (10, 5), (16, 4), (17, 5), (128, 16)],
)
def test_grid_columns(units: int, columns: int) -> None:
    """
    Full rows if the grid does not become a strip, otherwise nearly a square.
    """
    assert weight_images.grid_columns(units) == columns


@examples()
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["lesson", "safe"]))
def test_grid_contains_the_image_of_every_unit(units: int, height: int, width: int, palette: Palette) -> None:
    """
    Row by row, with one transparent pixel between neighbours, each on its own scale.
    """
    rng = np.random.default_rng(units)
    weights = rng.normal(size=(height * width, units)).astype(np.float32)
    weights *= 10.0 ** rng.integers(-3, 3, units).astype(np.float32)
    columns = weight_images.grid_columns(units)

    grid = weight_images.weight_grid(weights, height, width, palette)

    rows = (units + columns - 1) // columns
    assert grid.shape == (rows * (height + 1) - 1, columns * (width + 1) - 1, 4)
    rest = grid.copy()
    for unit in range(units):
        top, left = unit // columns * (height + 1), unit % columns * (width + 1)
        cell = np.s_[top : top + height, left : left + width]
        alone = weight_images.weight_image(weights[:, unit].reshape(height, width), palette)
        np.testing.assert_array_equal(grid[cell], alone)
        rest[cell] = 0
    assert not rest[..., 3].any()


def test_pixels_are_enlarged_to_squares() -> None:
    image = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)

    large = weight_images.enlarge(image, 3)

    assert large.shape == (6, 9, 4)
    assert all((large[y, x] == image[y // 3, x // 3]).all() for y in range(6) for x in range(9))


def test_scale_of_one_changes_nothing() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)

    assert weight_images.enlarge(image, 1).tolist() == image.tolist()


@pytest.mark.parametrize("palette", ["lesson", "safe"])
def test_shares_of_rgb_pixels_are_added(palette: Palette) -> None:
    """
    A pixel whose three shares sum to 0 is transparent.
    """
    shares = np.array([[[1, 2, 3], [1, -3, 2]], [[-1, -1, -1], [0, 0, 0]]], np.float32)

    image = weight_images.share_image(shares, palette)

    np.testing.assert_array_equal(
        image, weight_images.weight_image(np.array([[6, 0], [-3, 0]], np.float32), palette)
    )
    assert image[..., 3].tolist() == [[255, 0], [255, 0]]


def test_palette_colour_draws_shares_of_rgb_separately() -> None:
    """
    White for three positive shares, black for three negative ones.
    """
    shares = np.array([[[2, 2, 2], [-2, -2, -2], [2, 0, -2]]], np.float32)

    image = weight_images.share_image(shares, "colour")

    assert image.tolist() == [[[255, 255, 255, 255], [0, 0, 0, 255], [255, 128, 0, 255]]]


def test_shares_of_grey_pixels_are_drawn_as_weights() -> None:
    """
    Green for positive, purple for negative, transparent for 0.
    """
    image = weight_images.share_image(np.array([[4, -4, 0]], np.float32))

    assert image[0, :2].tolist() == [[0, 255, 0, 255], [255, 0, 255, 255]]
    assert image[0, 2, 3] == 0
