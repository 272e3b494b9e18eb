"""Inkling's own interface: models, predictions, weights. Each endpoint is a translation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.core import ink, insight
from service.core.errors import UnknownLayer, UnknownUnit
from service.http import array_body, picture_body, schemas, wire
from service.http.drawings import Drawings, Limits
from service.http.gate import Gate
from service.http.observe import exchange_of
from service.http.operations import Operation, Options
from service.serving.batching import Workers
from service.serving.predictor import Predictor
from service.serving.registry import Model

_INLINE_BYTES = 16_384
"""Bodies up to this size, if they hold no picture, are answered on the event loop: at most about half a
millisecond. Measured in docs/decisions/0003-inline-or-thread.md."""

_FOREVER = "public, max-age=31536000, immutable"


class AnswerOptions(Options):
    """How a prediction is asked for."""

    top: int = Field(3, ge=1, le=1000, description="How many of the likeliest classes to name")
    prepare: wire.Preparation | None = Field(
        None,
        description="mnist prepares every image as the MNIST images were made, none takes every image "
        "as it is; without it a 28 x 28 image is taken as it is and anything else is prepared",
    )
    include: Literal["seen"] | None = Field(
        None, description="seen adds the pixels that the network saw to each entry"
    )


class PictureOptions(Options):
    """How a weight image is asked for."""

    scale: int = Field(8, ge=1, le=32, description="Side of one weight, in pixels")
    palette: insight.Palette = Field(
        "lesson", description="lesson is green and purple; safe is blue and orange, for everyone's eyes"
    )


@dataclass(frozen=True)
class Endpoints:
    """Everything under `/v1`."""

    predictor: Predictor
    workers: Workers
    gate: Gate
    limits: Limits

    def operations(self) -> list[Operation]:
        """Describe every endpoint; more special paths stand before more general ones."""
        post: dict[str, Any] = {"errors": (408, 413, 415, 422, 504), "options": AnswerOptions}
        post |= {"method": "POST", "body": image_bodies()}
        png = {"image/png": "The picture, red, green, blue and alpha"}
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
                name="predict",
                path="/v1/models/{model}/predict",
                summary="Name the digit on every image",
                handle=self.predict,
                answers={wire.JSON: schemas.Predictions},
                **post,
            ),
            Operation(
                name="probabilities",
                path="/v1/models/{model}/probabilities",
                summary="Give the probability of every class for every image",
                handle=self.probabilities,
                answers={wire.JSON: schemas.Probabilities},
                **post,
            ),
            Operation(
                name="list weights",
                method="GET",
                path="/v1/models/{model}/weights",
                summary="List the layers that have weights",
                handle=self.layers,
                answers={wire.JSON: schemas.WeightLayers},
            ),
            Operation(
                name="unit image",
                method="GET",
                path="/v1/models/{model}/weights/{layer}/{unit}.png",
                summary="Show the weights of one unit as an image",
                handle=self.unit_png,
                answers=png,
                options=PictureOptions,
            ),
            Operation(
                name="layer image",
                method="GET",
                path="/v1/models/{model}/weights/{layer}.png",
                summary="Show the weights of all units in a grid, or a deeper layer's matrix",
                handle=self.layer_png,
                answers=png,
                options=PictureOptions,
            ),
            Operation(
                name="layer weights",
                method="GET",
                path="/v1/models/{model}/weights/{layer}",
                summary="Give a layer's matrix; as npy if the Accept header asks for application/x-npy",
                handle=self.matrix,
                answers={wire.JSON: schemas.Weights, wire.NPY: "[inputs, units], float32"},
            ),
            Operation(
                name="describe model",
                method="GET",
                path="/v1/models/{model}",
                summary="Describe a model: layers and parameters, labels, metrics",
                handle=self.model,
                answers={wire.JSON: schemas.ModelSummary},
            ),
        ]

    async def models(self, request: Request, options: Options) -> Response:
        """Answer `GET /v1/models`: every name, described by its newest version."""
        del request, options
        newest = {model.name: model for model in self.predictor.models()}
        return _json({"models": [self._summary(model) for model in newest.values()]})

    async def model(self, request: Request, options: Options) -> Response:
        """Answer `GET /v1/models/{model}`."""
        del options
        return _json(self._summary(self._find(request)))

    async def predict(self, request: Request, options: AnswerOptions) -> Response:
        """Answer `POST …/predict`."""
        return await self._answer(request, options, wire.label_row)

    async def probabilities(self, request: Request, options: AnswerOptions) -> Response:
        """Answer `POST …/probabilities`."""
        return await self._answer(request, options, wire.probability_row)

    async def layers(self, request: Request, options: Options) -> Response:
        """Answer `GET …/weights`."""
        del options
        model = self._find(request)
        layers = [
            {
                "name": name,
                "shape": matrix.shape,
                "minimum": matrix.min(),
                "maximum": matrix.max(),
                "images": _shows_images(matrix, model),
            }
            for name, matrix in model.matrices.items()
        ]
        return _json({"model": model.name, "version": model.version, "layers": layers})

    async def matrix(self, request: Request, options: Options) -> Response:
        """Answer `GET …/weights/{layer}`."""
        del options
        model = self._find(request)
        name, matrix = _layer(request, model)
        if wire.NPY in request.headers.get("accept", ""):
            return Response(array_body.write_npy(matrix), media_type=wire.NPY)
        return _json(
            {
                "model": model.name,
                "version": model.version,
                "layer": name,
                "shape": matrix.shape,
                "weights": np.ascontiguousarray(matrix),
            }
        )

    async def unit_png(self, request: Request, options: PictureOptions) -> Response:
        """Answer `GET …/weights/{layer}/{unit}.png`."""
        model = self._find(request)
        name, matrix = _layer(request, model)
        unit = request.path_params["unit"]
        units = matrix.shape[1]
        if not _shows_images(matrix, model):
            expected = f"of a layer whose inputs are pixels, {matrix.shape[0]} numbers are no image"
            raise UnknownUnit(name, expected, repr(unit[:40]))
        if not (unit.isascii() and unit.isdecimal() and len(unit) < 10 and int(unit) < units):
            raise UnknownUnit(name, f"a whole number 0..{units - 1}", repr(unit[:40]))
        pixels = matrix[:, int(unit)].reshape(ink.SIDE, ink.SIDE)
        return await self._png(request, lambda: insight.weight_image(pixels, options.palette), options)

    async def layer_png(self, request: Request, options: PictureOptions) -> Response:
        """Answer `GET …/weights/{layer}.png`."""
        model = self._find(request)
        _, matrix = _layer(request, model)

        def draw() -> NDArray[np.uint8]:
            if _shows_images(matrix, model):
                return insight.weight_grid(matrix, ink.SIDE, ink.SIDE, options.palette)
            return insight.weight_image(matrix, options.palette)

        return await self._png(request, draw, options)

    async def _answer(self, request: Request, options: AnswerOptions, row: wire.Row) -> Response:
        exchange = exchange_of(request)
        model = self._find(request)
        body = await self.gate.read_body(request)
        exchange.mark("read")
        content_type = request.headers.get("content-type", "")
        shape = model.manifest.input.shape[1:]

        def decode() -> Drawings:
            exchange.mark("queue")
            drawings = wire.decode(content_type, body, shape, self.limits)
            exchange.mark("decode")
            return drawings

        def respond(drawings: Drawings) -> bytes:
            exchange.mark("queue")
            images = wire.prepare(drawings, shape, self.limits, options.prepare)
            exchange.mark("prepare")
            prediction = self.predictor.predict(model, images)
            exchange.mark("infer")
            answer = wire.encode(prediction, row, options.top, options.include == "seen")
            exchange.mark("encode")
            exchange.images = len(images)
            return answer

        if len(body) > _INLINE_BYTES:
            answer = await self.workers.run(lambda: respond(decode()))
        else:
            drawings = decode()
            quick = wire.is_quick(drawings, options.prepare)
            answer = respond(drawings) if quick else await self.workers.run(lambda: respond(drawings))
        return Response(answer, media_type=wire.JSON)

    async def _png(
        self, request: Request, draw: Callable[[], NDArray[np.uint8]], options: PictureOptions
    ) -> Response:
        picture = await self.workers.run(
            lambda: picture_body.write_png(insight.enlarge(draw(), options.scale))
        )
        # A published version never changes, the newest may be another one tomorrow.
        kept = _FOREVER if "version" in request.path_params else "no-cache"
        return Response(picture, media_type="image/png", headers={"Cache-Control": kept})

    def _find(self, request: Request) -> Model:
        model = self.predictor.find(request.path_params["model"], request.path_params.get("version"))
        exchange = exchange_of(request)
        exchange.model, exchange.version = model.name, model.version
        return model

    def _summary(self, model: Model) -> dict[str, Any]:
        manifest = model.manifest
        served = [other.version for other in self.predictor.models() if other.name == model.name]
        return {
            "name": model.name,
            "version": model.version,
            "versions": served,
            "description": manifest.description,
            "input": manifest.input.shape[1:],
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
            "metrics": [metric.model_dump() for metric in manifest.metrics],
            "finished": manifest.making.finished,
        }


def image_bodies() -> Mapping[str, Any]:
    """Document what a POST may carry, with examples that work."""
    seven = ink.from_strokes([np.array(stroke, np.float64) for stroke in _SEVEN])
    json_body = {
        "schema": {"$ref": "#/components/schemas/ImageBody"},
        "examples": {
            "strokes": {"summary": "A drawing, as strokes", "value": {"strokes": _SEVEN}},
            "image": {"summary": "28 x 28 numbers", "value": {"image": seven.tolist()}},
            "images": {"summary": "Two images, flat", "value": {"images": [seven.ravel().tolist()] * 2}},
            "unit": {
                "summary": "Numbers 0..1",
                "value": {"image": (seven / 255).round(4).ravel().tolist(), "scale": "unit"},
            },
        },
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    files = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    form = {"schema": {"type": "object", "properties": {"images": files}, "required": ["images"]}}
    return {
        wire.JSON: json_body,
        **dict.fromkeys(schemas.BINARY_BODIES, binary),
        wire.FORM: form,
    }


_SEVEN = [[[20, 20], [80, 20], [40, 110]]]


def _layer(request: Request, model: Model) -> tuple[str, NDArray[np.float32]]:
    name = request.path_params["layer"]
    if name not in model.matrices:
        raise UnknownLayer(model.name, name, list(model.matrices))
    return name, model.matrices[name]


def _shows_images(matrix: NDArray[np.float32], model: Model) -> bool:
    """Tell whether a layer's inputs are the pixels of a grey image."""
    first = matrix is next(iter(model.matrices.values()))
    return first and model.manifest.input.shape[1:] == (ink.SIDE, ink.SIDE)


def _json(document: object) -> Response:
    return Response(wire.dump_json(document), media_type=wire.JSON)
