"""Limits and memory cost of explanations; `service.core.network.attribution` computes them."""

import math
from dataclasses import replace

from service.codecs.drawings import Limits
from service.inference.models.model import Model
from service.memory import costs

_MOST_IMAGES = 256
"""Of 28 x 28: an answer of about two megabytes. docs/decisions/0018-explanations-are-exact.md"""

MOST_INLINE = 1
"""Images that are explained on the event loop, in about a millisecond."""


def image_bytes(model: Model, seen: bool = False) -> int:
    """Return how much memory explaining one image takes, as `costs.image_cost` gives it."""
    units = sum(layer.units for layer in model.manifest.layers)
    classes = len(model.manifest.labels)
    return costs.image_cost(math.prod(model.shape), classes, seen=seen, explained=units)


def limits_of(limits: Limits) -> Limits:
    """Return how much of what the service takes at once it explains at once."""
    return replace(limits, images=min(limits.images, _MOST_IMAGES))
