"""`service/inference/batching.py`: what waits together runs together, and nothing is lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.errors import InferenceFailed, TensorMismatch
from service.inference.batching import Batching
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.inference.predictor import Prediction, Predictor, Run
from tests import toys


class Counting(Predictor):
    """A predictor that remembers how many images it was given at once, and may fail."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self.sizes: list[int] = []
        self.fails = False

    def run(self, model: Model, images: NDArray[np.uint8]) -> Run:
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


async def batch(*asked: Awaitable[Prediction]) -> list[Prediction | BaseException]:
    return await asyncio.gather(*asked, return_exceptions=True)


def ask(
    predictor: Predictor, asking: Callable[[Batching], list[Awaitable[Prediction]]]
) -> list[Prediction | BaseException]:
    """Ask several questions in one turn of an event loop."""

    async def main() -> list[Prediction | BaseException]:
        return await batch(*asking(Batching(predictor)))

    return asyncio.run(main())


def test_what_waits_together_runs_together(predictor: Counting) -> None:
    """
    Each gets its own rows, the same as alone, and one of them speaks for the run.
    """
    model = predictor.find("quadrants", "1")
    batches = [dots(0), dots(1, 2), dots(3, 3, 3)]

    found = ask(predictor, lambda batching: [predict(batching, model, images) for images in batches])

    assert predictor.sizes == [6]
    for images, prediction in zip(batches, found, strict=True):
        assert isinstance(prediction, Prediction)
        alone = Prediction(Predictor.run(predictor, model, images), 0, len(images))
        np.testing.assert_array_equal(prediction.images, images)
        np.testing.assert_array_equal(prediction.scores.logits, alone.scores.logits)
        np.testing.assert_array_equal(prediction.scores.probabilities, alone.scores.probabilities)
        assert prediction.model is model
    assert [prediction.batch for prediction in found if isinstance(prediction, Prediction)] == [6, 0, 0]


def test_whoever_asks_alone_does_not_wait(predictor: Counting) -> None:
    """
    One question is a batch of its own in the same turn, and nothing is copied.
    """
    model = predictor.find("quadrants", "1")
    images = dots(2)

    (found,) = ask(predictor, lambda batching: [predict(batching, model, images)])

    assert isinstance(found, Prediction)
    assert np.shares_memory(found.images, images)
    assert (predictor.sizes, found.batch) == ([1], 1)


def test_models_do_not_mix(predictor: Counting) -> None:
    """
    Nor versions of one.
    """
    models = [predictor.find("quadrants", version) for version in ("1", "2", "1")]

    found = ask(predictor, lambda batching: [predict(batching, model, dots(0)) for model in models])

    logits = [one.scores.logits.tolist() for one in found if isinstance(one, Prediction)]
    assert logits == [[[1, 0, 0, 0]], [[0, 0, 0, 1]], [[1, 0, 0, 0]]]
    assert sorted(predictor.sizes) == [1, 2]


def test_a_batch_has_a_most(predictor: Counting) -> None:
    """
    What does not fit runs in the next turn, in order; whoever has more alone is not divided.
    """
    model = predictor.find("quadrants", "1")
    sizes = [100, 28, 1, 127, 200, 1]

    found = ask(predictor, lambda batching: [predict(batching, model, dots(*[1] * size)) for size in sizes])

    assert predictor.sizes == [128, 128, 200, 1]
    assert [len(one.images) for one in found if isinstance(one, Prediction)] == sizes


def test_others_come_in_between(predictor: Counting) -> None:
    """
    The event loop has a turn between two batches.
    """
    model = predictor.find("quadrants", "1")
    seen: list[int] = []

    async def main() -> None:
        batching = Batching(predictor)
        asked = [asyncio.ensure_future(predict(batching, model, dots(*[1] * 100))) for _ in range(3)]
        while not all(one.done() for one in asked):
            seen.append(len(predictor.sizes))
            await asyncio.sleep(0)

    asyncio.run(main())
    assert {1, 2} <= set(seen)


def test_who_has_left_is_not_answered(predictor: Counting) -> None:
    """
    Their images do not run, and the others' do.
    """
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


def test_when_all_have_left_nothing_runs(predictor: Counting) -> None:
    """
    And whoever comes later is answered.
    """
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


def test_a_failure_is_everybodys(predictor: Counting) -> None:
    """
    None waits for ever, and the next batch is answered.
    """
    model = predictor.find("quadrants", "1")
    predictor.fails = True

    found = ask(predictor, lambda batching: [predict(batching, model, dots(0)) for _ in range(3)])

    assert [type(one) for one in found] == [InferenceFailed] * 3
    predictor.fails = False
    (good,) = ask(predictor, lambda batching: [predict(batching, model, dots(0))])
    assert isinstance(good, Prediction)


def test_an_array_of_another_shape_is_refused(predictor: Counting) -> None:
    """
    As the predictor refuses it.
    """
    model = predictor.find("quadrants", "1")

    (found,) = ask(predictor, lambda batching: [predict(batching, model, np.zeros((1, 3), np.uint8))])

    assert isinstance(found, TensorMismatch)


def test_one_that_cannot_take_its_answer_takes_nobody_elses(predictor: Counting) -> None:
    """
    Whoever waited beside it is answered.
    """

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


def test_one_that_cannot_be_read_takes_nobody_elses_answer(predictor: Counting) -> None:
    """
    Nor one that cannot even take its error.
    """

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


def test_a_request_that_comes_while_others_are_read_is_answered(predictor: Counting) -> None:
    """
    As the next one of a connection does whose request fails; also where the batch is full.
    """

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


def test_long_reading_is_divided_among_turns(predictor: Counting) -> None:
    """
    So that other connections are served in between.
    """

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
