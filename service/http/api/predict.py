"""Inkling's own interface: models and predictions. Each endpoint is a translation."""

from __future__ import annotations  # of functions that are made anew for every request

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import arrays, content_types
from service.core.drawing.steps import LARGEST, Trace
from service.core.errors import MalformedRequest
from service.http.api import examples, schemas
from service.http.messages import prediction_json
from service.http.messages.responses import AS_JSON, VARY_ACCEPT, Headers, RawResponse, json_response
from service.http.routing.operations import CommaSeparated, Operation, Options
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference.admission.keys import Right
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction
from service.inference.preprocessing import Preprocessing
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.memory import costs


class PredictionOptions(Options):
    """How images are taken and how much is said of each."""

    top: int = Field(3, ge=1, le=1000, description="How many of the likeliest classes to name")
    prepare: Preprocessing | None = Field(
        None,
        description="mnist prepares every image as the MNIST images were made, none takes every image "
        "as it is; without it a 28 x 28 image is taken as it is, anything else is prepared, and so is any "
        "picture file on light paper. A model of photographs prepares every picture file, unless none says "
        "that it has the model's size already",
    )


class AnswerOptions(PredictionOptions):
    """How a prediction is asked for."""

    include: CommaSeparated[Literal["seen", "steps"]] = Field(
        (),
        description="What else to say of each image, joined by commas: seen adds the pixels that the network "
        "saw, steps how it was prepared, step by step as pictures, for at most 16 images",
    )


@dataclass(frozen=True)
class Endpoints:
    """Models, predictions and probabilities."""

    registry: Registry
    http: HttpPipeline
    default: str
    """Name of the model for those who have no reason for another; it need not be served."""

    def operations(self) -> list[Operation]:
        """Describe every endpoint."""
        return [
            Operation(
                name="list models",
                method="GET",
                path="/v1/models",
                summary="List what is served",
                handle=self.models,
                answers={content_types.JSON: schemas.Models},
            ),
            Operation(
                name="describe model",
                method="GET",
                path="/v1/models/{model}",
                summary="Describe a model: layers and parameters, labels, metrics",
                handle=self.model,
                answers={content_types.JSON: schemas.ModelSummary},
            ),
            Operation(
                name="predict",
                method="POST",
                path="/v1/models/{model}/predict",
                summary="Name what every image shows",
                handle=self.http.endpoint(self.predict),
                right=Right.PREDICT,
                answers={content_types.JSON: schemas.Predictions},
                errors=(408, 413, 415, 422, 504),
                options=AnswerOptions,
                body=examples.image_bodies(),
            ),
            Operation(
                name="probabilities",
                method="POST",
                path="/v1/models/{model}/probabilities",
                summary="Give the probability of every class for every image; as npy if the Accept header "
                "asks for application/x-npy",
                handle=self.http.endpoint(self.probabilities),
                right=Right.PREDICT,
                answers={
                    content_types.JSON: schemas.Probabilities,
                    content_types.NPY: "[images, classes], float32; Inkling-Model and Inkling-Version say of whom",
                },
                errors=(408, 413, 415, 422, 504),
                options=AnswerOptions,
                body=examples.image_bodies(),
            ),
        ]

    async def models(self, request: Request, options: Options) -> Response:
        """Answer `GET /v1/models`: every name, described by its newest version."""
        del request, options
        newest = {model.name: model for model in self.registry.models()}
        default = self.default if self.default in newest else None
        models = [self._summary(model) for model in newest.values()]
        return json_response({"default": default, "models": models})

    async def model(self, request: Request, options: Options) -> Response:
        """Answer `GET /v1/models/{model}`."""
        del options
        return json_response(self._summary(self.http.find_model(request)))

    def predict(
        self, raw: RawRequest, model: Model, options: AnswerOptions
    ) -> PredictionRequest[RawResponse]:
        """Ask what `POST …/predict` answers."""
        return self._question(raw, model, options, prediction_json.labels, AS_JSON)

    def probabilities(
        self, raw: RawRequest, model: Model, options: AnswerOptions
    ) -> PredictionRequest[RawResponse]:
        """Ask what `POST …/probabilities` answers."""
        question = self._question(raw, model, options, prediction_json.probabilities, _JSON_OR_NPY)
        if not content_types.is_accepted(content_types.NPY, raw.header(b"accept")):
            return question
        if options.include:
            raise MalformedRequest("Query 'include'", f"left out of an answer as {content_types.NPY}", "one")
        return question._replace(encode=_write_npy)

    def _question(
        self,
        raw: RawRequest,
        model: Model,
        options: AnswerOptions,
        describe: prediction_json.Describe,
        headers: Headers,
    ) -> PredictionRequest[RawResponse]:
        top, include = options.top, options.include
        traces: list[Trace] | None = [] if "steps" in include else None

        def encode(prediction: Prediction) -> RawResponse:
            return RawResponse(
                prediction_json.encode(prediction, describe, top, "seen" in include, traces), headers
            )

        content_type = raw.headers.get(b"content-type", b"")
        drawings = content_types.decode(content_type, raw.body, model.shape, self.http.limits)
        if not include:
            return PredictionRequest(drawings, encode, options.prepare)
        image_bytes = costs.image_cost(
            math.prod(model.shape),
            len(model.manifest.labels),
            seen="seen" in include,
            pictures=0 if traces is None else _STEPS_BYTES,
        )
        return PredictionRequest(drawings, encode, options.prepare, traces=traces, image_bytes=image_bytes)

    def _summary(self, model: Model) -> dict[str, Any]:
        manifest = model.manifest
        return {
            "name": model.name,
            "version": model.version,
            "versions": [other.version for other in self.registry.models() if other.name == model.name],
            "ready": True,
            "description": manifest.description,
            "input": model.shape,
            "labels": manifest.labels,
            "layers": [
                {
                    "name": layer.name,
                    "inputs": layer.inputs,
                    "units": layer.units,
                    "activation": layer.activation,
                    "parameters": layer.parameters,
                }
                for layer in manifest.layers
            ],
            "parameters": manifest.parameters,
            "temperature": manifest.temperature,
            "certainty": manifest.certainty and manifest.certainty.model_dump(),
            "metrics": [metric.model_dump() for metric in manifest.metrics],
            "finished": manifest.making.finished,
        }


_STEPS_BYTES = 3 * LARGEST**2 * 3
"""Pixels of the steps of one image at most: three in colours, or nine in grey."""

_JSON_OR_NPY = (*AS_JSON, *VARY_ACCEPT)


def _write_npy(prediction: Prediction) -> RawResponse:
    model = prediction.model
    headers = (
        (b"content-type", content_types.NPY.encode()),
        (b"inkling-model", model.name.encode()),
        (b"inkling-version", model.version.encode()),
        *VARY_ACCEPT,
    )
    return RawResponse(arrays.write_npy(prediction.scores.probabilities), headers)
