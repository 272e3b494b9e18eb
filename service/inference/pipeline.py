"""Prediction pipeline: the steps from a decoded request to an encoded response, shared by HTTP and gRPC.

Charge the client, preprocess, predict in a batch with concurrent requests, encode. Short requests run on the
event loop, long ones in the thread pool. A transport only parses the request and writes the response.
"""

from __future__ import annotations  # of functions that are made anew for every request

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar, cast

import numpy as np

from service.codecs.drawings import Drawings, DrawingsOrRows, Limits
from service.core.drawing.steps import StepRecorder
from service.core.errors import DeadlineExceeded, MalformedRequest
from service.core.inputs import Inputs
from service.inference import preprocessing, several_digits
from service.inference.batching import Batching
from service.inference.models.model import Model
from service.inference.predictor import Prediction
from service.inference.preprocessing import Findings, Preprocessing
from service.inference.request_context import RequestContext
from service.inference.thread_pool import ThreadPool
from service.memory import costs
from service.memory.budget import Budget

INLINE_BYTES = 16_384
"""Size of a body up to which it is parsed on the event loop, and answered there if preprocessing is quick:
docs/decisions/0003-inline-or-thread.md; for image files 0028."""

LONG_BYTES = INLINE_BYTES + 1
"""Size of a body that is always parsed in the thread pool."""

Response = TypeVar("Response")

Disconnected = Callable[[], Awaitable[None]] | None
"""Coroutine function that raises when the client disconnects; None if disconnecting cancels the task."""


class PredictionRequest(NamedTuple, Generic[Response]):
    """A parsed request.

    Attributes:
        drawings: The images, drawings or rows.
        encode: Encodes the response.
        prepare: The preprocessing, as `preprocessing.prepare` takes it.
        most_inline: Number of images up to which a small body is encoded on the event loop; None for any.
        recorders: List to which `preprocessing.prepare` adds the steps of each image; None if not requested.
        findings: What `preprocessing.prepare` finds out about the images, and which of them show several
            digits; None if not needed.
        timeout_s: Deadline for the start of the prediction and for its end, in seconds after the request's
            head arrived; None for none of its own.
        priority: Priority in the thread pool, as `ThreadPool.run` takes it.
        cut: Makes the images of the drawings in place of preprocessing, any number of them: (N, ...) uint8 of
            the model's input shape; None to preprocess each drawing.
        image_bytes: Memory per image of preprocessing, prediction and response, as `costs.image_cost`
            returns it; None for the minimum.
    """

    drawings: DrawingsOrRows
    encode: Callable[[Prediction], Response]
    prepare: Preprocessing | None = None
    most_inline: int | None = None
    recorders: list[StepRecorder] | None = None
    findings: Findings | None = None
    timeout_s: float | None = None
    priority: int = 0
    image_bytes: int | None = None
    cut: Callable[[Drawings], Inputs] | None = None

    def is_short(self, model: Model) -> bool:
        """Return whether it can run on the event loop of a model without delaying other requests."""
        is_small = self.most_inline is None or len(self.drawings) <= self.most_inline
        if self.recorders is not None or not is_small or not model.is_quick:
            return False
        if model.takes_rows:
            return True
        return preprocessing.is_quick(cast("Drawings", self.drawings), self.prepare, model.preprocessing)


