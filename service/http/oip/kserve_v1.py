"""The protocol before the open one, which KServe calls v1: instances in, predictions out."""

from dataclasses import dataclass

from service.codecs import content_types
from service.codecs.json import documents
from service.http.api import schemas
from service.http.messages import prediction_json
from service.http.messages.responses import AS_JSON, RawResponse
from service.http.oip.schemas import instances_body
from service.http.routing.operations import Operation, Options
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference.admission.keys import Right
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction
from service.inference.models.model import Model

_TOP = 3


@dataclass(frozen=True)
class Endpoints:
    """`POST /v1/models/{model}:predict`."""

    http: HttpPipeline

    def operations(self) -> list[Operation]:
        """Describe the endpoint."""
        return [
            Operation(
                name="predict instances",
                method="POST",
                path="/v1/models/{model}:predict",
                summary="Name what every image shows, as KServe's and TensorFlow Serving's clients ask",
                handle=self.http.endpoint(self.predict),
                right=Right.PREDICT,
                answers={content_types.JSON: schemas.Probabilities},
                errors=(408, 413, 415, 422, 504),
                body=instances_body(),
            )
        ]

    def predict(self, raw: RawRequest, model: Model, options: Options) -> PredictionRequest[RawResponse]:
        """Ask what `POST …/probabilities` answers."""
        del options
        limits = self.http.limits.of(model.shape)
        return PredictionRequest(documents.read_instances(raw.body, model.shape, limits), _encode)


def _encode(prediction: Prediction) -> RawResponse:
    return RawResponse(
        prediction_json.encode(prediction, prediction_json.probabilities, _TOP, seen=False), AS_JSON
    )
