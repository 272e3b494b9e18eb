"""`service/core/reading/image.py`: components and cuts of a picture."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.core.drawing.segmentation import Blank
from service.core.reading import image


def rings(gap: int) -> Image.Image:
    """Two rings side by side, `gap` pixels apart; they touch if it is negative."""
    picture = Image.new("L", (200, 140), 255)
    draw = ImageDraw.Draw(picture)
    for left in (20, 80 + gap):
        draw.ellipse((left, 20, left + 60, 120), outline=0, width=10)
    return picture


def test_components_are_pieces_with_boxes_in_pixels() -> None:
    """
    Two rings, each whole; both in one line.
    """
    pieces, (line,) = image.pieces(rings(20))

    assert pieces[line.pieces[0]].box == pytest.approx((20, 20, 81, 121), abs=2)
    assert len(pieces) == 2
    assert line.height == pytest.approx(101, abs=3)


def test_wide_components_are_cut_and_the_parts_join_to_the_whole() -> None:
    """
    Nothing is lost at a cut.
    """
    pieces, (line,) = image.pieces(rings(-6))

    assert len(pieces) >= 2
    assert len(line.pieces) == len(pieces)
    whole = image.joined(pieces)
    assert np.count_nonzero(whole > 0.5) > 0.99 * np.count_nonzero(
        np.asarray(rings(-6).resize((400, 280))) < 100
    )


def test_a_picture_without_ink_is_blank() -> None:
    """
    As for one digit.
    """
    with pytest.raises(Blank):
        image.pieces(Image.new("L", (100, 100), 255))
