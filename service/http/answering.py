"""The way of one prediction: a body comes in, the model's answer goes out.

Every interface that predicts goes this way; they differ in how they read bodies and write answers.
"""

from __future__ import annotations  # of functions that are made anew for every request

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.core.errors import DeadlineExceeded
from service.core.trace import Trace
from service.http import preparation
from service.http.body_reader import BodyLimits
from service.http.drawings import Drawings, Limits
from service.http.exchange import Exchange, exchange_of
from service.http.headers import Headers
from service.http.preparation import Preparation
from service.inference import costs
from service.serving.batching import Batching
from service.serving.predictor import Prediction
from service.serving.registry import Model
from service.serving.workers import Workers

INLINE_BYTES = 16_384
"""Bodies up to this size are read on the event loop, and answered there if what they hold is quick:
docs/decisions/0003-inline-or-thread.md, and for pictures 0028."""

Answer = TypeVar("Answer")


class Posted(NamedTuple):
    """What a caller sent.

    Attributes:
        body: All of it, unpacked.
        headers: By their names in small letters; of several the first.
        exchange: The request's.
    """

    body: bytes
    headers: Mapping[bytes, bytes]
    exchange: Exchange

    def header(self, name: bytes) -> str | None:
        """Return a header, by its name in small letters; None if it did not come."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class Reply(NamedTuple):
    """What a caller is answered, with status 200.

    Attributes:
        content: The body.
        headers: The type of the content, and others that belong to it.
    """

    content: bytes
    headers: Headers


Ask = Callable[["Posted", "Model", Any], "Question[Reply]"]
"""Makes a question of what a caller sent, for a model, with the options of the operation."""

Left = Callable[[], Awaitable[None]] | None


class Question(NamedTuple, Generic[Answer]):
    """What a body asks of a model.

    Attributes:
        drawings: Of what.
        encode: Writes the answer.
        prepare: How to prepare the drawings, as `preparation.prepare` takes it.
        most_inline: Images of a small body up to which the answer is written on the event loop; None: as many
            as there are.
        traces: Where the steps of preparation go before `encode` is called; None if nobody wants them.
        changed: Where the numbers of images of 28 x 28 go that were prepared, as `preparation.prepare` adds
            them; None if they are not reported.
        timeout_s: Longest time from the request's head to the prediction's beginning, and longest time in
            which it must be done; None for the service's own.
        priority: Before whom it is taken if it must wait, as `Workers.run` takes it.
        image_bytes: Memory that preparing, predicting and answering takes for each image, as
            `costs.image_cost` gives it; None for what it takes at least.
    """

    drawings: Drawings
    encode: Callable[[Prediction], Answer]
    prepare: Preparation | None = None
    most_inline: int | None = None
    traces: list[Trace] | None = None
    changed: list[int] | None = None
    timeout_s: float | None = None
    priority: int = 0
    image_bytes: int | None = None

    def is_short(self) -> bool:
        """Tell whether the event loop can prepare and answer it without keeping others waiting."""
        is_small = self.most_inline is None or len(self.drawings) <= self.most_inline
        return self.traces is None and is_small and preparation.is_quick(self.drawings, self.prepare)


class PredictionJob(ABC, Generic[Answer]):
    """A request whose body has arrived: reads it, and encodes the answer.

    Attributes:
        task: The task of long work, which ends without an answer if it is cancelled; None for short work.
    """

    __slots__ = ("_answering", "_exchange", "_model", "_question", "_size", "task")

    def __init__(self) -> None:
        """Begin without a body."""
        self.task: asyncio.Task[None] | None = None

    def submit(self, answering: Answering, exchange: Exchange, model: Model, size: int, unread: int) -> None:
        """Answer the request: on the event loop at the end of this turn, or in the thread pool if it is long.

        Args:
            answering: The prediction pipeline.
            exchange: The request's.
            model: Whom it asks.
            size: Of the whole body, in bytes.
            unread: Bytes of it that `read` has to parse one by one.
        """
        self._answering = answering
        self._exchange = exchange
        self._model = model
        self._size = size
        if unread > INLINE_BYTES:
            self._spawn(lambda: answering.workers.run(self._read_and_reply))
        else:
            answering.batching.submit(model, self)

    @abstractmethod
    def read(self) -> Question[Answer]:
        """Make a question of the body; on the event loop or in a thread.

        Raises:
            ServiceError: The body is not what it should be.
        """

    @abstractmethod
    def is_gone(self) -> bool:
        """Return whether the answer is no longer wanted."""

    @abstractmethod
    def answer(self, answer: Answer) -> None:
        """Take the answer."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Take the error there is instead, whatever it is."""

    def images(self) -> NDArray[np.uint8] | None:
        """Return the images to predict; None if preparing or answering them is long work, which begins."""
        question, left_s = self._ask()
        answering, exchange, model = self._answering, self._exchange, self._model
        if self._size <= INLINE_BYTES and question.is_short():
            self._question = question
            return answering.prepare(exchange, model, question)
        self._spawn(
            lambda: answering.workers.run(
                lambda: answering.reply(exchange, model, question),
                timeout_s=left_s,
                priority=question.priority,
            )
        )
        return None

    def take(self, prediction: Prediction) -> None:
        """Encode the answer."""
        try:
            answer = self._answering.encode(self._exchange, self._question, prediction)
        except Exception as error:  # whatever it is: a client waits
            self.fail(error)
        else:
            self.answer(answer)

    def _read_and_reply(self) -> Answer:
        """Read the body, predict and encode the answer, in a thread of the pool."""
        question, _ = self._ask()
        return self._answering.reply(self._exchange, self._model, question)

    def _ask(self) -> tuple[Question[Answer], float | None]:
        """Read the body, and charge the client for its images; return the seconds that are left, too."""
        exchange = self._exchange
        exchange.mark("queue")
        question = self.read()
        if exchange.grant is not None:
            exchange.grant.charge(len(question.drawings))
        exchange.mark("decode")
        return question, None if question.timeout_s is None else time_left(question, exchange)

    def _spawn(self, work: Callable[[], Coroutine[None, None, Answer]]) -> None:
        """Run long work in a task."""

        async def run() -> None:
            try:
                answer = await work()
            except Exception as error:  # whatever it is: a client waits
                self.fail(error)
            else:
                self.answer(answer)
            finally:
                self.task = None  # which refers to this job

        self.task = asyncio.get_running_loop().create_task(run())


