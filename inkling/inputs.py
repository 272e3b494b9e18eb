"""Converts what people have (arrays, pictures, paths, strokes, data frames) into the service's drawings."""

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from service.codecs import arrays
from service.codecs.drawings import Drawing, Drawings, Limits, Shape
from service.codecs.json import strokes
from service.core.errors import MalformedRequest, TensorMismatch
from service.core.wording import quote, shape_text

CHUNK = 1024
"""Images that are converted and predicted at once."""

LIMITS = Limits(images=2**62, picture_pixels=16_000_000, points=10_000)
"""Limits in process: any number of images; for each picture and drawing the defaults of the service."""

_CHANNELS = (1, 3, 4)


class DataFrame(Protocol):
    """A data frame of pandas or Polars."""

    @property
    def columns(self) -> Any: ...  # noqa: ANN401, D102 - an Index of pandas, a list of Polars

    def __getitem__(self, name: Any) -> Any: ...  # noqa: ANN401 - a name or a list of names; a column or a frame

    def to_numpy(self) -> NDArray[Any]: ...  # noqa: D102 - as both libraries define it


Item: TypeAlias = NDArray[Any] | Image.Image | bytes | str | os.PathLike[str] | Mapping[str, Any]
"""One image: an array, a Pillow image, the bytes or the path of a picture file, or `{"strokes": [...]}`."""

Strokes: TypeAlias = Sequence[Sequence[Sequence[float]]]
"""One drawing: a list of strokes, each a list of points [x, y]; y points down."""

Images: TypeAlias = Item | Sequence[Item] | Strokes | DataFrame
"""One image or many. An array of the model's shape is one image, with an axis more it is several: uint8 with
ink 255 on 0, or floats 0..1. A uint8 array of any other shape is a picture, (H, W) or (H, W, 3), or several.
A data frame has one column a pixel, or pictures in the column `image`."""


def chunks(images: Images, shape: Shape, limits: Limits = LIMITS, size: int = CHUNK) -> Iterator[Drawings]:
    """Yield images in groups, as the service decodes them from a request.

    Args:
        images: One image or many.
        shape: Shape of one image of the model.
        limits: Limits of one picture or drawing.
        size: Number of images in a group.

    Yields:
        (B, *shape) uint8, or drawings that need preprocessing. Files are read when their group is yielded.

    Raises:
        MalformedRequest: An input is none of the accepted kinds, or has the wrong shape, dtype or range.
        TensorMismatch: An array is neither an image of the model nor a picture.
        PayloadTooLarge, BlankImage: Strokes have too many points, or none.
        OSError: A file cannot be read.
    """
    found = _array_or_items(images, shape)
    if not isinstance(found, list):
        yield from _array_chunks(found, shape, size)
        return
    for start in range(0, len(found), size):
        group = found[start : start + size]
        if all(isinstance(item, np.ndarray) and item.shape == shape for item in group):
            yield arrays.to_images(np.stack(group), shape, limits, start)
        else:
            yield [_drawing(item, start + row, shape, limits) for row, item in enumerate(group)]


def count(images: Images, shape: Shape) -> int:
    """Return the number of images; raises as `chunks`."""
    found = _array_or_items(images, shape)
    if isinstance(found, list):
        return len(found)
    return 1 if math.prod(found.shape) == math.prod(shape) else len(found)


def png_of(picture: Image.Image) -> bytes:
    """Return a Pillow image as a PNG file, with its EXIF orientation."""
    stream = io.BytesIO()
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        picture = picture.convert("RGB")
    picture.save(stream, "PNG", compress_level=1, exif=picture.getexif())
    return stream.getvalue()


def _array_or_items(images: Images, shape: Shape) -> NDArray[Any] | list[Any]:
    """Return one array of images of the model's shape, or a list of single inputs."""
    if isinstance(images, np.ndarray):
        return images if _is_of(images, shape) else _pictures(images, shape)
    if hasattr(images, "columns") and hasattr(images, "to_numpy"):
        return _from_frame(images, shape)
    if isinstance(images, bytes | str | os.PathLike | Mapping | Image.Image):
        return [images]
    if not isinstance(images, list | tuple):
        raise MalformedRequest("Images", "arrays, pictures, paths, strokes or a data frame", _kind(images))
    if not images:
        raise MalformedRequest("Images", "at least one", "none")
    if _is_strokes(images):
        return [{"strokes": images}]
    if isinstance(images[0], list | tuple) and not _is_strokes(images[0]):
        return _array_or_items(_numbers(images), shape)
    return [image for item in images for image in _single(item, shape)]


def _is_of(array: NDArray[Any], shape: Shape) -> bool:
    """Return whether an array has the numbers of one image of the model, or of several."""
    size = math.prod(shape)
    return array.size == size or (array.ndim > 1 and math.prod(array.shape[1:]) == size)


