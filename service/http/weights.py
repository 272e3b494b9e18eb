"""What a network has learnt: its matrices as numbers and as pictures."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.core import insight
from service.core.errors import MalformedRequest, UnknownLayer, UnknownUnit
from service.http import array_body, picture_body, schemas, wire
from service.http.answering import Answering
from service.http.operations import Operation, Options
from service.serving.registry import Model

_FOREVER = "public, max-age=31536000, immutable"

_VARY = {"Vary": "Accept"}

_USUAL_SCALE = 8

_MOST_PIXELS = 16_000_000
"""Pixels of a picture that we draw: 64 MB, and about a second of work."""


class PictureOptions(Options):
    """How a weight image is asked for."""

    scale: int | None = Field(
        None,
        ge=1,
        le=32,
        description="Side of what one number makes, in pixels; 8 unless that makes too large a picture, "
        "then less",
    )
    palette: insight.Palette | None = Field(
        None,
        description="lesson is green and purple; safe is blue and orange, for everyone's eyes. Weights of "
        "red, green and blue are three such images, one below the other, or with colour one image in the "
        "colours that speak for the unit. Usually colour, which is lesson where there are no colours",
    )


@dataclass(frozen=True)
class Endpoints:
    """Everything under `…/weights`."""

    answering: Answering

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
                answers={wire.JSON: schemas.WeightLayers},
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
                answers={wire.JSON: schemas.Weights, wire.NPY: "[inputs, units], float32"},
                errors=(504,),
            ),
        ]

    async def layers(self, request: Request, options: Options) -> Response:
        """Answer `GET …/weights`."""
        del options
        model = self.answering.find(request)
        layers = [
            {
                "name": name,
                "shape": weight.shape,
                "minimum": weight.min(),
                "maximum": weight.max(),
                "images": _shows_images(name, model),
            }
            for name, weight in ((name, layer.weight) for name, layer in model.layers.items())
        ]
        return wire.respond({"model": model.name, "version": model.version, "layers": layers})

    async def matrix(self, request: Request, options: Options) -> Response:
        """Answer `GET …/weights/{layer}`."""
        del options
        model = self.answering.find(request)
        name, weights = _layer(request, model)
        if wire.asks_for(wire.NPY, request.headers.get("accept")):
            return Response(array_body.write_npy(weights), media_type=wire.NPY, headers=_VARY)
        document = {
            "model": model.name,
            "version": model.version,
            "layer": name,
            "shape": weights.shape,
            "weights": np.ascontiguousarray(weights),
        }
        body = await self.answering.workers.run(lambda: wire.dump_json(document))
        return Response(body, media_type=wire.JSON, headers=_VARY)

    async def unit_png(self, request: Request, options: PictureOptions) -> Response:
        """Answer `GET …/weights/{layer}/{unit}.png`."""
        model = self.answering.find(request)
        name, weights = _layer(request, model)
        unit = request.path_params["unit"]
        inputs, units = weights.shape
        if not _shows_images(name, model):
            raise UnknownUnit(
                name, f"of a layer whose inputs are pixels, {inputs} numbers are no image", unit
            )
        if not (unit.isascii() and unit.isdecimal() and len(unit) < 10 and int(unit) < units):
            raise UnknownUnit(name, f"a whole number 0..{units - 1}", unit)
        shape = model.manifest.input.shape[1:]
        palette = _palette(options, shape)
        image = weights[:, int(unit)].reshape(shape)
        size = insight.image_size(shape, palette)
        return await self._png(request, options, size, lambda: insight.weight_image(image, palette))

    async def layer_png(self, request: Request, options: PictureOptions) -> Response:
        """Answer `GET …/weights/{layer}.png`."""
        model = self.answering.find(request)
        name, weights = _layer(request, model)
        shape = model.manifest.input.shape[1:]
        if not _shows_images(name, model):
            palette = _palette(options, weights.shape)
            return await self._png(
                request, options, weights.shape, lambda: insight.weight_image(weights, palette)
            )
        palette = _palette(options, shape)
        size = insight.grid_size(weights.shape[1], *insight.image_size(shape, palette))
        return await self._png(
            request, options, size, lambda: insight.weight_grid(weights, shape[0], shape[1], palette)
        )

    async def _png(
        self,
        request: Request,
        options: PictureOptions,
        size: tuple[int, ...],
        draw: Callable[[], NDArray[np.uint8]],
    ) -> Response:
        scale = scale_of(options.scale, size)
        picture = await self.answering.workers.run(
            lambda: picture_body.write_png(insight.enlarge(draw(), scale))
        )
        # A published version never changes, the newest may be another one tomorrow.
        kept = _FOREVER if "version" in request.path_params else "no-cache"
        return Response(picture, media_type="image/png", headers={"Cache-Control": kept})


def _palette(options: PictureOptions, shape: tuple[int, ...]) -> insight.Palette:
    """Return the palette that was asked for, or the usual one; `colour` where there is none is `lesson`."""
    usual: insight.Palette = "colour" if len(shape) == 3 else "lesson"
    return usual if options.palette in (None, "colour") else options.palette


def scale_of(wanted: int | None, size: tuple[int, ...]) -> int:
    """Return the scale that was asked for or the usual one, if the picture is not too large then.

    Args:
        wanted: The query's; None for the usual one or the largest below it that will do.
        size: Height and width of the picture before it is enlarged, in pixels.

    Raises:
        MalformedRequest: The picture would have more than 16 million pixels.
    """
    height, width = size
    most = max(1, int((_MOST_PIXELS / (height * width)) ** 0.5))
    if wanted is not None and wanted > most:
        raise MalformedRequest("Query 'scale'", f"at most {most} for {width} x {height} numbers", str(wanted))
    return wanted or min(most, _USUAL_SCALE)


def _layer(request: Request, model: Model) -> tuple[str, NDArray[np.float32]]:
    name = request.path_params["layer"]
    if name not in model.layers:
        raise UnknownLayer(model.name, name, list(model.layers))
    return name, model.layers[name].weight


def _shows_images(layer: str, model: Model) -> bool:
    """Tell whether a layer's inputs are the pixels of an image, grey or red, green and blue."""
    shape = model.manifest.input.shape[1:]
    return layer == next(iter(model.layers)) and insight.is_picture(shape)
