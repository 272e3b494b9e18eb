"""Networks and image sets of the ablation's tests."""

import numpy as np

from training.evaluation.ablation import steps
from training.evaluation.ablation.image_sets import ImageSet
from training.evaluation.ablation.models import AblationModel, Predict


def always(label: int) -> Predict:
    """Return a network that always predicts the same class."""
    return lambda pixels: np.eye(10)[np.full(len(pixels), label)]


IMAGES = ImageSet(
    "made up",
    np.array([1, 1, 1, 2]),
    np.array(["a", "a", "b", "b"]),
    {steps.SCALED: np.zeros((4, 28, 28), np.uint8), steps.DRAWN: np.zeros((4, 28, 28), np.uint8)},
)
MNIST = ImageSet(
    "digits without donors",
    np.array([1, 2]),
    np.array([], np.str_),
    {steps.SCALED: np.zeros((2, 28, 28), np.uint8)},
)
MODEL = AblationModel("one 1", always(1), {"a": always(1), "b": always(2)}, ())
