"""Endpoints of the weights of a model: JSON, npy and PNG, rendered once per version and cached."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.core.artifact.manifest import Layer
from service.core.errors import UnknownLayer
from service.core.network.weight_images import Palette
from service.http.api import schemas, weight_rendering
from service.http.api.weight_rendering import Rendering
from service.http.messages import conditional
from service.http.messages.cache_keys import Key, version_of
from service.http.messages.response_cache import ResponseCache
from service.http.routing.operations import Operation
from service.http.routing.options import Options
from service.http.routing.predict_endpoint import HttpPipeline
from service.inference.models.model import Model

_PNG = "image/png"

_IMMUTABLE = "max-age=31536000, immutable"

_VARY = {"Vary": "Accept"}
_NO_HEADERS: Mapping[str, str] = {}


class PictureOptions(Options):
    """Query parameters of pictures of weights."""

    scale: int | None = Field(
        None,
        ge=1,
        le=32,
        description="Enlargement: side of one weight in pixels. Default: 8, or less for large pictures",
    )
    palette: Palette | None = Field(
        None,
        description="Colours. lesson: green and purple. safe: blue and orange, for colour-blind readers. "
        "With either, weights of red, green and blue are three images, one below the other. "
        "colour (default): one image in colour; for images without colours the same as lesson",
    )


@dataclass(frozen=True)
class Endpoints:
    """The endpoints under `…/weights`.

    Attributes:
        http: Finds models.
        cache: Renders and caches the bodies.
    """

    http: HttpPipeline
    cache: ResponseCache

    def operations(self) -> list[Operation]:
        """Return the operations; a more specific path precedes a more general one."""
        return [
            Operation(
                name="list weights",
                method="GET",
                path="/v1/models/{model}/weights",
                summary="List the layers of a model",
                description="Returns shape and range of the weights of each layer.",
                handle=self.layers,
                responses={content_types.JSON: schemas.WeightLayers},
            ),
            Operation(
                name="unit image",
                method="GET",
                path="/v1/models/{model}/weights/{layer}/{unit}.png",
                summary="Return the weights of one unit as an image",
                description="Returns the weights of a unit of the first layer as a PNG of the input shape.",
                handle=self.picture,
                responses={_PNG: "The image, RGBA"},
                errors=(504,),
                options=PictureOptions,
            ),
            Operation(
                name="layer image",
                method="GET",
                path="/v1/models/{model}/weights/{layer}.png",
                summary="Return the weights of a layer as an image",
                description="Returns a PNG: a grid with an image for each unit of the first layer, or the "
                "weight matrix of a deeper layer.",
                handle=self.picture,
                responses={_PNG: "The image, RGBA"},
                errors=(504,),
                options=PictureOptions,
            ),
            Operation(
                name="layer weights",
                method="GET",
                path="/v1/models/{model}/weights/{layer}",
                summary="Return the weight matrix of a layer",
                description="Returns the matrix as JSON, or as NumPy array with the header "
                "`Accept: application/x-npy`.",
                handle=self.matrix,
                responses={
                    content_types.JSON: schemas.Weights,
                    content_types.NPY: "[inputs, units], float32",
                },
                errors=(504,),
            ),
        ]

    async def layers(self, request: Request, options: Options) -> Response:
        """Handle `GET …/weights`."""
        del options
        model = self.http.find_model(request)
        rendering = weight_rendering.layer_list(model)
        return await self._respond(request, Key("weights", version_of(model)), rendering, content_types.JSON)

    async def matrix(self, request: Request, options: Options) -> Response:
        """Handle `GET …/weights/{layer}`."""
        del options
        model = self.http.find_model(request)
        layer = _layer(request, model)
        if content_types.is_accepted(content_types.NPY, request.headers.get("accept")):
            content_type, rendering = content_types.NPY, weight_rendering.matrix_npy(model, layer)
        else:
            content_type, rendering = content_types.JSON, weight_rendering.matrix_json(model, layer)
        key = Key("matrix", version_of(model), (content_type, layer.name))
        return await self._respond(request, key, rendering, content_type, _VARY)

    async def picture(self, request: Request, options: PictureOptions) -> Response:
        """Handle `GET …/weights/{layer}.png` and `GET …/weights/{layer}/{unit}.png`."""
        model = self.http.find_model(request)
        layer = _layer(request, model)
        unit = request.path_params.get("unit")
        if unit is None:
            picture = weight_rendering.layer_picture(model, layer, options.palette)
        else:
            picture = weight_rendering.unit_picture(model, layer, unit, options.palette)
        scale = weight_rendering.scale_of(options.scale, picture.size)
        details = (layer.name, *(() if unit is None else (int(unit),)), scale, picture.palette)
        key = Key("weights png", version_of(model), details)
        return await self._respond(request, key, picture.png(layer, scale), _PNG)

    async def _respond(
        self,
        request: Request,
        key: Key,
        rendering: Rendering,
        content_type: str,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Response:
        # A published version never changes; the newest version may be another one tomorrow.
        cache_control = _IMMUTABLE if "version" in request.path_params else "no-cache"
        return await conditional.respond(
            request,
            self.cache,
            key,
            rendering.render,
            rendering.cost_bytes,
            content_type,
            {**headers, "Cache-Control": cache_control},
        )


def _layer(request: Request, model: Model) -> Layer:
    name = request.path_params["layer"]
    for layer in model.manifest.layers:
        if layer.name == name:
            return layer
    raise UnknownLayer(model.name, name, list(model.layers))
