"""Weights of a model as JSON, npy and PNG; rendered once and cached, as a published version never changes."""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import arrays, content_types
from service.codecs.json import documents
from service.codecs.pictures import png
from service.core.artifact.manifest import Layer
from service.core.errors import MalformedRequest, UnknownLayer, UnknownUnit
from service.core.network import weight_images
from service.http.api import schemas
from service.http.messages import conditional
from service.http.messages.response_cache import Key, ResponseCache, version_of
from service.http.routing.operations import Operation, Options
from service.http.routing.predict_endpoint import HttpPipeline
from service.inference.models.model import Model

_FOREVER = "max-age=31536000, immutable"

_VARY = {"Vary": "Accept"}
_NO_HEADERS: Mapping[str, str] = {}

_USUAL_SCALE = 8

_MOST_PIXELS = 16_000_000
"""Pixels of the largest picture of weights."""

_BLOCK = 16_384
"""Numbers that are written as JSON at a time, in about a millisecond."""

_FIXED_COST = 2 * 2**20
_JSON_COST = 22
_NPY_COST = 20
_DRAWN_COST = 8
_PIXEL_COST = 10
_ENLARGED_PER_BYTE = 32
"""Upper limits of the memory that rendering takes, in bytes: for every rendering; for a number of a matrix
as JSON (at most 16 characters, a buffer that grows by an eighth, and a float of an int8 layer), as npy and
before it is drawn; for a pixel of a picture before it is enlarged (in memory and in the file). And the pixels
of an enlarged picture that take one more byte in the file."""


class PictureOptions(Options):
    """How a weight image is asked for."""

    scale: int | None = Field(
        None,
        ge=1,
        le=32,
        description="Side of what one number makes, in pixels; 8 unless that makes too large a picture, "
        "then less",
    )
    palette: weight_images.Palette | None = Field(
        None,
        description="lesson is green and purple; safe is blue and orange, for everyone's eyes. Weights of "
        "red, green and blue are three such images, one below the other, or with colour one image in the "
        "colours that speak for the unit. Usually colour, which is lesson where there are no colours",
    )