def _pictures(array: NDArray[Any], shape: Shape) -> list[Any]:
    """Return the pictures in an array that is not of the model's shape."""
    is_colour = array.ndim > 2 and array.shape[-1] in _CHANNELS
    axes = array.ndim - is_colour
    if array.dtype != np.uint8 or axes not in (2, 3) or not array.size:
        expected = f"{shape_text(shape)} numbers an image, or uint8 pictures"
        raise TensorMismatch("Array", expected, f"{array.dtype} of shape {array.shape}")
    return [array] if axes == 2 else list(array)


def _array_chunks(array: NDArray[Any], shape: Shape, size: int) -> Iterator[NDArray[np.uint8]]:
    if array.size == math.prod(shape):
        yield arrays.to_images(array, shape, LIMITS)
        return
    for start in range(0, max(1, len(array)), size):
        yield arrays.to_images(array[start : start + size], shape, LIMITS, start)


def _from_frame(frame: Any, shape: Shape) -> NDArray[Any] | list[Any]:  # noqa: ANN401 - a `DataFrame`
    """Return the images of a data frame: the column `image`, or one column a pixel beside a `label`."""
    names = list(frame.columns)
    if "image" in names:
        return _array_or_items(list(frame["image"]), shape)
    pixels = [name for name in names if name != "label"]
    size = math.prod(shape)
    if len(pixels) != size:
        expected = f"{size:,} columns of pixels, or a column 'image'"
        raise MalformedRequest("Data frame", expected, f"{len(pixels):,} columns")
    return np.asarray(frame[pixels].to_numpy()).reshape(-1, size)


def _is_strokes(value: object) -> bool:
    """Return whether a value is a list of strokes: lists, or (n, 2) arrays, of points."""
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_stroke, value))


def _is_stroke(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 2 and value.shape[1] == 2
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_point, value))


def _is_point(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and not isinstance(value[0], list | tuple)


def _numbers(nested: Any) -> NDArray[Any]:  # noqa: ANN401 - lists of any depth
    try:
        array = np.array(nested)
    except ValueError as error:
        raise MalformedRequest("Images", "lists of equal lengths", "lists of different lengths") from error
    if array.dtype.kind not in "buif":
        raise MalformedRequest("Images", "lists of numbers", f"lists of {array.dtype}")
    is_bytes = array.dtype.kind in "ui" and array.size > 0 and array.min() >= 0 and array.max() <= 255
    return array.astype(np.uint8) if is_bytes else array


def _single(item: object, shape: Shape) -> list[Any]:
    """Return the images of one list item; a row of numbers of the model's shape is one input."""
    if isinstance(item, np.ndarray):
        if item.size == math.prod(shape):
            return [item.reshape(shape)]
        return _pictures(item, shape)
    if isinstance(item, list | tuple):
        return [{"strokes": item}] if _is_strokes(item) else [_numbers(item).reshape(shape)]
    return [item]


def _drawing(item: Any, row: int, shape: Shape, limits: Limits) -> Drawing:  # noqa: ANN401 - an `Item`
    """Return one input as a drawing."""
    name = f"Image {row}"
    if isinstance(item, Mapping) and "bytes" in item:  # as Hugging Face's data sets have pictures
        item = item["bytes"] if item["bytes"] is not None else item.get("path")
    if isinstance(item, Mapping) and set(item) == {"strokes"}:
        return Drawing(name, strokes.read(_plain(item["strokes"]), limits))
    if isinstance(item, bytes):
        return Drawing(name, item)
    if isinstance(item, Image.Image):
        return Drawing(name, png_of(item))
    if isinstance(item, np.ndarray):
        if item.shape == shape:
            return Drawing(name, arrays.to_images(item, shape, limits, row)[0])
        if item.ndim == 2:
            return Drawing(name, item)
        return Drawing(name, png_of(Image.fromarray(item.squeeze(-1) if item.shape[-1] == 1 else item)))
    if isinstance(item, str | os.PathLike):
        return _from_file(Path(item), limits)
    raise MalformedRequest(name, "an array, a picture, a path or {'strokes': …}", _kind(item))


def _plain(value: Any) -> Any:  # noqa: ANN401 - strokes of any kind
    """Return strokes as lists of lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _from_file(path: Path, limits: Limits) -> Drawing:
    """Return the drawing in a file: strokes in `.json`, otherwise a picture."""
    content = path.read_bytes()
    name = f"File {str(path)!r}"
    if path.suffix.lower() != ".json":
        return Drawing(name, content)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(name, "JSON", "something else") from error
    if not isinstance(document, dict) or "strokes" not in document:
        raise MalformedRequest(name, "a JSON object with strokes", quote(document))
    return Drawing(name, strokes.read(document["strokes"], limits))


def _kind(value: object) -> str:
    return type(value).__name__