class PredictionJob(ABC, Generic[Response]):
    """One request in the pipeline, from its complete body to its response.

    Attributes:
        task: Task of a long request; cancelling it drops the request. None for a short one.
    """

    __slots__ = ("_context", "_model", "_pipeline", "_prediction_request", "_size", "task")

    def __init__(self) -> None:
        """Create a job; `submit` starts it."""
        self.task: asyncio.Task[None] | None = None

    def submit(
        self, pipeline: Pipeline, context: RequestContext, model: Model, size: int, unparsed: int
    ) -> None:
        """Start the job: at the end of this turn of the event loop, or in the thread pool if it is long.

        Args:
            pipeline: The pipeline.
            context: The request context.
            model: The model.
            size: Size of the body in bytes.
            unparsed: Bytes of it that `parse` has to parse one by one.
        """
        self._pipeline = pipeline
        self._context = context
        self._model = model
        self._size = size
        if unparsed > INLINE_BYTES:
            self._spawn(lambda: pipeline.thread_pool.run(self._run))
        else:
            pipeline.batching.submit(model, self)

    @abstractmethod
    def parse(self) -> PredictionRequest[Response]:
        """Parse the body; called on the event loop or in the thread pool.

        Raises:
            ServiceError: The request is not valid.
        """

    @abstractmethod
    def is_cancelled(self) -> bool:
        """Return whether the response is no longer wanted."""

    @abstractmethod
    def respond(self, response: Response) -> None:
        """Send the response."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Send an error response."""

    def images(self) -> Inputs | None:
        """Return the preprocessed images for a batch; None if the request is long and runs on its own."""
        request = self._parse()
        pipeline, context, model = self._pipeline, self._context, self._model
        timeout_s = None if request.timeout_s is None else time_left(request, context)
        if self._size <= INLINE_BYTES and request.is_short(model):
            images = pipeline.preprocess(context, model, request)
            if request.findings is None or not request.findings.doubtful:
                self._prediction_request = request
                return images
            work = partial(pipeline.predict, context, model, request, images)
        else:
            work = partial(pipeline.run, context, model, request)
        self._spawn(lambda: pipeline.thread_pool.run(work, timeout_s=timeout_s, priority=request.priority))
        return None

    def on_prediction(self, prediction: Prediction) -> None:
        """Encode and send the response."""
        try:
            response = self._pipeline.encode(self._context, self._prediction_request, prediction)
        except Exception as error:  # any error: the client waits
            self.fail(error)
        else:
            self.respond(response)

    def _run(self) -> Response:
        """Parse the body, predict and encode, in the thread pool."""
        request = self._parse()
        if request.timeout_s is not None:
            time_left(request, self._context)
        return self._pipeline.run(self._context, self._model, request)

    def _parse(self) -> PredictionRequest[Response]:
        """Parse the body, and charge its images to the client's rate limit."""
        context = self._context
        context.mark("queue")
        request = self.parse()
        if context.grant is not None:
            context.grant.charge(len(request.drawings))
        context.mark("decode")
        return request

    def _spawn(self, work: Callable[[], Coroutine[None, None, Response]]) -> None:
        """Run a long request in a task."""

        async def run() -> None:
            try:
                response = await work()
            except Exception as error:  # any error: the client waits
                self.fail(error)
            else:
                self.respond(response)
            finally:
                self.task = None  # which refers to this job

        self.task = asyncio.get_running_loop().create_task(run())


