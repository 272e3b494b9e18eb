"""`training/synthesis/numbers.py`: numbers composed from one writer's digits."""

import numpy as np
import pytest

from training.synthesis.numbers import HEIGHT, LENGTHS, Pools, WrittenNumber, compose, draw, random_text


def pools() -> Pools:
    """A one in one stroke, and a seven in two, 1,000 units high."""
    one = [np.array([[0.0, 0.0], [0.0, 1000.0]])]
    seven = [
        np.array([[0.0, 0.0], [600.0, 0.0], [200.0, 1000.0]]),
        np.array([[100.0, 500.0], [500.0, 500.0]]),
    ]
    return {1: [one], 7: [seven]}


def test_digits_stand_from_left_to_right_with_their_owners() -> None:
    """
    About as high as `HEIGHT`, and every stroke belongs to one.
    """
    number = compose(pools(), "7171", np.random.default_rng(1))

    assert number.owners == (0, 0, 1, 2, 2, 3)
    boxes = number.boxes()
    assert boxes.shape == (4, 4)
    assert (np.diff(boxes[:, 0]) > 0).all()
    assert boxes[:, 3] - boxes[:, 1] == pytest.approx([HEIGHT] * 4, rel=0.13)


def test_lines_stand_below_each_other() -> None:
    """
    Owners count on.
    """
    number = compose(pools(), "11\n7", np.random.default_rng(2))

    boxes = number.boxes()
    assert number.owners == (0, 1, 2, 2)
    assert boxes[2, 1] > boxes[:2, 3].max()


def test_the_same_seed_gives_the_same_number() -> None:
    """
    And the same picture.
    """
    one, two = (compose(pools(), "17", np.random.default_rng(3)) for _ in range(2))

    assert all(np.array_equal(*pair) for pair in zip(one.strokes, two.strokes, strict=True))
    seen, again = (draw(number, np.random.default_rng(4)).pixels for number in (one, two))
    assert np.array_equal(seen, again)


def test_touching_is_a_distance_below_the_pen() -> None:
    """
    Of neighbours in a line only.
    """
    bars = tuple(np.array([[x, y], [x, y + 100]]) for x, y in ((0.0, 0.0), (10.0, 0.0), (10.0, 105.0)))
    number = WrittenNumber("11\n1", bars, (0, 1, 2))

    assert number.touches(10.5)
    assert not number.touches(9.5)


def test_a_picture_has_ink_where_the_strokes_are() -> None:
    """
    In pixels, by scale and shift.
    """
    number = compose(pools(), "71", np.random.default_rng(5))

    for seed in range(6):
        picture = draw(number, np.random.default_rng(seed))
        away = np.abs(picture.pixels.astype(float) - np.median(picture.pixels))
        points = np.concatenate(number.strokes) * picture.scale + picture.shift
        columns, rows = points.astype(int).T
        assert away[rows, columns].min() > 0.4 * away.max()


def test_texts_have_the_writers_digits() -> None:
    """
    As many as one of the lengths, in each line.
    """
    generator = np.random.default_rng(6)

    texts = [random_text(pools(), generator, lines=2) for _ in range(50)]

    assert {character for text in texts for character in text} == {"1", "7", "\n"}
    assert {len(line) for text in texts for line in text.split("\n")} == set(LENGTHS)
