"""Dynamic batching: concurrent requests run in one batch."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.errors import InferenceFailed, TensorMismatch
from service.core.inputs import Inputs
from service.inference.batching import Batching
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.inference.predictor import Prediction, Predictor, Run
from tests import toys


class Counting(Predictor):
    """A predictor that records the batch sizes, and may fail."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self.sizes: list[int] = []
        self.fails = False

    def run(self, model: Model, images: Inputs) -> Run:
        self.sizes.append(len(images))
        if self.fails:
            raise InferenceFailed(model.name, model.version)
        return super().run(model, images)


@dataclass
class Awaiting:
    """A request that sets a future."""

    batch: NDArray[np.uint8]
    future: asyncio.Future[Prediction]

    def is_cancelled(self) -> bool:
        return self.future.done()

    def images(self) -> NDArray[np.uint8]:
        return self.batch

    def on_prediction(self, prediction: Prediction) -> None:
        self.future.set_result(prediction)

    def fail(self, error: Exception) -> None:
        self.future.set_exception(error)


async def predict(batching: Batching, model: Model, images: NDArray[np.uint8]) -> Prediction:
    """Submit one request and await its prediction."""
    request = Awaiting(images, asyncio.get_running_loop().create_future())
    batching.submit(model, request)
    return await request.future


@pytest.fixture
def predictor(toy_root: Path) -> Counting:
    registry = Registry(toy_root)
    registry.load()
    return Counting(registry)


def dots(*quarters: int) -> NDArray[np.uint8]:
    return np.stack([toys.dot(quarter) for quarter in quarters])


async def batch(*requests: Awaitable[Prediction]) -> list[Prediction | BaseException]:
    return await asyncio.gather(*requests, return_exceptions=True)


def gather(
    predictor: Predictor, asking: Callable[[Batching], list[Awaitable[Prediction]]]
) -> list[Prediction | BaseException]:
    """Submit several requests in one turn of an event loop."""

    async def main() -> list[Prediction | BaseException]:
        return await batch(*asking(Batching(predictor)))

    return asyncio.run(main())


def test_concurrent_requests_run_in_one_batch(predictor: Counting) -> None:
    """Each gets its own rows, and the first the batch size."""
    model = predictor.find("quadrants", "1")
    batches = [dots(0), dots(1, 2), dots(3, 3, 3)]

    found = gather(predictor, lambda batching: [predict(batching, model, images) for images in batches])

    assert predictor.sizes == [6]
    for images, prediction in zip(batches, found, strict=True):
        assert isinstance(prediction, Prediction)
        alone = Prediction(Predictor.run(predictor, model, images), 0, len(images))
        np.testing.assert_array_equal(prediction.images, images)
        np.testing.assert_array_equal(prediction.scores.logits, alone.scores.logits)
        np.testing.assert_array_equal(prediction.scores.probabilities, alone.scores.probabilities)
        assert prediction.model is model
    assert [prediction.batch for prediction in found if isinstance(prediction, Prediction)] == [6, 0, 0]


def test_a_single_request_runs_in_the_same_turn(predictor: Counting) -> None:
    """Its images are not copied."""
    model = predictor.find("quadrants", "1")
    images = dots(2)

    (found,) = gather(predictor, lambda batching: [predict(batching, model, images)])

    assert isinstance(found, Prediction)
    assert np.shares_memory(found.images, images)
    assert (predictor.sizes, found.batch) == ([1], 1)


def test_each_model_has_its_own_batch(predictor: Counting) -> None:
    """Also each version."""
    models = [predictor.find("quadrants", version) for version in ("1", "2", "1")]

    found = gather(predictor, lambda batching: [predict(batching, model, dots(0)) for model in models])

    logits = [one.scores.logits.tolist() for one in found if isinstance(one, Prediction)]
    assert logits == [[[1, 0, 0, 0]], [[0, 0, 0, 1]], [[1, 0, 0, 0]]]
    assert sorted(predictor.sizes) == [1, 2]


def test_a_batch_has_a_maximum_size(predictor: Counting) -> None:
    """Further requests run in the next turn, in order; a single larger one is not divided."""
    model = predictor.find("quadrants", "1")
    sizes = [100, 28, 1, 127, 200, 1]

    found = gather(
        predictor, lambda batching: [predict(batching, model, dots(*[1] * size)) for size in sizes]
    )

    assert predictor.sizes == [128, 128, 200, 1]
    assert [len(one.images) for one in found if isinstance(one, Prediction)] == sizes


def test_other_events_run_between_two_batches(predictor: Counting) -> None:
    model = predictor.find("quadrants", "1")
    seen: list[int] = []

    async def main() -> None:
        batching = Batching(predictor)
        requests = [asyncio.ensure_future(predict(batching, model, dots(*[1] * 100))) for _ in range(3)]
        while not all(one.done() for one in requests):
            seen.append(len(predictor.sizes))
            await asyncio.sleep(0)

    asyncio.run(main())
    assert {1, 2} <= set(seen)


