"""Runs models on images. Independent of transports, batching and threads."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.core.inputs import Inputs
from service.core.network import ood_score
from service.core.network.engine import Scores
from service.inference.models.model import Model
from service.inference.models.registry import Registry

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Run:
    """One run of a model on one batch.

    Attributes:
        model: The model.
        images: (B, ...) uint8 or float32, the model's input.
        scores: The model's scores, one row per image.
        sure: (B,) whether each image is in distribution; None if the manifest has no threshold.
        seconds: Duration of the run.
        per_image: Cached results of `Prediction.per_image` for the whole batch.
    """

    model: Model
    images: Inputs
    scores: Scores
    sure: NDArray[np.bool_] | None
    seconds: float
    per_image: dict[object, Sequence[Any]] = field(default_factory=dict)


class Prediction:
    """The prediction for one request: some or all rows of a run.

    Attributes:
        model: The model.
        count: Number of images of the request.
        seconds: Duration of the whole run.
        batch: Number of images of the whole run in its first prediction; 0 in the others.
    """

    __slots__ = ("_rows", "_run", "batch", "count", "model", "seconds")

    def __init__(self, run: Run, start: int, count: int) -> None:
        """Select `count` rows of a run from `start` on."""
        self._run = run
        self._rows = slice(start, start + count)
        self.model = run.model
        self.count = count
        self.seconds = run.seconds
        self.batch = 0 if start else len(run.images)

    @property
    def images(self) -> Inputs:
        """(B, ...) uint8 or float32, the model's input."""
        return self._run.images[self._rows]

    @property
    def scores(self) -> Scores:
        """The model's scores, one row per image."""
        logits, probabilities = self._run.scores
        return Scores(logits[self._rows], probabilities[self._rows])

    @property
    def sure(self) -> NDArray[np.bool_] | None:
        """(B,) whether each image is in distribution; None if the manifest has no threshold."""
        sure = self._run.sure
        return None if sure is None else sure[self._rows]

    def per_image(self, compute: Callable[..., Sequence[Item]], *arguments: Hashable) -> Sequence[Item]:
        """Return one computed item per image; computed once for the whole batch, and cached.

        Args:
            compute: Called with the run and `arguments`; returns one item per image, which must not depend on
                the rest of the batch.
            arguments: Further arguments.
        """
        run, key = self._run, (compute, *arguments)
        items = run.per_image.get(key)
        if items is None:
            items = run.per_image[key] = compute(run, *arguments)
        return items[self._rows]


class Predictor:
    """Runs every model of the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, name: str, version: str | None = None) -> Model:
        """Return a model; as `Registry.get`."""
        return self._registry.get(name, version)

    def predict(self, model: Model, images: Inputs) -> Prediction:
        """Run a model on the images of one request; as `run`."""
        return Prediction(self.run(model, images), 0, len(images))

    def run(self, model: Model, images: Inputs) -> Run:
        """Run a model on a batch; as `run_model`."""
        return run_model(model, images)


def run_model(model: Model, images: Inputs) -> Run:
    """Run a model on a batch.

    Args:
        model: A loaded model.
        images: (B, ...) of the model's input dtype and shape, B >= 1.

    Returns:
        The scores with their model, images and duration.

    Raises:
        TensorMismatch: Another dtype or shape.
        InferenceFailed: ONNX Runtime raised an error.
    """
    started = time.perf_counter()
    scores = model.engine.run(images)
    rule = model.manifest.certainty
    sure = None
    if rule is not None:
        sure = ood_score.negative_energy(scores.logits, model.manifest.temperature) >= rule.threshold
    return Run(model, images, scores, sure, time.perf_counter() - started)