@dataclass(frozen=True)
class Answering:
    """The prediction pipeline: reads bodies, runs models, and keeps long work off the event loop.

    Attributes:
        batching: Runs models, concurrent requests in one batch.
        workers: Thread pool for long work.
        bodies: Limits of request bodies.
        limits: How much one request may hold.
    """

    batching: Batching
    workers: Workers
    bodies: BodyLimits
    limits: Limits

    def find(self, request: Request) -> Model:
        """Return the model that the path names, and note it for log and metrics.

        Raises:
            UnknownModel, UnknownVersion, ModelNotReady: As `Registry.get`.
        """
        parameters = request.path_params
        return self.find_by_name(exchange_of(request), parameters["model"], parameters.get("version"))

    def find_by_name(self, exchange: Exchange, name: str, version: str | None) -> Model:
        """Return a model by name and perhaps version, and note it; raises as `find`."""
        model = self.batching.predictor.find(name, version)
        exchange.model, exchange.version = model.name, model.version
        return model

    def asking(self, ask: Ask, count_unread: Callable[[Posted], int] | None = None) -> Asking:
        """Return what handles an operation that asks a model.

        Args:
            ask: Makes the question.
            count_unread: Tells how many bytes of what was sent `ask` has to understand one by one; None if
                all.
        """
        return Asking(self, ask, count_unread or _whole)

    async def respond(
        self,
        exchange: Exchange,
        model: Model,
        read: Callable[[], Question[Answer]],
        size: int,
        unread: int,
        left: Left = None,
    ) -> Answer:
        """Answer a request whose body has arrived, as `PredictionJob.submit`, and wait for the answer.

        Args:
            exchange: The request's.
            model: Whom it asks.
            read: As `PredictionJob.read`.
            size: Of the whole body, in bytes.
            unread: Bytes of it that `read` has to parse one by one.
            left: Awaitable that completes when the client disconnects; None if that cancels this task.

        Returns:
            What the question's `encode` returns.

        Raises:
            ServiceError: Whatever the readers, the model and the workers raise.
            ClientDisconnect: The client left; work that had not begun is dropped.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        job = _AwaitedJob(read, future)
        job.submit(self, exchange, model, size, unread)
        try:
            return await _unless(left, future)
        finally:
            future.cancel()
            if job.task is not None:
                job.task.cancel()
            del future, job  # an error's traceback would hold the error, and with it the request's body

    def reply(self, exchange: Exchange, model: Model, question: Question[Answer]) -> Answer:
        """Predict and write the answer, in a thread of the pool."""
        exchange.mark("queue")
        with self.acquired(model, question):
            images = self.prepare(exchange, model, question)
            return self.encode(exchange, question, self.batching.predictor.predict(model, images))

    def acquired(self, model: Model, question: Question[Answer]) -> AbstractContextManager[None]:
        """Acquire the memory that a question's images take, until the context is left; raises as `Budget`."""
        each = question.image_bytes or costs.image_cost(math.prod(model.shape), len(model.manifest.labels))
        return self.bodies.budget.acquired(each * len(question.drawings))

    def prepare(self, exchange: Exchange, model: Model, question: Question[Answer]) -> NDArray[np.uint8]:
        """Return the images of a question as the model takes them; raises as `preparation.prepare`."""
        images = preparation.prepare(
            question.drawings,
            model.shape,
            self.limits,
            question.prepare,
            question.traces,
            self.bodies.budget,
            question.changed,
        )
        exchange.mark("prepare")
        return images

    def encode(self, exchange: Exchange, question: Question[Answer], prediction: Prediction) -> Answer:
        """Write the answer to a question, and note what it took."""
        now = perf_counter()
        exchange.mark("queue", now - prediction.seconds)
        exchange.mark("infer", now)
        answer = question.encode(prediction)
        exchange.mark("encode")
        exchange.images, exchange.batch = prediction.count, prediction.batch
        return answer


