"""The way of one prediction: a body comes in, the model's answer goes out.

Every interface that predicts goes this way; they differ in how they read bodies and write answers.
"""

from __future__ import annotations  # of functions that are made anew for every request

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

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
from service.http.preparation import Preparation
from service.inference import costs
from service.inference.budget import Budget
from service.serving.batching import Batching
from service.serving.predictor import Prediction
from service.serving.registry import Model
from service.serving.workers import Workers

INLINE_BYTES = 16_384
"""Bodies up to this size are read on the event loop, and answered there if what they hold is quick:
docs/decisions/0003-inline-or-thread.md, and for pictures 0028."""

Answer = TypeVar("Answer")
Taken_contra = TypeVar("Taken_contra", contravariant=True)


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
        headers: By name; the type of the content, and others that belong to it.
    """

    content: bytes
    headers: Mapping[str, str]


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
    timeout_s: float | None = None
    priority: int = 0
    image_bytes: int | None = None

    def is_short(self) -> bool:
        """Tell whether the event loop can prepare and answer it without keeping others waiting."""
        is_small = self.most_inline is None or len(self.drawings) <= self.most_inline
        return self.traces is None and is_small and preparation.is_quick(self.drawings, self.prepare)


class Waiter(Protocol[Taken_contra]):
    """Who waits for an answer; called from the event loop, later than `submit`."""

    def is_gone(self) -> bool:
        """Return whether the answer is no longer wanted."""

    def answer(self, answer: Taken_contra, /) -> None:
        """Take the answer."""

    def fail(self, error: Exception, /) -> None:
        """Take the error there is instead."""


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

    @property
    def budget(self) -> Budget:
        """Where the memory that questions take is acquired."""
        return self.bodies.budget

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

    def submit(
        self,
        exchange: Exchange,
        model: Model,
        read: Callable[[], Question[Answer]],
        size: int,
        unread: int,
        waiter: Waiter[Answer],
    ) -> asyncio.Task[None] | None:
        """Answer a request whose body has arrived: on the event loop, or in the thread pool if it is long.

        Args:
            exchange: The request's.
            model: Whom it asks.
            read: Makes a question of the body.
            size: Of the whole body, in bytes.
            unread: Bytes of it that `read` has to parse one by one.
            waiter: Gets what the question's `encode` returns, or the error.

        Returns:
            The task of long work, which ends without an answer if it is cancelled; None for short work.

        Raises:
            ServiceError: Whatever the readers and the model raise at once; the waiter gets nothing then.
        """
        if unread > INLINE_BYTES:

            def ask_and_reply() -> Answer:
                exchange.mark("queue")
                question = _ask(read, exchange)
                time_left(question, exchange)
                return self._reply(exchange, model, question)

            return _spawn(lambda: self.workers.run(ask_and_reply), waiter)
        question = _ask(read, exchange)
        left_s = None if question.timeout_s is None else time_left(question, exchange)
        if size <= INLINE_BYTES and question.is_short():
            images = self.prepare(exchange, model, question)
            self.batching.submit(model, images, _Short(self, exchange, question, waiter))
            return None

        def work() -> Coroutine[None, None, Answer]:
            return self.workers.run(
                lambda: self._reply(exchange, model, question), timeout_s=left_s, priority=question.priority
            )

        return _spawn(work, waiter)

    async def respond(
        self,
        exchange: Exchange,
        model: Model,
        read: Callable[[], Question[Answer]],
        size: int,
        unread: int,
        left: Left = None,
    ) -> Answer:
        """Answer a request whose body has arrived, as `submit`, and wait for the answer.

        Args:
            exchange: As `submit` takes it, and so the next four.
            model: Whom it asks.
            read: Makes a question of the body.
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
        task = self.submit(exchange, model, read, size, unread, _Awaiting(future))
        try:
            return await _unless(left, future)
        finally:
            future.cancel()
            if task is not None:
                task.cancel()
            del future, task  # an error's traceback would hold the error, and with it the request's body

    def _reply(self, exchange: Exchange, model: Model, question: Question[Answer]) -> Answer:
        """Predict and write the answer, in a thread of the pool."""
        exchange.mark("queue")
        with self.acquired(model, question):
            images = self.prepare(exchange, model, question)
            return self.encode(exchange, question, self.batching.predictor.predict(model, images))

    def acquired(self, model: Model, question: Question[Answer]) -> AbstractContextManager[None]:
        """Acquire the memory that a question's images take, until the context is left; raises as `Budget`."""
        each = question.image_bytes or costs.image_cost(math.prod(model.shape), len(model.manifest.labels))
        return self.budget.acquired(each * len(question.drawings))

    def prepare(self, exchange: Exchange, model: Model, question: Question[Answer]) -> NDArray[np.uint8]:
        """Return the images of a question as the model takes them; raises as `preparation.prepare`."""
        images = preparation.prepare(
            question.drawings, model.shape, self.limits, question.prepare, question.traces, self.budget
        )
        exchange.mark("prepare")
        return images

    def encode(self, exchange: Exchange, question: Question[Answer], prediction: Prediction) -> Answer:
        """Write the answer to a question, and note what it took."""
        exchange.mark("queue")
        exchange.shift("queue", "infer", prediction.seconds)
        answer = question.encode(prediction)
        exchange.mark("encode")
        exchange.images, exchange.batch = len(prediction.images), prediction.batch
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
        return Response(reply.content, headers=reply.headers)


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


def _spawn(work: Callable[[], Coroutine[None, None, Answer]], waiter: Waiter[Answer]) -> asyncio.Task[None]:
    """Run long work in a task, and hand its result to a waiter."""

    async def run() -> None:
        try:
            answer = await work()
        except Exception as error:  # whatever it is, the waiter gets it
            waiter.fail(error)
        else:
            waiter.answer(answer)

    return asyncio.get_running_loop().create_task(run())


@dataclass(frozen=True, slots=True)
class _Awaiting(Generic[Answer]):
    """A waiter that sets a future."""

    future: asyncio.Future[Answer]

    def is_gone(self) -> bool:
        return self.future.done()

    def answer(self, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Short(Generic[Answer]):
    """A request of a batch on the event loop: encodes its answer for its waiter."""

    __slots__ = ("_answering", "_exchange", "_question", "_waiter", "fail", "is_gone")

    def __init__(
        self,
        answering: Answering,
        exchange: Exchange,
        question: Question[Answer],
        waiter: Waiter[Answer],
    ) -> None:
        self._answering = answering
        self._exchange = exchange
        self._question = question
        self._waiter = waiter
        self.is_gone = waiter.is_gone
        self.fail = waiter.fail

    def take(self, prediction: Prediction) -> None:
        try:
            answer = self._answering.encode(self._exchange, self._question, prediction)
        except Exception as error:  # whatever it is, the waiter gets it
            self._waiter.fail(error)
        else:
            self._waiter.answer(answer)


def _ask(read: Callable[[], Question[Answer]], exchange: Exchange) -> Question[Answer]:
    """Make a question of a body, and charge the client for its images."""
    question = read()
    if exchange.grant is not None:
        exchange.grant.charge(len(question.drawings))
    exchange.mark("decode")
    return question


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
