import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from service.codecs.drawings import Limits
from service.core.errors import DeadlineExceeded, MalformedRequest
from service.inference.batching import Batching
from service.inference.models.registry import Registry
from service.inference.pipeline import INLINE_BYTES, Pipeline, PredictionRequest
from service.inference.predictor import Prediction, Predictor
from service.inference.request_context import RequestContext
from service.inference.thread_pool import ThreadPool
from service.memory.budget import Budget
from tests import toys

SMALL = 100


@pytest.fixture
def pipeline(toy_root: Path) -> Iterator[Pipeline]:
    registry = Registry(toy_root)
    registry.load()
    thread_pool = ThreadPool(1, 4, 30)
    yield Pipeline(Batching(Predictor(registry)), thread_pool, Budget(2**30), Limits(64, 250_000, 500))
    thread_pool.close()


def thread_of(prediction: Prediction) -> threading.Thread:
    """Encode a prediction as the thread that encodes it."""
    del prediction
    return threading.current_thread()


def respond(
    pipeline: Pipeline,
    parse: Callable[[], PredictionRequest[object]],
    size: int = SMALL,
    context: RequestContext | None = None,
) -> object:
    """Run one request to its response."""

    async def run() -> object:
        request_context = context or RequestContext("id")
        model = pipeline.find_model(request_context, "quadrants", "1")
        return await pipeline.respond(request_context, model, parse, size, unparsed=0)

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_a_short_request_runs_on_the_event_loop(pipeline: Pipeline) -> None:
    thread = respond(pipeline, lambda: PredictionRequest(toys.dot(1)[None], thread_of))

    assert thread is threading.main_thread()


@pytest.mark.parametrize(
    ("size", "most_inline", "priority"), [(INLINE_BYTES + 1, None, 0), (SMALL, 0, 1)], ids=["large", "many"]
)
def test_a_long_request_runs_in_the_thread_pool(
    pipeline: Pipeline, size: int, most_inline: int | None, priority: int
) -> None:
    request = PredictionRequest[object](
        toys.dot(1)[None], thread_of, most_inline=most_inline, priority=priority
    )

    thread = respond(pipeline, lambda: request, size)

    assert thread is not threading.main_thread()
    assert pipeline.budget.used == 0


def test_a_response_is_recorded_in_the_context(pipeline: Pipeline) -> None:
    context = RequestContext("id")
    images = np.stack([toys.dot(0), toys.dot(3)])

    labels = respond(
        pipeline,
        lambda: PredictionRequest(images, lambda prediction: prediction.scores.logits.argmax(1).tolist()),
        context=context,
    )

    assert labels == [0, 3]
    assert (context.model, context.version) == ("quadrants", "1")
    assert (context.images, context.batch) == (2, 2)
    assert {"decode", "prepare", "infer", "encode"} <= context.phases.keys()


def test_an_error_of_any_step_is_raised(pipeline: Pipeline) -> None:
    def parse() -> PredictionRequest[object]:
        raise MalformedRequest("Body", "JSON", "nonsense")

    def encode(prediction: Prediction) -> object:
        raise ValueError(prediction.count)

    with pytest.raises(MalformedRequest):
        respond(pipeline, parse)
    with pytest.raises(ValueError, match="1"):
        respond(pipeline, lambda: PredictionRequest(toys.dot(1)[None], encode))


@pytest.mark.parametrize("size", [SMALL, INLINE_BYTES + 1])
def test_a_request_after_its_deadline_is_refused(pipeline: Pipeline, size: int) -> None:
    with pytest.raises(DeadlineExceeded):
        respond(pipeline, lambda: PredictionRequest(toys.dot(1)[None], thread_of, timeout_s=0.0), size)


def test_a_request_is_dropped_if_the_client_disconnects(pipeline: Pipeline) -> None:
    parsed = []

    async def disconnected() -> None:
        raise ConnectionError

    def parse() -> PredictionRequest[object]:
        parsed.append(True)
        return PredictionRequest(toys.dot(1)[None], thread_of)

    async def run() -> None:
        context = RequestContext("id")
        model = pipeline.find_model(context, "quadrants", "1")
        busy = threading.Event()
        pipeline.thread_pool.submit(lambda: busy.wait(30))
        with pytest.raises(ConnectionError):
            await pipeline.respond(context, model, parse, INLINE_BYTES + 1, INLINE_BYTES + 1, disconnected)
        busy.set()
        await pipeline.thread_pool.run(lambda: None)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert parsed == []
