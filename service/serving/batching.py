"""Requests that are waiting together run together.

What is asked in one turn of the event loop runs in one batch at its end, so that nobody waits on purpose:
a network takes little longer for many images than for one, and calling it costs more than a small one takes.
Long work does not come here, but goes to `workers`.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.serving.predictor import Prediction, Predictor
from service.serving.registry import Model

log = logging.getLogger(__name__)

_MOST_IMAGES = 128
"""In one batch: `ink` takes two milliseconds for them in whole numbers; its version 1 and `flowers17`, in
floats, ten. What is left waits for the next turn, so that others come in between."""


class Asker(Protocol):
    """Who asked for a prediction and waits for it; called from the event loop."""

    def is_gone(self) -> bool:
        """Tell whether nobody waits any more."""

    def take(self, prediction: Prediction) -> None:
        """Take what was asked for."""

    def fail(self, error: Exception) -> None:
        """Learn why there will be none."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    images: NDArray[np.uint8]
    asker: Asker


@dataclass(frozen=True, slots=True)
class _Awaiting:
    """Someone who awaits a future."""

    future: asyncio.Future[Prediction]

    def is_gone(self) -> bool:
        return self.future.done()

    def take(self, prediction: Prediction) -> None:
        self.future.set_result(prediction)

    def fail(self, error: Exception) -> None:
        self.future.set_exception(error)


class Batching:
    """Predicts, for the event loop alone.

    Attributes:
        predictor: What it runs; other threads ask it themselves.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._waiting: dict[int, list[_Waiting]] = {}  # by the model's identity

    async def predict(self, model: Model, images: NDArray[np.uint8]) -> Prediction:
        """Run one model on one batch, together with what others ask in the same turn of the event loop.

        Args:
            model: As the predictor found it.
            images: (B, ...) uint8 of the model's input shape, B >= 1.

        Returns:
            What `Predictor.predict` returns of these images: the same together as alone, up to
            rounding.

        Raises:
            TensorMismatch, InferenceFailed: As `Predictor.predict`.
        """
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self.submit(model, images, _Awaiting(future))
        return await future

    def submit(self, model: Model, images: NDArray[np.uint8], asker: Asker) -> None:
        """Have one batch predicted at the end of this turn, as `predict` does, for one who does not await it.

        Args:
            model: As the predictor found it.
            images: As `predict` takes them.
            asker: Told what `predict` returns or raises; not in this call, and not once it is gone.
        """
        waiting = self._waiting.get(id(model))
        if waiting is None:
            waiting = self._waiting[id(model)] = []
            asyncio.get_running_loop().call_soon(self._run, model)
        waiting.append(_Waiting(images, asker))

    def _run(self, model: Model) -> None:
        waiting = self._waiting.pop(id(model))
        together, later = _divide([one for one in waiting if not one.asker.is_gone()])
        if later:
            self._waiting[id(model)] = later
            asyncio.get_running_loop().call_soon(self._run, model)
        if not together:
            return
        try:
            predictions = self._predict(model, together)
        except Exception as error:  # whatever it is, nobody may wait for ever
            for one in together:
                one.asker.fail(error)
            return
        for one, prediction in zip(together, predictions, strict=True):
            try:
                one.asker.take(prediction)
            except Exception:  # whatever it is, it is its own and logged; the others still wait
                log.exception("unforeseen")

    def _predict(self, model: Model, together: Sequence[_Waiting]) -> Sequence[Prediction]:
        if len(together) == 1:
            return [self.predictor.predict(model, together[0].images)]
        whole = self.predictor.predict(model, np.concatenate([one.images for one in together]))
        predictions = []
        start = 0
        for one in together:
            stop = start + len(one.images)
            predictions.append(whole.rows(start, stop))
            start = stop
        return predictions


def _divide(waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """Return what runs now, at least one, and what runs in the next turn."""
    images = 0
    for count, one in enumerate(waiting):
        images += len(one.images)
        if count and images > _MOST_IMAGES:
            return waiting[:count], waiting[count:]
    return waiting, []
