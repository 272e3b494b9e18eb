"""`training/synthesis/canvases/pictures.py`: every kind shows its digit, and the service finds it."""

import numpy as np
import pytest
from PIL import Image

from service.codecs.pictures import image_files
from service.core.drawing import mnist
from tests import digits
from tests.service.http.bodies import picture as file_of
from training.synthesis.canvases import pictures

ALIKE = 0.75
"""Likeness of a prepared picture and the digit's strokes: their pens differ, and a camera blurs. A table or a
box that is taken for ink leaves 0.5 at most."""

SEEN = 0.8
"""Least share of pictures of a kind that are as alike."""


@pytest.mark.parametrize("kind", sorted(pictures.KINDS))
def test_the_same_generator_draws_the_same_picture(kind: str) -> None:
    """
    In colours, a few hundred pixels large.
    """
    strokes = digits.arrays(digits.DIGITS["3"][0])

    one, other = (pictures.render(strokes, np.random.default_rng(3), kind) for _ in range(2))

    assert one.mode == "RGB"
    assert min(one.size) >= (40 if kind == "thick pen" else 300)
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def likeness(picture: Image.Image, strokes: digits.Strokes) -> float:
    found, _, _ = image_files.read_grey(file_of(picture), "Body", 10**7)
    one = mnist.from_picture(found).ravel().astype(float)
    other = mnist.from_strokes(digits.arrays(strokes)).ravel().astype(float)
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


@pytest.mark.parametrize("kind", sorted(pictures.KINDS))
def test_the_digit_of_every_kind_is_found(kind: str) -> None:
    """
    Tables, shadows, boxes, colours, grid paper, chalk and glare.
    """
    generator = np.random.default_rng(1)
    ways = [way for ways in digits.DIGITS.values() for way in ways]

    found = [likeness(pictures.render(digits.arrays(way), generator, kind), way) for way in ways]

    assert np.mean(np.array(found) >= ALIKE) >= SEEN, found


def test_kinds_to_measure_on_are_not_those_to_develop_with() -> None:
    """
    Each kind is in one list.
    """
    groups = (pictures.DESIGN, pictures.HELD_OUT, pictures.WORKING, pictures.FOUND)

    assert len(pictures.KINDS) == sum(map(len, groups))
