"""`service/core/segmentation/colours.py`: which grey shows the ink of a colour picture."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.core.drawing import mnist
from service.core.segmentation import colours
from tests import digits

Colour = tuple[int, int, int]

ALIKE = 0.95

FIVE = digits.DIGITS["5"][0]


def drawn(paper: Colour, pen: Colour) -> Image.Image:
    """Return a five in two colours."""
    mask = digits.canvas(FIVE, 200, 13, dark_on_light=False)
    picture = Image.new("RGB", mask.size, paper)
    picture.paste(pen, mask=mask)
    return picture


def likeness(picture: Image.Image) -> float:
    """Return the cosine between what is prepared of a picture and of the same digit black on white."""
    found, wanted = (
        mnist.from_picture(one).ravel().astype(float) for one in (picture, digits.canvas(FIVE, 200, 13))
    )
    return float(found @ wanted / np.sqrt((found @ found) * (wanted @ wanted)))


@pytest.mark.parametrize(
    ("paper", "pen"),
    [
        ((60, 140, 60), (220, 65, 62)),
        ((220, 65, 62), (60, 140, 60)),
        ((128, 128, 128), (200, 70, 200)),
        ((250, 250, 250), (250, 245, 60)),
        ((255, 190, 120), (150, 215, 255)),
        ((0, 0, 0), (40, 0, 190)),
    ],
)
def test_ink_of_the_papers_brightness_is_seen_by_its_hue(paper: Colour, pen: Colour) -> None:
    """
    Red on green was an empty picture.
    """
    picture = drawn(paper, pen)

    assert colours.weights(picture) is not None
    assert likeness(colours.grey(picture)) >= ALIKE


@pytest.mark.parametrize(
    ("paper", "pen"),
    [
        ((255, 255, 255), (0, 0, 0)),
        ((250, 245, 230), (30, 40, 90)),
        ((30, 60, 40), (230, 230, 225)),
        ((120, 120, 120), (90, 90, 90)),
        ((250, 240, 120), (20, 20, 20)),
    ],
)
def test_ink_that_brightness_shows_is_seen_by_brightness(paper: Colour, pen: Colour) -> None:
    """
    As Pillow converts it.
    """
    picture = drawn(paper, pen)

    assert colours.weights(picture) is None
    assert likeness(colours.grey(picture)) >= ALIKE


@pytest.mark.parametrize("pen", [(230, 30, 30), (30, 60, 230), (255, 255, 0), (255, 0, 255)])
@pytest.mark.parametrize("turns", range(4))
def test_coloured_ink_is_seen_on_a_background_from_black_to_white(pen: Colour, turns: int) -> None:
    """
    It is lighter than the background in one place and darker in another.
    """
    across = np.rot90(np.linspace(0, 255, 200)[None].repeat(200, axis=0), turns)
    picture = Image.fromarray(across.astype(np.uint8)).convert("RGB")
    picture.paste(pen, mask=digits.canvas(FIVE, 200, 13, dark_on_light=False))

    assert likeness(colours.grey(picture)) >= ALIKE


def test_a_coloured_table_is_no_ink() -> None:
    """
    Nor is a stamp beside black ink.
    """
    picture = drawn((245, 245, 245), (20, 20, 20))
    ImageDraw.Draw(picture).rectangle((0, 0, 200, 12), fill=(170, 90, 30))

    assert colours.weights(picture) is None


@pytest.mark.parametrize("seed", range(3))
def test_noise_of_a_sensor_is_no_colour(seed: int) -> None:
    """
    A grey photograph stays one.
    """
    page: NDArray[np.float64] = np.asarray(drawn((200, 200, 200), (60, 60, 60)), float)
    noisy = page.repeat(3, axis=0).repeat(3, axis=1)
    noisy = noisy + np.random.default_rng(seed).normal(0, 12, noisy.shape)

    assert colours.weights(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))) is None


@pytest.mark.parametrize("line", [(40, 120, 230), (230, 60, 40), (60, 180, 60)])
def test_coloured_lines_over_black_ink_are_removed(line: Colour) -> None:
    """
    And the ink under them is filled in.
    """
    picture = drawn((245, 245, 245), (20, 20, 20))
    brush = ImageDraw.Draw(picture)
    brush.line((10, 30, 190, 160), fill=line, width=3)
    brush.line((20, 180, 180, 20), fill=line, width=3)

    assert likeness(colours.grey(picture)) >= ALIKE


def test_a_coloured_digit_beside_grey_lines_is_kept() -> None:
    """
    Only what crosses more ink than it has itself is a line.
    """
    picture = drawn((245, 245, 245), (220, 40, 40))
    brush = ImageDraw.Draw(picture)
    brush.line((30, 190, 170, 190), fill=(120, 120, 120), width=3)

    found = np.asarray(colours.grey(picture), float)
    wanted = np.asarray(picture.convert("L"), float)

    assert abs(np.corrcoef(found[:180].ravel(), wanted[:180].ravel())[0, 1]) >= ALIKE
