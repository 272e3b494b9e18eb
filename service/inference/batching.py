"""Dynamic batching: requests for one model that arrive in one turn of the event loop run as one batch.

Nobody waits on purpose: a network takes little longer for many images than for one, and calling it costs more
than a small network takes. Each step is done for all requests before the next one, so that its code stays in
the processor's caches. Long work does not come here, but goes to `workers`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.inference.models.model import Model
from service.inference.predictor import Prediction, Predictor

log = logging.getLogger(__name__)

_MOST_IMAGES = 128
"""With so many images a batch is full: `ink` takes two milliseconds for them in int8; its version 1 and
`flowers17`, in float32, ten. What is left waits for the next turn, so that others come in between."""


_MOST_READ_S = 0.005
"""Seconds after which no further request is read in one turn: a small picture may take four milliseconds."""


class BatchedRequest(Protocol):
    """A request that waits for a prediction; called from the event loop."""

    def is_cancelled(self) -> bool:
        """Return whether the prediction is no longer wanted."""

    def images(self) -> NDArray[np.uint8] | None:
        """Return its images, (B, ...) uint8 of the model's input shape, B >= 1; called once, before they run.

        None if it is answered in another way.
        """

    def on_prediction(self, prediction: Prediction) -> None:
        """Take the prediction."""

    def fail(self, error: Exception) -> None:
        """Take the error there is instead."""


_Read = tuple[NDArray[np.uint8], BatchedRequest]


def _images_of(request: BatchedRequest) -> NDArray[np.uint8] | None:
    """Return the images of a request; None if it is answered otherwise, or gets an error."""
    try:
        return request.images()
    except Exception as error:  # whatever it is, it is its own
        with _logged():
            request.fail(error)
    return None


@contextmanager
def _logged() -> Iterator[None]:
    """Log whatever one request raises: the others still wait."""
    try:
        yield
    except Exception:
        log.exception("unforeseen")


class Batching:
    """Predicts on the event loop, concurrent requests in one batch.

    Attributes:
        predictor: What it runs; other threads ask it themselves.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._waiting: dict[int, deque[BatchedRequest]] = {}  # by the model's identity

    def submit(self, model: Model, request: BatchedRequest) -> None:
        """Have a request's images predicted at the end of this turn of the event loop.

        Args:
            model: As the predictor found it.
            request: Gives its images then, and gets their prediction: the same together as alone, up to
                rounding. If a step raises, it gets the error.
        """
        waiting = self._waiting.get(id(model))
        if waiting is None:
            waiting = self._waiting[id(model)] = deque()
            asyncio.get_running_loop().call_soon(self._run, model)
        waiting.append(request)

    def _run(self, model: Model) -> None:
        batch = self._next_batch(model)
        if not batch:
            return
        try:
            predictions = self._predict(model, batch)
        except Exception as error:  # whatever it is, nobody may wait for ever
            for _, request in batch:
                with _logged():
                    request.fail(error)
            return
        for (_, request), prediction in zip(batch, predictions, strict=True):
            try:
                request.on_prediction(prediction)
            except Exception:  # whatever it is, it is its own and logged; the others still wait
                log.exception("unforeseen")

    def _next_batch(self, model: Model) -> list[_Read]:
        """Read the requests that run now; the others run in the next turn of the event loop."""
        waiting = self._waiting[id(model)]  # requests that are submitted meanwhile join it
        batch: list[_Read] = []
        images, ends = 0, perf_counter() + _MOST_READ_S
        while waiting and images < _MOST_IMAGES and perf_counter() < ends:
            request = waiting.popleft()
            if request.is_cancelled():
                continue
            own = _images_of(request)
            if own is None:
                images += 1  # it took time, too
            else:
                batch.append((own, request))
                images += len(own)
        if waiting:
            asyncio.get_running_loop().call_soon(self._run, model)
        else:
            del self._waiting[id(model)]
        return batch

    def _predict(self, model: Model, batch: Sequence[_Read]) -> Sequence[Prediction]:
        if len(batch) == 1:
            return [self.predictor.predict(model, batch[0][0])]
        run = self.predictor.run(model, np.concatenate([images for images, _ in batch]))
        predictions = []
        start = 0
        for images, _ in batch:
            count = len(images)
            predictions.append(Prediction(run, start, count))
            start += count
        return predictions
