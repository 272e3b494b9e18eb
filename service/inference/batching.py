"""Dynamic batching: requests for one model that arrive in one turn of the event loop run as one batch.

No request is delayed to fill a batch. A network takes little longer for many images than for one, and calling
it costs more than a small network takes. Each step runs for all requests before the next step, so that its
code stays in the processor's caches. Long requests run in the thread pool instead.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

import numpy as np

from service.core.inputs import Inputs
from service.inference.models.model import Model
from service.inference.predictor import Prediction, Predictor

log = logging.getLogger(__name__)

_MAX_IMAGES = 128
"""Size limit of a batch: `ink` takes 2 ms for it in int8; its version 1 and `flowers17`, in float32, 10 ms.
Other requests run in the next turn, so that the event loop serves other events in between."""

_MAX_READ_S = 0.005
"""Time limit of reading requests in one turn, in seconds: preprocessing a small picture may take 4 ms."""


class BatchedRequest(Protocol):
    """A request that waits for a prediction; called from the event loop."""

    def is_cancelled(self) -> bool:
        """Return whether the prediction is no longer wanted."""

    def images(self) -> Inputs | None:
        """Return the preprocessed images; called once, before the prediction.

        Returns:
            (B, ...) uint8 of the model's input shape, B >= 1; None if the request runs in another way.
        """

    def on_prediction(self, prediction: Prediction) -> None:
        """Handle the prediction."""

    def fail(self, error: Exception) -> None:
        """Handle an error of any step."""


_Read = tuple[Inputs, BatchedRequest]


def _images_of(request: BatchedRequest) -> Inputs | None:
    """Return the images of a request; None if it runs in another way, or has failed."""
    try:
        return request.images()
    except Exception as error:  # concerns this request only
        with _logged():
            request.fail(error)
    return None


@contextmanager
def _logged() -> Iterator[None]:
    """Log an exception of one request, and go on with the others."""
    try:
        yield
    except Exception:  # one request must not fail the others of its batch
        log.exception("unexpected error")


class Batching:
    """Predicts on the event loop, concurrent requests in one batch.

    Attributes:
        predictor: Runs the models; the thread pool uses it directly.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._waiting: dict[int, deque[BatchedRequest]] = {}  # by the model's identity

    def submit(self, model: Model, request: BatchedRequest) -> None:
        """Enqueue a request; it runs at the end of this turn of the event loop.

        The prediction does not depend on the rest of the batch, up to rounding.

        Args:
            model: Model that `Predictor.find` returned.
            request: Returns its images then, and receives the prediction or the error.
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
        except Exception as error:  # any error: the clients wait
            for _, request in batch:
                with _logged():
                    request.fail(error)
            return
        for (_, request), prediction in zip(batch, predictions, strict=True):
            try:
                request.on_prediction(prediction)
            except Exception:  # concerns this request only
                log.exception("unexpected error")

    def _next_batch(self, model: Model) -> list[_Read]:
        """Read requests until the batch is full; the others run in the next turn of the event loop."""
        waiting = self._waiting[id(model)]  # may grow while requests are read
        batch: list[_Read] = []
        images, ends = 0, perf_counter() + _MAX_READ_S
        while waiting and images < _MAX_IMAGES and perf_counter() < ends:
            request = waiting.popleft()
            if request.is_cancelled():
                continue
            request_images = _images_of(request)
            if request_images is None:
                images += 1  # reading it took time too
            else:
                batch.append((request_images, request))
                images += len(request_images)
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
