"""Endpoint `read`: numbers of several digits."""

from __future__ import annotations  # else each request evaluates the annotations of nested functions

from dataclasses import dataclass

from pydantic import Field

from service.codecs import content_types
from service.codecs.json import documents
from service.http.api import examples, schemas
from service.http.messages import prediction_json
from service.http.messages.responses import AS_JSON, RawResponse
from service.http.routing.operations import Operation
from service.http.routing.options import Options
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference import number_reading
from service.inference.admission.keys import Right
from service.inference.models.model import Model
from service.inference.number_reading import NumberReader
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction


class ReadOptions(Options):
    """Query parameters of `read`."""

    top: int = Field(3, ge=1, le=1000, description="Number of top classes to return for each digit")


@dataclass(frozen=True)
class Endpoints:
    """HTTP endpoint that reads numbers of several digits.

    Attributes:
        http: The prediction pipeline.
    """

    http: HttpPipeline

    def operations(self) -> list[Operation]:
        """Return the operation."""
        return [
            Operation(
                name="read",
                method="POST",
                path="/v1/models/{model}/read",
                summary="Read a number of several digits",
                description="Returns the digits of one drawing or picture from left to right, lines from "
                "top to bottom, each with its prediction and its bounding box in units of the drawing.",
                limits=self.http.describe_limits(is_batch=False),
                handle=self.http.endpoint(self.read),
                right=Right.PREDICT,
                responses={content_types.JSON: schemas.Reading},
                errors=(408, 413, 415, 422, 504),
                options=ReadOptions,
                body=examples.image_bodies(is_batch=False),
            )
        ]

    def read(self, raw: RawRequest, model: Model, options: ReadOptions) -> PredictionRequest[RawResponse]:
        """Parse `POST …/read`."""
        number_reading.check_model(model)
        content_type = raw.headers.get(b"content-type", b"")
        drawings = content_types.decode(content_type, raw.body, model.shape, self.http.limits, False)
        reader = NumberReader(self.http.limits, self.http.pipeline.budget)

        def encode(prediction: Prediction) -> RawResponse:
            return RawResponse(_encode(prediction, reader, options.top), AS_JSON)

        return PredictionRequest(
            drawings,
            encode,
            most_inline=0,
            cut=reader.cut,
            image_bytes=number_reading.drawing_bytes(model),
        )


def _encode(prediction: Prediction, reader: NumberReader, top: int) -> bytes:
    lines = reader.digits(prediction)
    members = prediction_json.labels(prediction, top)
    best = prediction.scores.probabilities.max(axis=1)
    labels = prediction.model.manifest.labels
    classes = prediction.scores.probabilities.argmax(axis=1)
    confidence = 1.0
    digits = []
    for digit in (digit for line in lines for digit in line):
        confidence *= float(best[digit.row])
        box = documents.dump([round(side, 3) for side in digit.box]).decode()
        digits.append(f'{{"box":{box},{members[digit.row]}}}')
    head = {
        "model": prediction.model.name,
        "version": prediction.model.version,
        "text": "\n".join("".join(labels[classes[digit.row]] for digit in line) for line in lines),
        "confidence": confidence,
    }
    return (documents.dump(head)[:-1].decode() + f',"digits":[{",".join(digits)}]}}').encode()
