"""The use case: run a model on images.

Knows nothing of HTTP. Long work is handed to `workers` by those who know how long it is.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.core import certainty
from service.core.engine import Scores
from service.serving.registry import Model, Registry

Made = TypeVar("Made")


class Prediction(NamedTuple):
    """The answer of one model to one batch.

    Attributes:
        model: Who answered.
        images: (B, ...) uint8, what it saw.
        scores: What it says of them, one row an image.
        sure: (B,) whether the network knows the like of each image; None where its manifest has no
            threshold.
        seconds: How long the network took, for all that ran together.
        batch: How many images ran together; 0 if another prediction of the same run says it.
        whole: All that ran together, of which these are some images; None if these are all.
        start: The first of these images among them.
        made: What `of_each` has made of all that ran together.
    """

    model: Model
    images: NDArray[np.uint8]
    scores: Scores
    sure: NDArray[np.bool_] | None
    seconds: float
    batch: int
    whole: "Prediction | None" = None
    start: int = 0
    made: dict[object, Sequence[Any]] | None = None

    def of_each(self, make: Callable[..., Sequence[Made]], *arguments: Hashable) -> Sequence[Made]:
        """Return what is made of each image; it is made once, of all images that ran together.

        Args:
            make: Makes it of a prediction, one for each image, the same together as alone.
            arguments: Further ones for it.
        """
        if self.whole is None or self.made is None:
            return make(self, *arguments)
        key = (make, *arguments)
        made = self.made.get(key)
        if made is None:
            made = self.made[key] = make(self.whole, *arguments)
        return made[self.start : self.start + len(self.images)]

    def rows(self, start: int, stop: int) -> "Prediction":
        """Return what is said of some of the images; the first rows speak for the whole batch."""
        return Prediction(
            self.model,
            self.images[start:stop],
            Scores(self.scores.logits[start:stop], self.scores.probabilities[start:stop]),
            None if self.sure is None else self.sure[start:stop],
            self.seconds,
            0 if start else self.batch,
            self,
            start,
            self.made,
        )


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
        started = time.perf_counter()
        scores = model.engine.run(images)
        rule = model.manifest.certainty
        sure = None
        if rule is not None:
            sure = certainty.energy(scores.logits, model.manifest.temperature) >= rule.threshold
        return Prediction(model, images, scores, sure, time.perf_counter() - started, len(images), made={})
