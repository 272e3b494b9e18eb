"""Renders the weights of a model as JSON, npy and PNG, and estimates the memory that it takes."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.codecs import arrays
from service.codecs.json import documents
from service.codecs.pictures import png
from service.core.artifact.manifest import Layer
from service.core.errors import MalformedRequest, UnknownUnit
from service.core.network import weight_images
from service.core.network.weight_images import Palette
from service.inference.models.model import Model

_DEFAULT_SCALE = 8

_MOST_PIXELS = 16_000_000
"""Pixels of the largest picture."""

_BLOCK = 16_384
"""Numbers that are written as JSON at a time, in about a millisecond."""

_FIXED_COST = 2 * 2**20
"""Upper limit of the memory for any rendering, in bytes; the limits below are added to it."""

_JSON_COST = 22
"""Bytes per weight as JSON: at most 16 characters, a buffer that grows by an eighth, and a float of an int8
layer."""

_NPY_COST = 20
"""Bytes per weight as npy."""

_LIST_COST = 8
"""Bytes per weight of the largest layer for the list of layers."""

_PICTURE_COST = 8
"""Bytes per weight of a picture."""

_PIXEL_COST = 10
"""Bytes per pixel of a picture before it is enlarged, in memory and in the file."""

_ENLARGED_PER_BYTE = 32
"""Pixels of an enlarged picture per byte of the file."""


@dataclass(frozen=True)
class Rendering:
    """A body that can be rendered.

    Attributes:
        render: Returns the body.
        cost_bytes: Upper limit of the memory that it takes, the body included.
    """

    render: Callable[[], bytes]
    cost_bytes: int


def layer_list(model: Model) -> Rendering:
    """Return the list of the layers that have weights, as JSON."""

    def render() -> bytes:
        layers = []
        for name, layer in model.layers.items():
            weight = layer.weight  # an int8 layer computes it
            layers.append(
                {
                    "name": name,
                    "shape": weight.shape,
                    "minimum": weight.min(),
                    "maximum": weight.max(),
                    "images": _has_images(name, model),
                }
            )
        return documents.dump({"model": model.name, "version": model.version, "layers": layers})

    largest = max(layer.inputs * layer.units for layer in model.manifest.layers) if model.layers else 0
    return Rendering(render, _FIXED_COST + _LIST_COST * largest)


def matrix_json(model: Model, layer: Layer) -> Rendering:
    """Return the weight matrix of a layer, as JSON."""

    def render() -> bytes:
        weights = model.layers[layer.name].weight
        head = {"model": model.name, "version": model.version, "layer": layer.name, "shape": weights.shape}
        stream = io.BytesIO()
        stream.write(documents.dump(head)[:-1] + b',"weights":[')
        rows = max(1, _BLOCK // weights.shape[1])
        for top in range(0, len(weights), rows):
            text = documents.dump(np.ascontiguousarray(weights[top : top + rows]))
            stream.write(b"," if top else b"")
            stream.write(memoryview(text)[1:-1])
            time.sleep(0)  # orjson holds the GIL; give the event loop a chance to run
        stream.write(b"]}")
        return stream.getvalue()

    return Rendering(render, _FIXED_COST + _JSON_COST * layer.inputs * layer.units)


def matrix_npy(model: Model, layer: Layer) -> Rendering:
    """Return the weight matrix of a layer, as npy: (inputs, units) float32."""
    return Rendering(
        lambda: arrays.write_npy(model.layers[layer.name].weight),
        _FIXED_COST + _NPY_COST * layer.inputs * layer.units,
    )


@dataclass(frozen=True)
class Picture:
    """A picture of weights, before it is enlarged.

    Attributes:
        size: Height and width in pixels.
        palette: The colours.
        draw: Returns (height, width, 4) uint8, RGBA.
    """

    size: tuple[int, int]
    palette: Palette
    draw: Callable[[], NDArray[np.uint8]]

    def png(self, layer: Layer, scale: int) -> Rendering:
        """Return the picture of a layer, enlarged, as PNG."""
        pixels = self.size[0] * self.size[1]
        return Rendering(
            lambda: png.write_enlarged(self.draw(), scale),
            _FIXED_COST
            + _PICTURE_COST * layer.inputs * layer.units
            + _PIXEL_COST * pixels
            + pixels * scale * scale // _ENLARGED_PER_BYTE,
        )


def unit_picture(model: Model, layer: Layer, unit: str, palette: Palette | None) -> Picture:
    """Return the weights of one unit as an image of the model's input shape.

    Args:
        model: The model.
        layer: Its first layer.
        unit: Index of the unit, as text.
        palette: The requested colours; None for the default.

    Raises:
        UnknownUnit: It is not the index of a unit, or the inputs of the layer are no pixels.
    """
    if not _has_images(layer.name, model):
        expected = f"of a layer whose inputs are pixels, {layer.inputs} numbers are no image"
        raise UnknownUnit(layer.name, expected, unit)
    if not (unit.isascii() and unit.isdecimal() and len(unit) < 10 and int(unit) < layer.units):
        raise UnknownUnit(layer.name, f"a whole number 0..{layer.units - 1}", unit)
    colours = _palette(palette, model.shape)

    def draw() -> NDArray[np.uint8]:
        weights = model.layers[layer.name].weight[:, int(unit)]
        return weight_images.weight_image(weights.reshape(model.shape), colours)

    return Picture(weight_images.image_size(model.shape, colours), colours, draw)


def layer_picture(model: Model, layer: Layer, palette: Palette | None) -> Picture:
    """Return the weights of a layer: a grid of the images of all units, or the matrix for a deeper layer."""
    if not _has_images(layer.name, model):
        size = (layer.inputs, layer.units)
        colours = _palette(palette, size)
        return Picture(
            size, colours, lambda: weight_images.weight_image(model.layers[layer.name].weight, colours)
        )
    colours = _palette(palette, model.shape)
    height, width = model.shape[:2]
    return Picture(
        weight_images.grid_size(layer.units, *weight_images.image_size(model.shape, colours)),
        colours,
        lambda: weight_images.weight_grid(model.layers[layer.name].weight, height, width, colours),
    )


def scale_of(requested: int | None, size: tuple[int, ...]) -> int:
    """Return the enlargement of a picture: the side of one of its pixels.

    Args:
        requested: The requested enlargement; None for the default, 8 or the largest allowed.
        size: Height and width of the picture in pixels.

    Raises:
        MalformedRequest: The enlarged picture would have more than 16 million pixels.
    """
    height, width = size
    most = max(1, int((_MOST_PIXELS / (height * width)) ** 0.5))
    if requested is not None and requested > most:
        raise MalformedRequest(
            "Query 'scale'", f"at most {most} for {width} x {height} numbers", str(requested)
        )
    return requested or min(most, _DEFAULT_SCALE)


def _palette(requested: Palette | None, shape: tuple[int, ...]) -> Palette:
    """Return the requested palette or the default; without colours, `colour` is `lesson`."""
    default: Palette = "colour" if len(shape) == 3 else "lesson"
    return default if requested in (None, "colour") else requested


def _has_images(layer: str, model: Model) -> bool:
    """Return whether the inputs of a layer are the pixels of an image, grey or RGB."""
    shape = model.manifest.input.shape[1:]
    return layer == next(iter(model.layers)) and weight_images.is_picture(shape)
