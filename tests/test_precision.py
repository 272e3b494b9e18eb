"""`tests/precision.py`: the error bounds hold, and detect a mistake."""

import numpy as np
import pytest

from tests import precision, toys

WEIGHTS = toys.quadrant_weights()


@pytest.mark.parametrize("seed", range(5))
def test_sums_in_any_order_are_within_the_bound(seed: int) -> None:
    """
    One after the other in single precision, which is the worst way to add; rising, falling and shuffled.
    """
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (1, 28, 28), np.uint8)
    exact = toys.expected_logits(image, WEIGHTS)
    error = precision.logit_error(toys.layers(WEIGHTS), image)
    pixels = image.ravel() / np.float32(255)
    rising = np.argsort(pixels)

    for order in (rising, rising[::-1], generator.permutation(784)):
        logits = np.cumsum(WEIGHTS[:, order] * pixels[order], axis=1, dtype=np.float32)[:, -1]
        assert np.all(np.abs(logits - exact) <= error)


@pytest.mark.parametrize("value", [1, 7, 128, 255])
def test_one_changed_pixel_exceeds_the_bound(value: int) -> None:
    """
    One grey level more in one pixel of an image of one value.
    """
    image = np.full((1, 28, 28), value, np.uint8)
    exact = toys.expected_logits(image, WEIGHTS)

    error = precision.logit_error(toys.layers(WEIGHTS), image)

    assert np.all(error < 1 / 255)
    assert np.all(error < 2e-5 * exact)


def test_softmax_error_bound_is_a_few_ulps() -> None:
    logits = np.array([[0, 1, -30, 20]], np.float32)

    assert precision.softmax_error(logits).max() < 1e-6
    assert precision.softmax_error(logits, 0.05).max() < 2e-4  # of logits up to 600
