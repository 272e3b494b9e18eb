"""Encodes images as request bodies: the quickest form for each kind, divided by the limits of the service."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from PIL import Image

from inkling import inputs
from inkling.client.connection import Files
from inkling.client.responses import RequestLimits
from inkling.inputs import Images
from service.codecs import arrays, content_types
from service.codecs.drawings import Drawing, Limits, Shape

_MAX_IMAGES = 1024
"""Images of one request: larger requests are not faster, and wait longer."""

_MAX_PICTURES = 32
"""Picture files of one request; preprocessing them takes far longer than a request."""

_PART_BYTES = 200
"""Size of the headers of one part of a form, at most."""

_SIGNATURES = ((b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


@dataclass(frozen=True)
class Body:
    """A request body.

    Attributes:
        count: Number of images in it.
        headers: Its content type.
        content: The body; None for a form.
        files: The parts of a form; None otherwise.
        halves: The same images in two bodies, for a service that refuses this one as too large; empty for one
            image.
    """

    count: int
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    files: Files | None = None
    halves: Sequence["Body"] = ()


def bodies(images: Images, shape: Shape, limits: RequestLimits) -> Iterator[Body]:
    """Yield the bodies of the requests for some images, in order.

    Arrays of the model's shape are sent as `.npy` of uint8, pictures as files (several in a form), strokes as
    JSON, one drawing a request.

    Args:
        images: One image or many.
        shape: Shape of one image of the model.
        limits: Limits of one request.

    Raises:
        RequestError: An image is not valid.
        OSError: A file cannot be read.
    """
    size = min(_MAX_IMAGES, limits.images) if isinstance(images, np.ndarray) else _MAX_PICTURES
    own = Limits(images=2**62, picture_pixels=limits.picture_pixels, points=limits.points)
    for drawings in inputs.chunks(images, shape, own, size):
        if isinstance(drawings, np.ndarray):
            rows = max(1, min(limits.images, (limits.body_bytes - 1024) // max(1, drawings[0].nbytes)))
            for start in range(0, len(drawings), rows):
                yield _array(drawings[start : start + rows])
        else:
            yield from _drawings(drawings, limits)


def _array(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Body:
    middle = len(images) // 2
    return Body(
        len(images),
        {"content-type": content_types.NPY},
        arrays.write_npy(images),
        halves=_Halves(images[:middle], images[middle:]) if middle else (),
    )


class _Halves(Sequence[Body]):
    """Two halves of an array as bodies, encoded only if they are needed."""

    def __init__(self, *parts: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - as `Sequence`; slices are not needed
        return _array(self._parts[index])


def _drawings(drawings: list[Drawing], limits: RequestLimits) -> Iterator[Body]:
    files: list[bytes] = []
    size = pixels = 0
    for drawing in drawings:
        content = drawing.content
        if isinstance(content, list):
            if files:
                yield _form(files)
                files, size, pixels = [], 0, 0
            strokes = orjson.dumps({"strokes": [stroke.tolist() for stroke in content]})
            yield Body(1, {"content-type": content_types.JSON}, strokes)
            continue
        file = content if isinstance(content, bytes) else inputs.png_of(Image.fromarray(content))
        its_pixels = _pixels(file)
        is_full = (
            len(files) >= limits.images
            or size + len(file) + _PART_BYTES > limits.body_bytes - 1024
            or pixels + its_pixels > limits.picture_pixels
        )
        if files and is_full:
            yield _form(files)
            files, size, pixels = [], 0, 0
        files.append(file)
        size += len(file) + _PART_BYTES
        pixels += its_pixels
    if files:
        yield _form(files)


def _form(files: list[bytes]) -> Body:
    """Return picture files as a body: one file as it is, several as a form."""
    if len(files) == 1:
        return Body(1, {"content-type": _type_of(files[0])}, files[0])
    middle = len(files) // 2
    parts = [("image", (f"{row}", file, _type_of(file))) for row, file in enumerate(files)]
    return Body(len(files), files=parts, halves=(_form(files[:middle]), _form(files[middle:])))


def _type_of(file: bytes) -> str:
    return next((kind for start, kind in _SIGNATURES if file.startswith(start)), "image/png")


def _pixels(file: bytes) -> int:
    """Return the pixels that a picture file declares; 0 if it cannot be read, which the service reports."""
    try:
        with Image.open(io.BytesIO(file)) as picture:
            return picture.width * picture.height
    except Exception:  # Pillow raises exceptions of many types
        return 0
