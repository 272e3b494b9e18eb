"""Explanations of predictions: attributions for the explained classes, limits, memory cost."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Limits
from service.core.errors import NotExplainable
from service.core.network import attribution
from service.core.network.attribution import Explanation
from service.inference.models.model import Model
from service.inference.predictor import Prediction
from service.memory import costs

_MAX_IMAGES = 256
"""Images of 28 x 28 in a request, a response of about 2 MB: docs/decisions/0018-explanations-are-exact.md"""

MOST_INLINE = 1
"""Number of images that are explained on the event loop, in about 1 ms."""


def check_model(model: Model) -> None:
    """Raise NotExplainable if a model has other than dense layers with ReLU."""
    if not model.layers:
        raise NotExplainable(model.name, model.version)


def explain(prediction: Prediction, label_index: int | None) -> tuple[NDArray[np.intp], Explanation]:
    """Explain a logit of each image.

    Args:
        prediction: The prediction.
        label_index: Index of the label to explain; None for the top class of each image.

    Returns:
        (B,) index of the explained label, and the attributions.
    """
    images = prediction.images
    if label_index is None:
        classes = np.asarray(prediction.scores.probabilities.argmax(axis=1), np.intp)
    else:
        classes = np.full(len(images), label_index, np.intp)
    return classes, attribution.explain(prediction.model.layers, images, classes)


def image_bytes(model: Model, seen: bool = False, text: int = 0) -> int:
    """Return the memory that explaining one image takes; `seen` and `text` as in `costs.image_cost`."""
    units = sum(layer.units for layer in model.manifest.layers)
    classes = len(model.manifest.labels)
    return costs.image_cost(model.input_bytes, classes, seen=seen, explained=units, text=text)


def limits_of(limits: Limits) -> Limits:
    """Return the limits of one request for explanations, given those for predictions."""
    return replace(limits, images=min(limits.images, _MAX_IMAGES))
