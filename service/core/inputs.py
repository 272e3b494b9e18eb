"""Input of a network: an image or a row of numbers, and the preprocessing of what clients send."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[np.uint8 | np.float32]
"""Batch of images, uint8, or of rows, float32."""

InputPreprocessing = Literal["mnist", "letters", "resize", "none"]

DIGIT_SHAPE = (28, 28)
"""Shape of an image that the preprocessing of drawings makes."""

_PHOTO_SHAPE = (64, 64, 3)
"""Shape of the photographs whose manifests do not name a preprocessing."""

_PIXEL_SCALE = 1 / 255


def scale_of(inputs: Inputs) -> float:
    """Return the scale that a network of dense layers applies: of pixels 1 / 255, of rows 1."""
    return _PIXEL_SCALE if inputs.dtype == np.uint8 else 1.0


def default_preprocessing(shape: tuple[int, ...]) -> InputPreprocessing:
    """Return the preprocessing of a model whose manifest does not name one.

    Args:
        shape: Shape of one image.
    """
    if shape == DIGIT_SHAPE:
        return "mnist"
    return "resize" if shape == _PHOTO_SHAPE else "none"


def can_preprocess(preprocessing: InputPreprocessing, shape: tuple[int, ...]) -> bool:
    """Return whether a preprocessing can make images of a shape."""
    if preprocessing == "resize":
        return len(shape) == 2 or (len(shape) == 3 and shape[-1] == 3)
    return preprocessing == "none" or shape == DIGIT_SHAPE
