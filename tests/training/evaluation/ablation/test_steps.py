import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import mnist
from tests.digits import DIGITS, arrays, canvas
from training.evaluation.ablation import figure, steps
from training.evaluation.ablation.steps import STEPS, preprocess


def bar(width: int = 100, height: int = 200, paper: int = 255) -> NDArray[np.uint8]:
    """A uniform canvas with a dark bar of 20 x 80 far from its centre."""
    grey = np.full((height, width), paper, np.uint8)
    grey[100:180, 10:30] = 0
    return grey


def box(image: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the first and last row and column with much ink."""
    rows, columns = np.nonzero(image > 100)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_every_step_gives_one_small_image() -> None:
    """
    (28, 28) uint8, in the order of the steps, for any canvas.
    """
    found = preprocess(bar())

    assert tuple(found) == STEPS
    assert all(image.shape == (28, 28) and image.dtype == np.uint8 for image in found.values())


def test_each_step_does_what_its_name_says() -> None:
    """
    A bar at the lower left of a tall white canvas.
    """
    found = preprocess(bar())

    assert found[steps.SCALED][0, 0] == 255
    assert found[steps.INVERTED][0, 0] == 0
    np.testing.assert_array_equal(found[steps.INVERTED], 255 - found[steps.SCALED])
    assert box(found[steps.INVERTED]) == (14, 24, 3, 8)  # squeezed, and where it was
    assert box(found[steps.CROPPED]) == (0, 27, 10, 17)  # a quarter as wide as high: 10.5 to 17.5
    assert box(found[steps.FITTED]) == (4, 23, 11, 15)
    assert box(found[steps.CENTRED]) == (4, 23, 12, 16)  # 14.5 from the edge: the middle of pixel 14


def test_the_last_step_is_the_services_preprocessing() -> None:
    """
    The same 28 x 28 pixels.
    """
    grey = np.asarray(canvas(DIGITS["7"][0]))

    np.testing.assert_array_equal(preprocess(grey)[steps.FULL], mnist.from_picture(grey))
    np.testing.assert_array_equal(
        steps.render_strokes(arrays(DIGITS["7"][0])), mnist.from_strokes(arrays(DIGITS["7"][0]))
    )


def test_centring_cuts_nothing_off() -> None:
    """
    Ink far out keeps the centre of mass from the middle.
    """
    grey = np.zeros((200, 200), np.uint8)
    grey[0:200, 0:60] = 255
    grey[0:8, 0:200] = 255

    found = preprocess(grey)

    assert found[steps.CENTRED].sum() == found[steps.FITTED].sum()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_canvas_stays_empty(level: int) -> None:
    """
    From the crop on the images are empty, without an error.
    """
    found = preprocess(np.full((300, 200), level, np.uint8))

    assert not any(found[step].any() for step in STEPS[2:])


def test_the_figure_shows_three_digits_after_every_step() -> None:
    """
    Always the same figure: a canvas and all steps in a row, titles above.
    """
    first, again = (figure.draw() for _ in range(2))

    assert isinstance(first, Image.Image)
    assert first.width > 8 * 112
    assert first.tobytes() == again.tobytes()
