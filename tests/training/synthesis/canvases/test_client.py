"""`training/synthesis/canvases/client.py`: canvases scaled down by clients, which the service recognises."""

import numpy as np
import pytest

from service.core.drawing import mnist, mnist_rule
from tests import digits
from training.synthesis.canvases import client

ALIKE = 0.8
"""Least likeness to the digit drawn from its strokes; different digits have at most 0.8."""


@pytest.mark.parametrize("kind", client.KINDS)
def test_the_same_generator_makes_the_same_image(kind: client.Kind) -> None:
    """
    28 x 28 bytes.
    """
    strokes = digits.arrays(digits.DIGITS["2"][0])

    one, other = (client.render(strokes, np.random.default_rng(7), kind) for _ in range(2))

    assert one.shape == (28, 28)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", client.KINDS)
def test_the_service_prepares_nearly_all_of_them(kind: client.Kind) -> None:
    """
    And the digit is where MNIST's are.
    """
    generator = np.random.default_rng(2)
    ways = [way for ways in digits.DIGITS.values() for way in ways] * 3
    images = np.stack([client.render(digits.arrays(way), generator, kind) for way in ways])
    wanted = np.stack([mnist.from_strokes(digits.arrays(way)) for way in ways])

    found = mnist_rule.prepare_batch(images).images

    one, other = (batch.reshape(len(ways), -1).astype(float) for batch in (found, wanted))
    likeness = (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1))
    assert np.mean(likeness >= ALIKE) >= 0.9
    if kind in ("light", "grey"):
        assert images[:, 0, 0].min() > 100
