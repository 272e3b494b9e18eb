"""The way of one prediction: a body comes in, the model's answer goes out.

Every interface that predicts goes this way; they differ in how they read bodies and write answers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from service.core.trace import Trace
from service.http import preparation, wire
from service.http.drawings import Drawings, Limits
from service.http.exchange import exchange_of
from service.http.gate import Gate
from service.http.preparation import Preparation
from service.serving.predictor import Prediction, Predictor
from service.serving.registry import Model
from service.serving.workers import Workers

_INLINE_BYTES = 16_384
"""Bodies up to this size are read on the event loop, and answered there if what they hold is quick:
docs/decisions/0003-inline-or-thread.md."""


@dataclass(frozen=True)
class Answering:
    """Reads bodies, has them predicted, and keeps what takes long off the event loop.

    Attributes:
        predictor: Runs models.
        workers: Where long work goes.
        gate: Lets bodies in.
        limits: How much one request may hold.
    """

    predictor: Predictor
    workers: Workers
    gate: Gate
    limits: Limits

    def find(self, request: Request) -> Model:
        """Return the model that the path names, and note it for log and metrics.

        Raises:
            UnknownModel, UnknownVersion, ModelNotReady: As `Registry.get`.
        """
        model = self.predictor.find(request.path_params["model"], request.path_params.get("version"))
        exchange = exchange_of(request)
        exchange.model, exchange.version = model.name, model.version
        return model

    async def answer(
        self,
        request: Request,
        wanted: Preparation | None,
        encode: Callable[[Prediction], bytes],
        most_inline: int | None = None,
        traces: list[Trace] | None = None,
    ) -> bytes:
        """Read a request's body, predict, and write the answer.

        Args:
            request: Names the model in its path; its body is not read yet.
            wanted: How to prepare drawings, as `preparation.prepare` takes it.
            encode: Writes the answer.
            most_inline: Images of a small body up to which the answer is written on the event loop; None:
                as many as there are.
            traces: Where the steps of preparation go before `encode` is called; None if nobody wants them.

        Returns:
            The answer's bytes.

        Raises:
            ServiceError: Whatever the model, the gate, the readers and the workers raise.
        """
        exchange = exchange_of(request)
        model = self.find(request)
        shape = model.manifest.input.shape[1:]
        async with self.gate.body(request) as body:
            exchange.mark("read")

            def read() -> Drawings:
                exchange.mark("queue")
                drawings = wire.decode(request.headers.get("content-type", ""), body, shape, self.limits)
                exchange.mark("decode")
                return drawings

            def respond(drawings: Drawings) -> bytes:
                exchange.mark("queue")
                images = preparation.prepare(drawings, shape, self.limits, wanted, traces)
                exchange.mark("prepare")
                prediction = self.predictor.predict(model, images)
                exchange.mark("infer")
                answer = encode(prediction)
                exchange.mark("encode")
                exchange.images = len(images)
                return answer

            if len(body) > _INLINE_BYTES:
                return await self.workers.run(lambda: respond(read()))
            drawings = read()
            is_short = most_inline is None or len(drawings) <= most_inline
            if traces is None and is_short and preparation.is_quick(drawings, wanted):
                return respond(drawings)
            return await self.workers.run(lambda: respond(drawings))
