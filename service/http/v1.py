"""Inkling's own interface: models and predictions. Each endpoint is a translation."""

from __future__ import annotations  # of functions that are made anew for every request

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import MalformedRequest
from service.core.trace import LARGEST, Trace
from service.http import array_body, examples, schemas, wire
from service.http.answering import Answering, Posted, Question, Reply
from service.http.headers import Headers
from service.http.operations import Operation, Options, Words
from service.http.preparation import Preparation
from service.inference import costs
from service.inference.admission.keys import Right
from service.serving.predictor import Prediction
from service.serving.registry import Model, Registry


class PredictionOptions(Options):
    """How images are taken and how much is said of each."""

    top: int = Field(3, ge=1, le=1000, description="How many of the likeliest classes to name")
    prepare: Preparation = Field(
        "auto",
        description="auto uses a 28 x 28 image unchanged if it is as MNIST's (black background, larger side "
        "20, centre of mass in the middle) and prepares everything else; mnist prepares every image; none "
        "uses every image unchanged. A model of photographs prepares every picture file, unless none says "
        "that it has the model's size already",
    )


class AnswerOptions(PredictionOptions):
    """How a prediction is asked for."""

    include: Words[Literal["seen", "steps"]] = Field(
        (),
        description="What else to say of each image, joined by commas: seen adds the pixels that the network "
        "saw, steps how it was prepared, step by step as pictures, for at most 16 images",
    )


@dataclass(frozen=True)
class Endpoints:
    """Models, predictions and probabilities."""

    registry: Registry
    answering: Answering
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
                answers={wire.JSON: schemas.Models},
            ),
            Operation(
                name="describe model",
                method="GET",
                path="/v1/models/{model}",
                summary="Describe a model: layers and parameters, labels, metrics",
                handle=self.model,
                answers={wire.JSON: schemas.ModelSummary},
            ),
            Operation(
                name="predict",
                method="POST",
                path="/v1/models/{model}/predict",
                summary="Name what every image shows",
                handle=self.answering.asking(self.predict),
                right=Right.PREDICT,
                answers={wire.JSON: schemas.Predictions},
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
                handle=self.answering.asking(self.probabilities),
                right=Right.PREDICT,
                answers={
                    wire.JSON: schemas.Probabilities,
                    wire.NPY: "[images, classes], float32; Inkling-Model and Inkling-Version say of whom",
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
        return wire.respond({"default": default, "models": models})

    async def model(self, request: Request, options: Options) -> Response:
        """Answer `GET /v1/models/{model}`."""
        del options
        return wire.respond(self._summary(self.answering.find(request)))

    def predict(self, posted: Posted, model: Model, options: AnswerOptions) -> Question[Reply]:
        """Ask what `POST …/predict` answers."""
        return self._question(posted, model, options, wire.labels, wire.AS_JSON)

    def probabilities(self, posted: Posted, model: Model, options: AnswerOptions) -> Question[Reply]:
        """Ask what `POST …/probabilities` answers."""
        question = self._question(posted, model, options, wire.probabilities, _JSON_OR_NPY)
        if not wire.asks_for(wire.NPY, posted.header(b"accept")):
            return question
        if options.include:
            raise MalformedRequest("Query 'include'", f"left out of an answer as {wire.NPY}", "one")
        return question._replace(encode=_write_npy)

    def _question(
        self,
        posted: Posted,
        model: Model,
        options: AnswerOptions,
        describe: wire.Describe,
        headers: Headers,
    ) -> Question[Reply]:
        top, include = options.top, options.include
        traces: list[Trace] | None = [] if "steps" in include else None
        changed: list[int] = []

        def encode(prediction: Prediction) -> Reply:
            return Reply(wire.encode(prediction, describe, top, "seen" in include, traces, changed), headers)

        content_type = posted.headers.get(b"content-type", b"")
        is_bare = options.prepare == "none"
        drawings = wire.decode(content_type, posted.body, model.shape, self.answering.limits, is_bare)
        if not include:
            return Question(drawings, encode, options.prepare, changed=changed)
        image_bytes = costs.image_cost(
            math.prod(model.shape),
            len(model.manifest.labels),
            seen="seen" in include,
            pictures=0 if traces is None else _STEPS_BYTES,
        )
        return Question(
            drawings, encode, options.prepare, traces=traces, changed=changed, image_bytes=image_bytes
        )

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

_JSON_OR_NPY = (*wire.AS_JSON, *wire.VARY_ACCEPT)


def _write_npy(prediction: Prediction) -> Reply:
    model = prediction.model
    headers = (
        (b"content-type", wire.NPY.encode()),
        (b"inkling-model", model.name.encode()),
        (b"inkling-version", model.version.encode()),
        *wire.VARY_ACCEPT,
    )
    return Reply(array_body.write_npy(prediction.scores.probabilities), headers)
