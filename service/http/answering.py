"""The way of one prediction: a body comes in, the model's answer goes out.

Every interface that predicts goes this way; they differ in how they read bodies and write answers.
"""

from __future__ import annotations  # of functions that are made anew for every request

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.core.errors import DeadlineExceeded
from service.core.trace import Trace
from service.http import preparation
from service.http.drawings import Drawings, Limits
from service.http.exchange import Exchange, exchange_of
from service.http.gate import Gate
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


@dataclass(frozen=True)
class Answering:
    """Reads bodies, has them predicted, and keeps what takes long off the event loop.

    Attributes:
        batching: Runs models, what waits together together.
        workers: Where long work goes.
        gate: Lets bodies in.
        limits: How much one request may hold.
        budget: Where the memory that questions take is acquired.
    """

    batching: Batching
    workers: Workers
    gate: Gate
    limits: Limits
    budget: Budget

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
        """Answer what has arrived already.

        Args:
            exchange: The request's.
            model: Whom it asks.
            read: Makes a question of what arrived.
            size: Of all that arrived, in bytes.
            unread: Bytes of them that `read` has to understand one by one.
            left: Returns when the caller has left; None where this is cancelled then.

        Returns:
            What the question's `encode` returns.

        Raises:
            ServiceError: Whatever the readers, the model and the workers raise.
            ClientDisconnect: The caller left while others were served; their work was not begun.
        """

        def ask() -> Question[Answer]:
            exchange.mark("queue")
            question = read()
            exchange.mark("decode")
            return question

        def reply(question: Question[Answer]) -> Answer:
            exchange.mark("queue")
            with self.acquired(model, question):
                images = self.prepare(exchange, model, question)
                return self.encode(exchange, question, self.batching.predictor.predict(model, images))

        if unread > INLINE_BYTES:

            def ask_and_reply() -> Answer:
                question = ask()
                time_left(question, exchange)
                return reply(question)

            return await _unless(left, self.workers.run(ask_and_reply))
        question = ask()
        left_s = time_left(question, exchange)
        if size <= INLINE_BYTES and question.is_short():
            images = self.prepare(exchange, model, question)
            return self.encode(exchange, question, await self.batching.predict(model, images))
        work = self.workers.run(lambda: reply(question), timeout_s=left_s, priority=question.priority)
        return await _unless(left, work)

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
        async with self.answering.gate.body(request) as body:
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


async def _unless(left: Left, work: Coroutine[None, None, Answer]) -> Answer:
    """Wait for work, or until nobody does: then it is dropped if it has not begun."""
    if left is None:
        return await work
    running, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait((running, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ClientDisconnect
        return running.result()
    finally:
        running.cancel()
        leaving.cancel()
        del running  # an error's traceback would hold the error, and with it the request's body


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
