"""The protocol before the open one, which KServe calls v1: instances in, predictions out."""

from dataclasses import dataclass

from service.http import json_body, schemas, wire
from service.http.answering import Answering, Posted, Question, Reply
from service.http.operations import Operation, Options
from service.inference.admission.keys import Right
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
                handle=self.answering.asking(self.predict),
                right=Right.PREDICT,
                answers={wire.JSON: schemas.Probabilities},
                errors=(408, 413, 415, 422, 504),
                body=instances_body(),
            )
        ]

    def predict(self, posted: Posted, model: Model, options: Options) -> Question[Reply]:
        """Ask what `POST …/probabilities` answers."""
        del options
        limits = self.answering.limits.of(model.shape)
        return Question(json_body.read_instances(posted.body, model.shape, limits), _encode)


def _encode(prediction: Prediction) -> Reply:
    return Reply(wire.encode(prediction, wire.probabilities, _TOP, seen=False), wire.AS_JSON)
