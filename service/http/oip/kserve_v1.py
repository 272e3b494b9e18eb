"""Endpoint of the KServe v1 protocol, which TensorFlow Serving clients use: instances in, predictions out."""

from dataclasses import dataclass

from service.codecs import content_types
from service.http.api import schemas
from service.http.messages import prediction_json
from service.http.messages.responses import AS_JSON, RawResponse
from service.http.oip.schemas import instances_body
from service.http.routing.operations import Operation
from service.http.routing.options import Options
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference.admission.keys import Right
from service.inference.models import request_body
from service.inference.models.model import Model
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction

_TOP = 3


@dataclass(frozen=True)
class Endpoints:
    """The endpoint `POST /v1/models/{model}:predict`.

    Attributes:
        http: The prediction pipeline.
    """

    http: HttpPipeline

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [
            Operation(
                name="predict instances",
                method="POST",
                path="/v1/models/{model}:predict",
                summary="Classify images, in the KServe v1 protocol",
                description="Takes `instances` as clients of KServe and TensorFlow Serving send them, and "
                "returns what `probabilities` returns.",
                limits=self.http.describe_limits(),
                handle=self.http.endpoint(self.predict),
                right=Right.PREDICT,
                responses={content_types.JSON: schemas.Probabilities},
                errors=(408, 413, 415, 422, 504),
                body=instances_body(),
            )
        ]

    def predict(self, raw: RawRequest, model: Model, options: Options) -> PredictionRequest[RawResponse]:
        """Parse `POST …:predict`."""
        del options
        return PredictionRequest(request_body.decode_instances(raw.body, model, self.http.limits), _encode)


def _encode(prediction: Prediction) -> RawResponse:
    return RawResponse(
        prediction_json.encode(prediction, prediction_json.probabilities, _TOP, seen=False), AS_JSON
    )