@dataclass(frozen=True)
class Endpoints:
    """Everything under `…/weights`.

    Attributes:
        http: Finds models.
        cache: Renders and keeps the bodies.
    """

    http: HttpPipeline
    cache: ResponseCache

    def operations(self) -> list[Operation]:
        """Describe every endpoint; more special paths stand before more general ones."""
        png = {"image/png": "The picture, red, green, blue and alpha"}
        return [
            Operation(
                name="list weights",
                method="GET",
                path="/v1/models/{model}/weights",
                summary="List the layers that have weights",
                handle=self.layers,
                answers={content_types.JSON: schemas.WeightLayers},
            ),
            Operation(
                name="unit image",
                method="GET",
                path="/v1/models/{model}/weights/{layer}/{unit}.png",
                summary="Show the weights of one unit as an image",
                handle=self.unit_png,
                answers=png,
                errors=(504,),
                options=PictureOptions,
            ),
            Operation(
                name="layer image",
                method="GET",
                path="/v1/models/{model}/weights/{layer}.png",
                summary="Show the weights of all units in a grid, or a deeper layer's matrix",
                handle=self.layer_png,
                answers=png,
                errors=(504,),
                options=PictureOptions,
            ),
            Operation(
                name="layer weights",
                method="GET",
                path="/v1/models/{model}/weights/{layer}",
                summary="Give a layer's matrix; as npy if the Accept header asks for application/x-npy",
                handle=self.matrix,
                answers={content_types.JSON: schemas.Weights, content_types.NPY: "[inputs, units], float32"},
                errors=(504,),
            ),
        ]

    async def layers(self, request: Request, options: Options) -> Response:
        """Answer `GET …/weights`."""
        del options
        model = self.http.find_model(request)
        key = Key("weights", version_of(model))
        return await self._respond(request, key, lambda: _list(model), _list_cost(model), content_types.JSON)

    async def matrix(self, request: Request, options: Options) -> Response:
        """Answer `GET …/weights/{layer}`."""
        del options
        model = self.http.find_model(request)
        layer = _layer(request, model)
        as_npy = content_types.is_accepted(content_types.NPY, request.headers.get("accept"))
        kind = content_types.NPY if as_npy else content_types.JSON
        write, cost = (_npy, _NPY_COST) if as_npy else (_json, _JSON_COST)
        return await self._respond(
            request,
            Key("matrix", version_of(model), (kind, layer.name)),
            lambda: write(model, layer.name),
            _FIXED_COST + cost * layer.inputs * layer.units,
            kind,
            _VARY,
        )

    async def unit_png(self, request: Request, options: PictureOptions) -> Response:
        """Answer `GET …/weights/{layer}/{unit}.png`."""
        model = self.http.find_model(request)
        layer = _layer(request, model)
        unit = request.path_params["unit"]
        if not _shows_images(layer.name, model):
            raise UnknownUnit(
                layer.name, f"of a layer whose inputs are pixels, {layer.inputs} numbers are no image", unit
            )
        if not (unit.isascii() and unit.isdecimal() and len(unit) < 10 and int(unit) < layer.units):
            raise UnknownUnit(layer.name, f"a whole number 0..{layer.units - 1}", unit)
        palette = _palette(options, model.shape)

        def draw() -> NDArray[np.uint8]:
            weights = model.layers[layer.name].weight[:, int(unit)]
            return weight_images.weight_image(weights.reshape(model.shape), palette)

        size = weight_images.image_size(model.shape, palette)
        return await self._png(request, layer, options.scale, size, palette, draw, int(unit))

    async def layer_png(self, request: Request, options: PictureOptions) -> Response:
        """Answer `GET …/weights/{layer}.png`."""
        model = self.http.find_model(request)
        layer = _layer(request, model)
        size: tuple[int, int] = (layer.inputs, layer.units)
        if _shows_images(layer.name, model):
            palette = _palette(options, model.shape)
            size = weight_images.grid_size(layer.units, *weight_images.image_size(model.shape, palette))

            def draw() -> NDArray[np.uint8]:
                weights = model.layers[layer.name].weight
                return weight_images.weight_grid(weights, model.shape[0], model.shape[1], palette)
        else:
            palette = _palette(options, size)

            def draw() -> NDArray[np.uint8]:
                return weight_images.weight_image(model.layers[layer.name].weight, palette)

        return await self._png(request, layer, options.scale, size, palette, draw)

    async def _png(
        self,
        request: Request,
        layer: Layer,
        wanted_scale: int | None,
        size: tuple[int, int],
        palette: weight_images.Palette,
        draw: Callable[[], NDArray[np.uint8]],
        *unit: int,
    ) -> Response:
        scale = scale_of(wanted_scale, size)
        pixels = size[0] * size[1]
        return await self._respond(
            request,
            Key(
                "weights png", version_of(self.http.find_model(request)), (layer.name, *unit, scale, palette)
            ),
            lambda: png.write_enlarged(draw(), scale),
            _FIXED_COST
            + _DRAWN_COST * layer.inputs * layer.units
            + _PIXEL_COST * pixels
            + pixels * scale * scale // _ENLARGED_PER_BYTE,
            "image/png",
        )

    async def _respond(
        self,
        request: Request,
        key: Key,
        render: Callable[[], bytes],
        cost_bytes: int,
        content_type: str,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Response:
        # A published version never changes, the newest may be another one tomorrow.
        kept = _FOREVER if "version" in request.path_params else "no-cache"
        headers = {**headers, "Cache-Control": kept}
        return await conditional.respond(request, self.cache, key, render, cost_bytes, content_type, headers)


def _list(model: Model) -> bytes:
    layers = []
    for name, layer in model.layers.items():
        weight = layer.weight  # which an int8 layer computes
        layers.append(
            {
                "name": name,
                "shape": weight.shape,
                "minimum": weight.min(),
                "maximum": weight.max(),
                "images": _shows_images(name, model),
            }
        )
    return documents.dump({"model": model.name, "version": model.version, "layers": layers})


def _list_cost(model: Model) -> int:
    return _FIXED_COST + 8 * max(layer.inputs * layer.units for layer in model.manifest.layers)


def _json(model: Model, name: str) -> bytes:
    """Write a layer's matrix as JSON, a few rows at a time."""
    weights = model.layers[name].weight
    head = {"model": model.name, "version": model.version, "layer": name, "shape": weights.shape}
    stream = io.BytesIO()
    stream.write(documents.dump(head)[:-1] + b',"weights":[')
    rows = max(1, _BLOCK // weights.shape[1])
    for top in range(0, len(weights), rows):
        text = documents.dump(np.ascontiguousarray(weights[top : top + rows]))
        stream.write(b"," if top else b"")
        stream.write(memoryview(text)[1:-1])
        time.sleep(0)  # orjson holds the interpreter's lock; lets the event loop have it
    stream.write(b"]}")
    return stream.getvalue()


def _npy(model: Model, name: str) -> bytes:
    return arrays.write_npy(model.layers[name].weight)


def _palette(options: PictureOptions, shape: tuple[int, ...]) -> weight_images.Palette:
    """Return the palette that was asked for, or the usual one; `colour` where there is none is `lesson`."""
    usual: weight_images.Palette = "colour" if len(shape) == 3 else "lesson"
    return usual if options.palette in (None, "colour") else options.palette


def scale_of(requested_output: int | None, size: tuple[int, ...]) -> int:
    """Return the scale that was asked for or the usual one, if the picture is not too large then.

    Args:
        requested_output: The query's; None for the usual one or the largest below it that will do.
        size: Height and width of the picture before it is enlarged, in pixels.

    Raises:
        MalformedRequest: The picture would have more than 16 million pixels.
    """
    height, width = size
    most = max(1, int((_MOST_PIXELS / (height * width)) ** 0.5))
    if requested_output is not None and requested_output > most:
        raise MalformedRequest(
            "Query 'scale'", f"at most {most} for {width} x {height} numbers", str(requested_output)
        )
    return requested_output or min(most, _USUAL_SCALE)


def _layer(request: Request, model: Model) -> Layer:
    name = request.path_params["layer"]
    for layer in model.manifest.layers:
        if layer.name == name:
            return layer
    raise UnknownLayer(model.name, name, list(model.layers))


def _shows_images(layer: str, model: Model) -> bool:
    """Tell whether a layer's inputs are the pixels of an image, grey or red, green and blue."""
    shape = model.manifest.input.shape[1:]
    return layer == next(iter(model.layers)) and weight_images.is_picture(shape)
