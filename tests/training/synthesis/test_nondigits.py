from typing import get_args

import numpy as np
import pytest

from service.core.drawing import mnist
from training.synthesis.nondigit_glyphs import EVALUATION_GLYPHS, TRAINING_GLYPHS
from training.synthesis.nondigits import Purpose, draw

AMBIGUOUS = set("OoDQlIiLJjSsZzBbGgqPpyYCcUuVv")
"""Letters that a reader may take for a digit, or for a careless one."""

each_purpose = pytest.mark.parametrize("purpose", get_args(Purpose))


def drawings(purpose: Purpose, count: int, seed: int = 1) -> list[tuple[str, tuple[np.ndarray, ...]]]:
    generator = np.random.default_rng(seed)
    return [draw(generator, purpose) for _ in range(count)]


@each_purpose
def test_every_drawing_can_be_rendered(purpose: Purpose) -> None:
    """
    Finite points, at least one per stroke, and full ink.
    """
    for _, drawn in drawings(purpose, 300):
        assert all(stroke.ndim == 2 and len(stroke) and np.isfinite(stroke).all() for stroke in drawn)
        assert mnist.from_strokes(drawn).max() == 255


@each_purpose
def test_the_same_seed_draws_the_same(purpose: Purpose) -> None:
    """
    And another seed something else.
    """
    first, again, other = (drawings(purpose, 5, seed) for seed in (3, 3, 4))

    flat = [
        np.concatenate([np.ravel(s) for _, drawn in found for s in drawn]) for found in (first, again, other)
    ]
    np.testing.assert_array_equal(flat[0], flat[1])
    assert not np.array_equal(flat[0], flat[2])


def test_training_and_evaluation_drawings_differ() -> None:
    """
    They share no glyph and no kind, except the single dot.
    """
    kinds = [{kind for kind, _ in drawings(purpose, 400)} for purpose in get_args(Purpose)]

    assert TRAINING_GLYPHS.keys().isdisjoint(EVALUATION_GLYPHS)
    assert kinds[0] & kinds[1] == {"point"}
    assert min(len(each) for each in kinds) >= 8


@pytest.mark.parametrize("glyphs", [TRAINING_GLYPHS, EVALUATION_GLYPHS])
def test_letters_that_look_like_digits_are_excluded(glyphs: dict[str, object]) -> None:
    """
    Reading them as digits would be no error.
    """
    assert AMBIGUOUS.isdisjoint(glyphs)