@dataclass(frozen=True)
class Pipeline:
    """The steps of a prediction, and what they need.

    Attributes:
        batching: Runs models on the event loop, concurrent requests in one batch.
        thread_pool: Runs long requests.
        budget: Memory budget of requests.
        limits: Limits of the images in one request.
    """

    batching: Batching
    thread_pool: ThreadPool
    budget: Budget
    limits: Limits

    def find_model(self, context: RequestContext, name: str, version: str | None) -> Model:
        """Return a model by name and optionally version, and note it in the request context.

        Raises:
            UnknownModel, UnknownVersion, ModelNotReady: As `Registry.get`.
        """
        model = self.batching.predictor.find(name, version)
        context.model, context.version = model.name, model.version
        return model

    async def respond(
        self,
        context: RequestContext,
        model: Model,
        parse: Callable[[], PredictionRequest[Response]],
        size: int,
        unparsed: int,
        disconnected: Disconnected = None,
    ) -> Response:
        """Run a request whose body is complete; the awaitable variant of `PredictionJob.submit`.

        Args:
            context: The request context.
            model: The model.
            parse: As `PredictionJob.parse`.
            size: Size of the body in bytes.
            unparsed: Bytes of it that `parse` has to parse one by one.
            disconnected: Raises when the client disconnects; the request is then dropped unless it has
                started.

        Returns:
            The encoded response.

        Raises:
            ServiceError: Any error of parsing, the model or the thread pool.
        """
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        job = _AwaitedJob(parse, future)
        job.submit(self, context, model, size, unparsed)
        try:
            return await _await_unless(disconnected, future)
        finally:
            future.cancel()
            if job.task is not None:
                job.task.cancel()
            del future, job  # the traceback of an error would hold them, and with them the body

    def run(self, context: RequestContext, model: Model, request: PredictionRequest[Response]) -> Response:
        """Preprocess, predict and encode, in the thread pool."""
        context.mark("queue")
        with self.acquired(model, request):
            images = self.preprocess(context, model, request)
            return self.predict(context, model, request, images)

    def predict(
        self,
        context: RequestContext,
        model: Model,
        request: PredictionRequest[Response],
        images: Inputs,
    ) -> Response:
        """Examine doubtful drawings, predict and encode, in the thread pool."""
        predictor, findings = self.batching.predictor, request.findings
        if findings is not None and findings.doubtful:
            context.mark("queue")
            findings.several += several_digits.find(
                findings.doubtful, images, model, predictor.run, self.limits, self.budget
            )
            context.mark("prepare")
        return self.encode(context, request, predictor.predict(model, images))

    def acquired(self, model: Model, request: PredictionRequest[Response]) -> AbstractContextManager[None]:
        """Acquire the memory of a request's images while entered; raises as `Budget.acquired`."""
        each = request.image_bytes or costs.image_cost(model.input_bytes, len(model.manifest.labels))
        return self.budget.acquired(each * len(request.drawings))

    def preprocess(
        self, context: RequestContext, model: Model, request: PredictionRequest[Response]
    ) -> Inputs:
        """Return the images in the model's input shape; raises as `preprocessing.prepare`."""
        images: Inputs
        drawings = cast("Drawings", request.drawings)  # unless the model takes rows
        if model.takes_rows:
            preprocessing.check_rows(request.prepare, request.recorders)
            images = cast("Inputs", request.drawings)
        elif request.cut is not None:
            images = request.cut(drawings)
        else:
            images = preprocessing.prepare(
                drawings,
                model.shape,
                self.limits,
                request.prepare,
                request.recorders,
                self.budget,
                request.findings,
                model.preprocessing,
            )
        context.mark("prepare")
        return images

    def encode(
        self, context: RequestContext, request: PredictionRequest[Response], prediction: Prediction
    ) -> Response:
        """Encode the response, and record the time and the batch size of the prediction.

        Raises:
            MalformedRequest: The scores of a row are not finite.
        """
        if prediction.model.takes_rows:
            _check_finite(prediction)
        now = perf_counter()
        context.mark("queue", now - prediction.seconds)
        context.mark("infer", now)
        response = request.encode(prediction)
        context.mark("encode")
        context.images, context.batch = prediction.count, prediction.batch
        return response


def _check_finite(prediction: Prediction) -> None:
    """Raise MalformedRequest if the numbers of a row are so large that its scores overflow."""
    finite = np.isfinite(prediction.scores.logits).all(axis=1)
    if not finite.all():
        expected = "numbers for which the scores of the model are finite"
        raise MalformedRequest(f"Row {finite.argmin()}", expected, "larger ones")


class _AwaitedJob(PredictionJob[Response]):
    """A job that resolves a future."""

    __slots__ = ("_future", "_read")

    def __init__(
        self, parse: Callable[[], PredictionRequest[Response]], future: asyncio.Future[Response]
    ) -> None:
        super().__init__()
        self._read = parse
        self._future = future

    def parse(self) -> PredictionRequest[Response]:
        return self._read()

    def is_cancelled(self) -> bool:
        return self._future.done()

    def respond(self, response: Response) -> None:
        if not self._future.done():
            self._future.set_result(response)

    def fail(self, error: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(error)


async def _await_unless(disconnected: Disconnected, future: asyncio.Future[Response]) -> Response:
    """Await a response; raise what `disconnected` raises if the client disconnects first."""
    if disconnected is None:
        return await future
    disconnecting = asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait((future, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            disconnecting.result()
        return future.result()
    finally:
        disconnecting.cancel()
        del future  # as in `respond`


def time_left(request: PredictionRequest[Response], context: RequestContext) -> float:
    """Return the seconds until the deadline of a request that has one.

    Raises:
        DeadlineExceeded: The deadline has passed.
    """
    assert request.timeout_s is not None
    left_s = request.timeout_s - context.age_s()
    if left_s <= 0:
        raise DeadlineExceeded(request.timeout_s)
    return left_s
