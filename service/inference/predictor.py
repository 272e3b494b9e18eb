"""The use case: run a model on images.

Knows nothing of HTTP. Long work is handed to `workers` by those who know how long it is.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.core.network import ood_score
from service.core.network.engine import Scores
from service.inference.models.model import Model
from service.inference.models.registry import Registry

Made = TypeVar("Made")


@dataclass(slots=True, eq=False)
class Run:
    """One run of a model on one batch.

    Attributes:
        model: The model.
        images: (B, ...) uint8, what it saw.
        scores: Its scores, one row an image.
        sure: (B,) whether the network knows the like of each image; None where its manifest has no threshold.
        seconds: How long it took.
        made: What `Prediction.of_each` has made of the whole batch.
    """

    model: Model
    images: NDArray[np.uint8]
    scores: Scores
    sure: NDArray[np.bool_] | None
    seconds: float
    made: dict[object, Sequence[Any]] = field(default_factory=dict)


class Prediction:
    """The answer to one request: some rows of a run, or all of them.

    Attributes:
        model: Who answered.
        count: How many images it is of.
        seconds: How long the network took, for all that ran together.
        batch: How many images ran together; 0 if another prediction of the same run says it.
    """

    __slots__ = ("_rows", "_run", "batch", "count", "model", "seconds")

    def __init__(self, run: Run, start: int, count: int) -> None:
        """Take `count` rows of a run from `start` on; the first ones speak for the whole batch."""
        self._run = run
        self._rows = slice(start, start + count)
        self.model = run.model
        self.count = count
        self.seconds = run.seconds
        self.batch = 0 if start else len(run.images)

    @property
    def images(self) -> NDArray[np.uint8]:
        """(B, ...) uint8, what the model saw."""
        return self._run.images[self._rows]

    @property
    def scores(self) -> Scores:
        """The model's scores, one row an image."""
        logits, probabilities = self._run.scores
        return Scores(logits[self._rows], probabilities[self._rows])

    @property
    def sure(self) -> NDArray[np.bool_] | None:
        """(B,) whether the network knows the like of each image; None if it cannot tell."""
        sure = self._run.sure
        return None if sure is None else sure[self._rows]

    def of_each(self, make: Callable[..., Sequence[Made]], *arguments: Hashable) -> Sequence[Made]:
        """Return what is made of each image; it is made once, of all images that ran together.

        Args:
            make: Makes it of a run, one for each image, the same together as alone.
            arguments: Further ones for it.
        """
        run, key = self._run, (make, *arguments)
        made = run.made.get(key)
        if made is None:
            made = run.made[key] = make(run, *arguments)
        return made[self._rows]


class Predictor:
    """Answers for every model in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, name: str, version: str | None = None) -> Model:
        """Return the model that would answer; raises as `Registry.get` does."""
        return self._registry.get(name, version)

    def predict(self, model: Model, images: NDArray[np.uint8]) -> Prediction:
        """Run one model on one batch, all of it for one request; as `run`."""
        return Prediction(self.run(model, images), 0, len(images))

    def run(self, model: Model, images: NDArray[np.uint8]) -> Run:
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
            sure = ood_score.energy(scores.logits, model.manifest.temperature) >= rule.threshold
        return Run(model, images, scores, sure, time.perf_counter() - started)