def test_cancelled_requests_do_not_run(predictor: Counting) -> None:
    model = predictor.find("quadrants", "1")

    async def main() -> Prediction:
        batching = Batching(predictor)
        leaving = asyncio.ensure_future(predict(batching, model, dots(0, 1)))
        staying = asyncio.ensure_future(predict(batching, model, dots(3)))
        asyncio.get_running_loop().call_soon(leaving.cancel)
        return await staying

    found = asyncio.run(main())

    assert found.scores.logits.tolist() == [[0, 0, 0, 1]]
    assert predictor.sizes == [1]


def test_nothing_runs_if_all_requests_are_cancelled(predictor: Counting) -> None:
    """Later requests do."""
    model = predictor.find("quadrants", "1")

    async def main() -> Prediction:
        batching = Batching(predictor)
        leaving = asyncio.ensure_future(predict(batching, model, dots(0)))
        asyncio.get_running_loop().call_soon(leaving.cancel)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert predictor.sizes == []
        return await predict(batching, model, dots(1))

    assert asyncio.run(main()).scores.logits.tolist() == [[0, 1, 0, 0]]


def test_a_failed_run_fails_every_request_of_the_batch(predictor: Counting) -> None:
    """The next batch runs."""
    model = predictor.find("quadrants", "1")
    predictor.fails = True

    found = gather(predictor, lambda batching: [predict(batching, model, dots(0)) for _ in range(3)])

    assert [type(one) for one in found] == [InferenceFailed] * 3
    predictor.fails = False
    (good,) = gather(predictor, lambda batching: [predict(batching, model, dots(0))])
    assert isinstance(good, Prediction)


def test_an_array_of_another_shape_is_refused(predictor: Counting) -> None:
    model = predictor.find("quadrants", "1")

    (found,) = gather(predictor, lambda batching: [predict(batching, model, np.zeros((1, 3), np.uint8))])

    assert isinstance(found, TensorMismatch)


def test_an_error_of_one_response_does_not_affect_the_others(predictor: Counting) -> None:
    class Bad:
        def is_cancelled(self) -> bool:
            return False

        def images(self) -> NDArray[np.uint8]:
            return dots(0)

        def on_prediction(self, prediction: Prediction) -> None:
            del prediction
            raise ZeroDivisionError

        def fail(self, error: Exception) -> None:
            raise AssertionError from error

    async def main() -> Prediction:
        batching = Batching(predictor)
        model = predictor.find("quadrants")
        batching.submit(model, Bad())
        async with asyncio.timeout(10):
            return await predict(batching, model, dots(1))

    assert len(asyncio.run(main()).images) == 1
    assert predictor.sizes == [2]


def test_an_invalid_request_does_not_affect_the_others(predictor: Counting) -> None:
    """Even if its error handler fails."""

    @dataclass
    class Broken(Awaiting):
        def images(self) -> NDArray[np.uint8]:
            raise ZeroDivisionError

    class Worse(Broken):
        def fail(self, error: Exception) -> None:
            raise ValueError from error

    async def main() -> tuple[Prediction, BaseException | None]:
        batching = Batching(predictor)
        model = predictor.find("quadrants")
        broken, worse = (
            kind(dots(0), asyncio.get_running_loop().create_future()) for kind in (Broken, Worse)
        )
        batching.submit(model, worse)
        batching.submit(model, broken)
        async with asyncio.timeout(10):
            good = await predict(batching, model, dots(1))
        return good, broken.future.exception()

    good, error = asyncio.run(main())

    assert good.count == 1
    assert isinstance(error, ZeroDivisionError)
    assert predictor.sizes == [1]


def test_a_request_submitted_while_others_are_read_is_handled(predictor: Counting) -> None:
    """Such as the next one of a connection; also if the batch is full."""

    class Pipelined(Awaiting):
        next: Awaiting

        def images(self) -> NDArray[np.uint8]:
            raise ZeroDivisionError

        def fail(self, error: Exception) -> None:
            super().fail(error)
            batching.submit(model, self.next)

    async def main() -> list[int]:
        def awaiting(kind: type[Awaiting], count: int) -> Awaiting:
            return kind(dots(*[1] * count), asyncio.get_running_loop().create_future())

        first = awaiting(Pipelined, 1)
        assert isinstance(first, Pipelined)
        first.next = awaiting(Awaiting, 1)
        others = [awaiting(Awaiting, 100) for _ in range(4)]
        for request in (first, *others):
            batching.submit(model, request)
        async with asyncio.timeout(10):
            found = await asyncio.gather(*(request.future for request in (*others, first.next)))
        assert isinstance(first.future.exception(), ZeroDivisionError)
        assert not batching._waiting
        return [prediction.count for prediction in found]

    batching, model = Batching(predictor), predictor.find("quadrants")

    assert asyncio.run(main()) == [100, 100, 100, 100, 1]


def test_slow_preprocessing_is_divided_among_turns(predictor: Counting) -> None:
    class Slow(Awaiting):
        def images(self) -> NDArray[np.uint8]:
            time.sleep(0.01)
            return super().images()

    async def main() -> None:
        batching, model = Batching(predictor), predictor.find("quadrants")
        askers = [Slow(dots(0), asyncio.get_running_loop().create_future()) for _ in range(3)]
        for request in askers:
            batching.submit(model, request)
        async with asyncio.timeout(10):
            await asyncio.gather(*(request.future for request in askers))

    asyncio.run(main())

    assert predictor.sizes == [1, 1, 1]
