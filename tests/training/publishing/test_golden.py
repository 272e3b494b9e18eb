import numpy as np
import pytest

from training.publishing import golden


@pytest.mark.parametrize("shape", [(28, 28), (6, 5), (64, 64, 3)])
def test_golden_images_have_the_requested_shape(shape: tuple[int, ...]) -> None:
    """
    Eight uint8 images, greyscale or colour, all different.
    """
    images = golden.images(shape)

    assert images.shape == (8, *shape)
    assert images.dtype == np.uint8
    assert len(np.unique(images.reshape(8, -1), axis=0)) == 8


def test_golden_images_reach_from_blank_to_full() -> None:
    """
    The extremes of the range reveal errors of scaling.
    """
    blank, full, down, across = golden.images((28, 28))[:4]

    assert blank.max() == 0
    assert full.min() == 255
    np.testing.assert_array_equal(down, across.T)


def test_golden_strokes_look_like_strokes() -> None:
    """
    Mostly background, some full ink, and antialiased edges.
    """
    for stroke in golden.images((28, 28))[4:]:
        assert 0.05 < (stroke > 0).mean() < 0.6
        assert stroke.max() == 255
        assert ((stroke > 0) & (stroke < 255)).any()


def test_golden_images_are_always_the_same() -> None:
    """
    Another seed gives other strokes.
    """
    np.testing.assert_array_equal(golden.images((28, 28)), golden.images((28, 28)))
    assert not np.array_equal(golden.images((28, 28)), golden.images((28, 28), seed=1))