@dataclass(frozen=True)
class Asking:
    """Handles an operation that asks a model.

    Attributes:
        answering: The way of its predictions.
        ask: Makes a question of what was sent.
        count_unread: Tells how many bytes of it `ask` has to understand one by one.
    """

    answering: Answering
    ask: Ask
    count_unread: Callable[[Posted], int]

    async def __call__(self, request: Request, options: Any) -> Response:  # noqa: ANN401 - as the operation has it
        """Read a request's body, predict, and write the answer.

        Raises:
            ServiceError: Whatever the model, the gate, the readers and the workers raise.
            ClientDisconnect: The caller left before.
        """
        exchange = exchange_of(request)
        model = self.answering.find(request)
        exchange.is_prediction = True
        async with self.answering.bodies.read(request) as body:
            exchange.mark("read")
            posted = Posted(body, dict(reversed(request.scope["headers"])), exchange)
            reply = await self.answering.respond(
                exchange,
                model,
                lambda: self.ask(posted, model, options),
                len(body),
                self.count_unread(posted),
                _left(request),
            )
        response = Response(reply.content)
        response.raw_headers += reply.headers
        return response


def _whole(posted: Posted) -> int:
    return len(posted.body)


def _left(request: Request) -> Callable[[], Awaitable[None]]:
    """Return what waits until the caller of a request whose body was read has left."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait


async def _unless(left: Left, future: asyncio.Future[Answer]) -> Answer:
    """Await an answer; raise ClientDisconnect if the client leaves first."""
    if left is None:
        return await future
    leaving = asyncio.ensure_future(left())
    try:
        await asyncio.wait((future, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise ClientDisconnect
        return future.result()
    finally:
        leaving.cancel()
        del future  # as in `respond`


class _AwaitedJob(PredictionJob[Answer]):
    """A job that sets a future."""

    __slots__ = ("_body", "_future")

    def __init__(self, body: Callable[[], Question[Answer]], future: asyncio.Future[Answer]) -> None:
        super().__init__()
        self._body = body
        self._future = future

    def read(self) -> Question[Answer]:
        return self._body()

    def is_gone(self) -> bool:
        return self._future.done()

    def answer(self, answer: Answer) -> None:
        if not self._future.done():
            self._future.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(error)


def time_left(question: Question[Answer], exchange: Exchange) -> float | None:
    """Return the seconds that are left for an answer; None if the caller named no limit.

    Raises:
        DeadlineExceeded: None are.
    """
    if question.timeout_s is None:
        return None
    left = question.timeout_s - exchange.age_s()
    if left <= 0:
        raise DeadlineExceeded(question.timeout_s)
    return left
