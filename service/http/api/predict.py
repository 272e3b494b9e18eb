"""Endpoints under `/v1/models`: the list of models, predictions, probabilities."""

from __future__ import annotations  # else each request evaluates the annotations of nested functions

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import arrays, content_types
from service.codecs.drawings import file_names
from service.core.drawing.steps import LARGEST, StepRecorder
from service.core.errors import MalformedRequest
from service.http.api import examples, schemas
from service.http.messages import prediction_json
from service.http.messages.responses import AS_JSON, VARY_ACCEPT, Headers, RawResponse, json_response
from service.http.routing.operations import Operation
from service.http.routing.options import CommaSeparated, Options
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference.admission.keys import Right
from service.inference.models import request_body
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction
from service.inference.preprocessing import Findings, Preprocessing
from service.memory import costs


class PredictionOptions(Options):
    """Query parameters of every operation that predicts: preprocessing and number of top classes."""

    top: int = Field(3, ge=1, le=1000, description="Number of top classes to return for each image")
    prepare: Preprocessing = Field(
        "auto",
        description="Preprocessing. auto: use an image of 28 x 28 unchanged if it is like MNIST's (black "
        "background, larger side about 20, centre of mass in the middle), and preprocess all others; image "
        "files for a model of photographs are always preprocessed. mnist: preprocess every image as the "
        "MNIST images were. none: use every image unchanged; it must have the model's shape",
    )


class IncludeOptions(PredictionOptions):
    """Query parameters of `predict` and `probabilities`."""

    include: CommaSeparated[Literal["seen", "steps"]] = Field(
        (),
        description="Members to add to each prediction, comma-separated. seen: the preprocessed pixels. "
        "steps: the preprocessing steps as pictures, for at most 16 images",
    )


@dataclass(frozen=True)
class Endpoints:
    """HTTP endpoints for models, predictions and probabilities.

    Attributes:
        registry: The models that are served.
        http: The prediction pipeline.
        default: Name of the recommended model; it need not be served.
    """

    registry: Registry
    http: HttpPipeline
    default: str

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [
            Operation(
                name="list models",
                method="GET",
                path="/v1/models",
                summary="List the models",
                description="Returns the version of each model that answers without a version in the path: "
                "the newest, or the pinned one. `default` is the name of the recommended model.",
                handle=self.models,
                responses={content_types.JSON: schemas.Models},
            ),
            Operation(
                name="describe model",
                method="GET",
                path="/v1/models/{model}",
                summary="Describe a model",
                description="Returns input shape, labels, layers, number of parameters and measured metrics.",
                handle=self.model,
                responses={content_types.JSON: schemas.ModelSummary},
            ),
            Operation(
                name="predict",
                method="POST",
                path="/v1/models/{model}/predict",
                summary="Classify images",
                description="Returns the top classes of each image with their probabilities, and whether the "
                "model is sure. Images are JSON numbers, strokes, an array, or image files.",
                limits=self.http.describe_limits(),
                handle=self.http.endpoint(self.predict),
                right=Right.PREDICT,
                responses={content_types.JSON: schemas.Predictions},
                errors=(408, 413, 415, 422, 504),
                options=IncludeOptions,
                body=examples.image_bodies(),
            ),
            Operation(
                name="probabilities",
                method="POST",
                path="/v1/models/{model}/probabilities",
                summary="Return the probability of every class",
                description="Returns what `predict` returns, and the probability of every class for each "
                "image. With the header `Accept: application/x-npy` the response is a NumPy array of the "
                "probabilities.",
                limits=self.http.describe_limits(),
                handle=self.http.endpoint(self.probabilities),
                right=Right.PREDICT,
                responses={
                    content_types.JSON: schemas.Probabilities,
                    content_types.NPY: "[images, classes], float32; the headers Inkling-Model and "
                    "Inkling-Version name the model",
                },
                errors=(408, 413, 415, 422, 504),
                options=IncludeOptions,
                body=examples.image_bodies(),
            ),
        ]

    async def models(self, request: Request, options: Options) -> Response:
        """Handle `GET /v1/models`."""
        del request, options
        newest = {model.name: model for model in self.registry.defaults()}
        default = self.default if self.default in newest else None
        models = [self._summary(model) for model in newest.values()]
        return json_response({"default": default, "models": models})

    async def model(self, request: Request, options: Options) -> Response:
        """Handle `GET /v1/models/{model}`."""
        del options
        return json_response(self._summary(self.http.find_model(request)))

    def predict(
        self, raw: RawRequest, model: Model, options: IncludeOptions
    ) -> PredictionRequest[RawResponse]:
        """Parse `POST …/predict`."""
        return self._parse(raw, model, options, prediction_json.labels, AS_JSON)

    def probabilities(
        self, raw: RawRequest, model: Model, options: IncludeOptions
    ) -> PredictionRequest[RawResponse]:
        """Parse `POST …/probabilities`."""
        request = self._parse(raw, model, options, prediction_json.probabilities, _JSON_OR_NPY)
        if not content_types.is_accepted(content_types.NPY, raw.header(b"accept")):
            return request
        if options.include:
            raise MalformedRequest("Query 'include'", f"absent for a response as {content_types.NPY}", "one")
        return request._replace(encode=_write_npy)

    def _parse(
        self,
        raw: RawRequest,
        model: Model,
        options: IncludeOptions,
        members: prediction_json.Members,
        headers: Headers,
    ) -> PredictionRequest[RawResponse]:
        top, include = options.top, options.include
        recorders: list[StepRecorder] | None = [] if "steps" in include else None
        findings = Findings()

        def encode(prediction: Prediction) -> RawResponse:
            body = prediction_json.encode(
                prediction, members, top, "seen" in include, recorders, findings, files
            )
            return RawResponse(body, headers)

        content_type = raw.headers.get(b"content-type", b"")
        is_blank_allowed = options.prepare == "none"
        drawings = request_body.decode(content_type, raw.body, model, self.http.limits, is_blank_allowed)
        files = file_names(drawings)
        if not include and not files:
            return PredictionRequest(drawings, encode, options.prepare, findings=findings)
        image_bytes = costs.image_cost(
            model.input_bytes,
            len(model.manifest.labels),
            seen="seen" in include,
            text=prediction_json.longest(files),
            pictures=0 if recorders is None else _STEPS_BYTES,
        )
        return PredictionRequest(
            drawings, encode, options.prepare, recorders=recorders, findings=findings, image_bytes=image_bytes
        )

    def _summary(self, model: Model) -> dict[str, Any]:
        manifest = model.manifest
        limits = self.http.limits.of(model.shape)
        return {
            "name": model.name,
            "version": model.version,
            "versions": [other.version for other in self.registry.models() if other.name == model.name],
            "ready": True,
            "description": manifest.description,
            "input": model.shape,
            "dtype": manifest.input.dtype,
            "preprocessing": model.preprocessing,
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
            "explainable": bool(model.layers),
            "temperature": manifest.temperature,
            "certainty": manifest.certainty and manifest.certainty.model_dump(),
            "metrics": [metric.model_dump() for metric in manifest.metrics],
            "finished": manifest.making.finished,
            "limits": {
                "images": limits.images,
                "body_bytes": self.http.bodies.max_bytes,
                "picture_pixels": limits.picture_pixels,
                "points": limits.points,
            },
        }


_STEPS_BYTES = 3 * LARGEST**2 * 3
"""Upper limit of the pixels of the steps of one image in bytes: three pictures in colour, or nine in grey."""

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
