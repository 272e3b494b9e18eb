"""The protocol before the open one, which KServe calls v1: instances in, predictions out."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from service.http import json_body, schemas, wire
from service.http.answering import Answering, Question
from service.http.operations import Operation, Options
from service.protocol.schemas import instances_body
from service.serving.predictor import Prediction
from service.serving.registry import Model

_TOP = 3


@dataclass(frozen=True)
class Endpoints:
    """`POST /v1/models/{model}:predict`."""

    answering: Answering

    def operations(self) -> list[Operation]:
        """Describe the endpoint."""
        return [
            Operation(
                name="predict instances",
                method="POST",
                path="/v1/models/{model}:predict",
                summary="Name what every image shows, as KServe's and TensorFlow Serving's clients ask",
                handle=self.predict,
                answers={wire.JSON: schemas.Probabilities},
                errors=(408, 413, 415, 422, 504),
                body=instances_body(),
            )
        ]

    async def predict(self, request: Request, options: Options) -> Response:
        """Answer it as `POST …/probabilities` does."""
        del options

        def encode(prediction: Prediction) -> bytes:
            return wire.encode(prediction, wire.probabilities, _TOP, seen=False)

        def read(body: bytes, model: Model) -> Question[bytes]:
            limits = self.answering.limits.of(model.shape)
            return Question(json_body.read_instances(body, model.shape, limits), encode)

        return Response(await self.answering.answer(request, read), media_type=wire.JSON)
