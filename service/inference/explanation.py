"""Limits and memory cost of explanations."""

import math
from dataclasses import replace

from service.codecs.drawings import Limits
from service.inference.models.model import Model
from service.memory import costs

_MAX_IMAGES = 256
"""Images of 28 x 28 in a request, a response of about 2 MB: docs/decisions/0018-explanations-are-exact.md"""

MOST_INLINE = 1
"""Number of images that are explained on the event loop, in about 1 ms."""


def image_bytes(model: Model, seen: bool = False) -> int:
    """Return the memory that explaining one image takes, as `costs.image_cost`."""
    units = sum(layer.units for layer in model.manifest.layers)
    classes = len(model.manifest.labels)
    return costs.image_cost(math.prod(model.shape), classes, seen=seen, explained=units)


def limits_of(limits: Limits) -> Limits:
    """Return the limits of one request for explanations, given those for predictions."""
    return replace(limits, images=min(limits.images, _MAX_IMAGES))
