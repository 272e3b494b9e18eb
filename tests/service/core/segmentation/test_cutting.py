import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from service.core.drawing import mnist
from service.core.segmentation import cutting
from service.core.segmentation.paper import Blank
from tests.digits import DIGITS, canvas

SIDE = 80
MARGIN = 6

DIGIT = DIGITS["5"][0]


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The cosine between two prepared images; the same digit drawn twice gives more than 0.9."""
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def plain(size: int = 280, pen: int = 18) -> NDArray[np.uint8]:
    """A clean canvas, dark on light."""
    return np.array(canvas(DIGIT, size, pen))


def test_ink_is_1_and_paper_is_0_whatever_their_greys() -> None:
    """
    Grey on grey says as much as black on white.
    """
    clean = plain()
    faint = (180 + (clean / 255) * 30).astype(np.uint8)

    cut = cutting.cut_out(faint, SIDE, MARGIN).ink

    np.testing.assert_allclose(cut, cutting.cut_out(clean, SIDE, MARGIN).ink, atol=0.2)
    assert np.isclose(cut, 1, atol=0.05).mean() > 0.1
    assert np.isclose(cut, 0, atol=0.05).mean() > 0.3


def test_the_larger_side_of_the_digit_is_what_was_asked_for() -> None:
    """
    With a margin round it on every side.
    """
    cut = cutting.cut_out(plain(), SIDE, MARGIN).ink

    drawn = cut > 0.5
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - SIDE) <= 4
    assert rows[0] >= 3
    assert rows[-1] < len(cut) - 3


def uneven(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Light from one corner."""
    across, down = np.meshgrid(np.linspace(1, 0.6, clean.shape[1]), np.linspace(1, 0.7, clean.shape[0]))
    return np.asarray((clean * 0.8 + 30) * across * down, np.uint8)


def noisy(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A sensor in the dark."""
    noise = np.random.default_rng(1).normal(0, 12, clean.shape)
    return np.clip(clean * 0.7 + 40 + noise, 0, 255).astype(np.uint8)


def speckled(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Dirt in two corners, apart from the digit."""
    dirty = clean.copy()
    dirty[5:9, 5:9] = dirty[-9:-5, -9:-5] = 0
    return dirty


def framed(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The canvas of a page, cut out with its border."""
    return np.pad(clean, 3, constant_values=60)


def blurred(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Out of focus."""
    return np.asarray(Image.fromarray(clean).filter(ImageFilter.GaussianBlur(3)))


@pytest.mark.parametrize("spoil", [uneven, noisy, speckled, framed, blurred])
def test_what_a_camera_or_a_page_adds_is_not_ink(spoil: object) -> None:
    """
    The prepared digit looks as it does on a clean canvas.
    """
    clean = plain()
    assert callable(spoil)

    seen = mnist.from_picture(spoil(clean))

    assert likeness(seen, mnist.from_picture(clean)) > 0.95


def test_a_dark_frame_alone_is_no_drawing() -> None:
    """
    An empty canvas with a border is as empty as one without.
    """
    with pytest.raises(Blank):
        cutting.cut_out(framed(np.full((280, 280), 255, np.uint8)), SIDE, MARGIN)


@pytest.mark.parametrize("pen", [3, 6, 18, 40])
def test_thin_and_thick_pens_draw_the_same_digit(pen: int) -> None:
    """
    Their strokes are brought to about the same width.
    """
    usual = mnist.from_picture(plain(pen=18))

    assert likeness(mnist.from_picture(plain(pen=pen)), usual) > 0.85


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_picture_is_blank(level: int) -> None:
    """
    There is no ink, only paper.
    """
    with pytest.raises(Blank):
        cutting.cut_out(np.full((100, 100), level, np.uint8), SIDE, MARGIN)
