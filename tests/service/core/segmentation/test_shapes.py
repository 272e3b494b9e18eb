"""`service/core/segmentation/shapes.py`: sheets, and digits of which only the outline is drawn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.core.drawing import mnist
from service.core.segmentation import shapes
from tests import digits

Grey = NDArray[np.uint8]


def stroked(label: str, pen: int, line: int = 0, size: int = 300) -> Grey:
    """Return a digit, light on black; of `line` pixels only the outline of its strokes."""
    picture = Image.new("L", (size, size))
    draw = ImageDraw.Draw(picture)
    for width, fill in ((pen, 255), (pen - 2 * line, 0)) if line else ((pen, 255),):
        for stroke in digits.DIGITS[label][0]:
            points = [(size * (0.1 + 0.008 * x), size * (0.1 + 0.008 * y)) for x, y in stroke]
            draw.line(points, fill=fill, width=width, joint="curve")
            for x, y in points:
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=fill)
    return np.asarray(picture)


def likeness(one: Grey, other: Grey) -> float:
    a, b = one.ravel().astype(float), other.ravel().astype(float)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("label", ["0", "2", "3", "5", "7"])
def test_an_outlined_digit_is_filled(label: str) -> None:
    """
    The prepared image is that of the digit drawn with the same pen.
    """
    outlined = mnist.from_picture(stroked(label, 50, line=7))

    assert likeness(outlined, mnist.from_picture(stroked(label, 50))) >= 0.9


@pytest.mark.parametrize("pen", [8, 16, 30])
@pytest.mark.parametrize("label", sorted(digits.DIGITS))
def test_the_holes_of_a_digit_stay_open(label: str, pen: int) -> None:
    """
    Of every digit, with thin and thick pens: the ink is returned as it is.
    """
    ink = (stroked(label, pen) / 255).astype(np.float32)

    assert shapes.filled(ink) is ink


@pytest.mark.parametrize("angle", [0, 7, 33, 45])
def test_a_sheet_with_a_digit_on_it_is_a_sheet_at_any_angle(angle: int) -> None:
    """
    A thick zero, whose hole is written on as little, is none.
    """
    sheet = np.full((120, 100), 255, np.uint8)
    sheet[40:80, 40:60] = 0
    turned = np.asarray(Image.fromarray(sheet).rotate(angle, expand=True)) > 127
    zero = Image.new("L", (100, 120))
    ImageDraw.Draw(zero).ellipse((0, 0, 99, 119), outline=255, width=30)

    assert shapes.is_sheet(turned)
    assert not shapes.is_sheet(np.asarray(zero) > 0)


@pytest.mark.parametrize("label", sorted(digits.DIGITS))
def test_a_thick_pen_in_a_small_picture_is_ink(label: str) -> None:
    """
    In 70 pixels with a pen of a fifth of the digit, dark on light.
    """
    picture = np.asarray(Image.fromarray(255 - stroked(label, 50)).resize((70, 70), Image.Resampling.BOX))

    assert likeness(mnist.from_picture(picture), mnist.from_picture(stroked(label, 50))) >= 0.9
