"""Requests that are waiting together run together.

What is asked in one turn of the event loop runs in one batch at its end, so that nobody waits on purpose:
a network takes little longer for many images than for one, and calling it costs more than a small one takes.
Long work does not come here, but goes to `workers`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.serving.predictor import Prediction, Predictor
from service.serving.registry import Model

_MOST_IMAGES = 128
"""In one batch: the largest of our networks takes two milliseconds for them. What is left waits for the next
turn, so that others come in between."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    images: NDArray[np.uint8]
    future: asyncio.Future[Prediction]


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
        loop = asyncio.get_running_loop()
        waiting = self._waiting.get(id(model))
        if waiting is None:
            waiting = self._waiting[id(model)] = []
            loop.call_soon(self._run, model)
        future: asyncio.Future[Prediction] = loop.create_future()
        waiting.append(_Waiting(images, future))
        return await future

    def _run(self, model: Model) -> None:
        waiting = self._waiting.pop(id(model))
        together, later = _divide([one for one in waiting if not one.future.done()])
        if later:
            self._waiting[id(model)] = later
            asyncio.get_running_loop().call_soon(self._run, model)
        if not together:
            return
        try:
            self._predict(model, together)
        except Exception as error:  # whatever it is, nobody may wait for ever
            for one in together:
                if not one.future.done():
                    one.future.set_exception(error)

    def _predict(self, model: Model, together: Sequence[_Waiting]) -> None:
        if len(together) == 1:
            together[0].future.set_result(self.predictor.predict(model, together[0].images))
            return
        whole = self.predictor.predict(model, np.concatenate([one.images for one in together]))
        start = 0
        for one in together:
            stop = start + len(one.images)
            one.future.set_result(whole.rows(start, stop))
            start = stop


def _divide(waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """Return what runs now, at least one, and what runs in the next turn."""
    images = 0
    for count, one in enumerate(waiting):
        images += len(one.images)
        if count and images > _MOST_IMAGES:
            return waiting[:count], waiting[count:]
    return waiting, []
