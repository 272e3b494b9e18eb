import numpy as np
import pytest

from training.evaluation.own_data import other_images


@pytest.mark.parametrize("shape", [(28, 28), (48, 64, 3), (8, 8)])
def test_images_of_no_class_have_the_shape_of_the_data(shape: tuple[int, ...]) -> None:
    """
    Always the same; 28 x 28 are drawings.
    """
    found = other_images(shape)

    assert all(images.shape[1:] == shape and images.dtype == np.uint8 for images in found.values())
    assert all(len(np.unique(images)) > 50 for images in found.values())
    assert ("walk" in found) == (shape == (28, 28))
    for kind, images in other_images(shape).items():
        np.testing.assert_array_equal(images, found[kind])
