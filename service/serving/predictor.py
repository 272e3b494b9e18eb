"""The use case: run a model on images.

Knows nothing of HTTP. Long work is handed to `workers` by those who know how long it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core import certainty
from service.core.engine import Scores
from service.serving.registry import Model, Registry


@dataclass(frozen=True)
class Prediction:
    """The answer of one model to one batch.

    Attributes:
        model: Who answered.
        images: (B, ...) uint8, what it saw.
        scores: What it says of them, one row an image.
        sure: (B,) whether the network knows the like of each image; None where its manifest has no
            threshold.
    """

    model: Model
    images: NDArray[np.uint8]
    scores: Scores
    sure: NDArray[np.bool_] | None


class Predictor:
    """Answers for every model in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, name: str, version: str | None = None) -> Model:
        """Return the model that would answer; raises as `Registry.get` does."""
        return self._registry.get(name, version)

    def predict(self, model: Model, images: NDArray[np.uint8]) -> Prediction:
        """Run one model on one batch.

        Args:
            model: As `find` returned it.
            images: (B, ...) uint8 of the model's input shape, B >= 1.

        Returns:
            Its scores, and what they are of.

        Raises:
            TensorMismatch: Another dtype or shape.
            InferenceFailed: The runtime could not compute an answer.
        """
        scores = model.engine.run(images)
        rule = model.manifest.certainty
        if rule is None:
            return Prediction(model, images, scores, None)
        energy = certainty.energy(scores.logits, model.manifest.temperature)
        return Prediction(model, images, scores, energy >= rule.threshold)
