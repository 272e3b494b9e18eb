"""Drawings to the model's shape.

For a model of 28 x 28, `ink` prepares whatever has another size; for a model of colour photographs, `photo`
prepares picture files. Any other model takes numbers alone.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Drawing, Drawings, Limits, Shape
from service.codecs.pictures import header, image_files
from service.core.drawing import mnist, photo
from service.core.drawing.steps import Trace
from service.core.errors import MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.wording import shape_text
from service.memory.budget import Budget

Preprocessing = Literal["none", "mnist"]

_DRAWN = (mnist.SIDE, mnist.SIDE)

_QUICK_POINTS = 400
"""Points of a drawing that are checked and drawn in well under a millisecond; a digit has about sixty."""

_QUICK_BYTES = 320_000
"""Bytes of pixels of a picture that is decoded and prepared on the event loop: a canvas of 280 x 280 with
colours and transparency takes 313,600. docs/decisions/0028-small-pictures-on-the-loop.md."""

_MOST_TRACED = 16
"""Images whose steps one answer shows. The largest step of 97 photographs of flowers was 127 KB of an
answer, that of noise, which nothing compresses, 314 KB."""


def is_quick(drawings: Drawings, preparation: Preprocessing | None) -> bool:
    """Tell whether the event loop can prepare the drawings without keeping others waiting.

    Four milliseconds at worst: docs/decisions/0028-small-pictures-on-the-loop.md.
    """
    if isinstance(drawings, np.ndarray):
        return preparation != "mnist"
    if len(drawings) > 1:
        return False
    content = drawings[0].content
    if isinstance(content, list):
        return sum(map(len, content)) <= _QUICK_POINTS
    weight = header.weigh(content) if isinstance(content, bytes) else None
    return weight is not None and weight <= _QUICK_BYTES


def prepare(
    drawings: Drawings,
    shape: Shape,
    limits: Limits,
    preparation: Preprocessing | None,
    traces: list[Trace] | None = None,
    budget: Budget | None = None,
) -> NDArray[np.uint8]:
    """Bring drawings into the shape that the model takes.

    Args:
        drawings: As `decode` returned them.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.
        preparation: `mnist` prepares every image, `none` takes every image as it is, None takes as it is what
            has the model's shape and prepares everything else, a picture file on light paper too.
        traces: Where to add the steps of every image, in order; None shows none and is quicker.
        budget: Where the memory that decoding a picture file takes is acquired; None for nowhere.

    Returns:
        (B, *shape) uint8.

    Raises:
        BrokenPicture: A picture cannot be read.
        PayloadTooLarge: The pictures have more pixels together than the limit, or a side too long for one;
            or there are more images than steps are shown of.
        TooManyBytes: Decoding a picture takes more memory than is left now.
        BlankImage: Nothing is drawn.
        TensorMismatch: Another size or strokes with `none`, or something that cannot be prepared for the
            model.
        MalformedRequest: `mnist` for a model whose images are not 28 x 28.
    """
    if preparation == "mnist" and shape != _DRAWN:
        expected = f"none, or left out, for a model of {shape_text(shape)} numbers an image"
        raise MalformedRequest("Query 'prepare'", expected, "'mnist'")
    if traces is not None and len(drawings) > _MOST_TRACED:
        raise PayloadTooLarge("Batch with include=steps", _MOST_TRACED, "images", f"{len(drawings):,}")
    if isinstance(drawings, np.ndarray):
        if preparation != "mnist" and traces is None:
            return drawings
        drawings = [Drawing(f"Image {row}", image) for row, image in enumerate(drawings)]
    images = []
    room = limits.picture_pixels
    for drawing in drawings:
        content = drawing.content
        trace = None
        if traces is not None:
            trace = Trace()
            traces.append(trace)
        if isinstance(content, bytes):
            image, pixels = _from_file(content, drawing.field, shape, room, preparation, trace, budget)
            room -= pixels
        elif isinstance(content, list):
            image = _from_strokes(content, drawing.field, shape, preparation, trace)
        elif preparation == "mnist":
            image = mnist.from_picture(content, drawing.field, trace)
        else:
            image = _taken(content, trace)
        images.append(image)
    return images[0][None] if len(images) == 1 else np.stack(images)


def _from_file(
    data: bytes,
    field: str,
    shape: Shape,
    room: int,
    preparation: Preprocessing | None,
    trace: Trace | None,
    budget: Budget | None,
) -> tuple[NDArray[np.uint8], int]:
    """Return a picture file as the model takes it, and how many pixels the file has."""
    if shape == photo.SHAPE:
        return image_files.read_photo(data, field, room, preparation != "none", trace, budget)
    if shape != _DRAWN:
        raise TensorMismatch(field, f"{shape_text(shape)} numbers for this model", "a picture file")
    picture, pixels = image_files.read_picture(data, field, room, budget)
    if picture.size == shape[::-1] and preparation != "mnist":
        grey = np.asarray(picture)
        if preparation == "none" or not _is_on_light_paper(grey):
            return _taken(grey, trace), pixels
    if preparation == "none":
        raise TensorMismatch(field, f"{shape_text(shape)} pixels", shape_text(picture.size))
    return mnist.from_picture(picture, field, trace), pixels


def _taken(image: NDArray[np.uint8], trace: Trace | None) -> NDArray[np.uint8]:
    """Return an image as it is; numbers that are no picture have no step to show."""
    if trace is not None and image.shape in (_DRAWN, photo.SHAPE):
        trace.add("taken", image)
    return image


def _is_on_light_paper(grey: NDArray[np.uint8]) -> bool:
    """Tell whether a picture's edge is mostly light; what the networks were trained on is dark there."""
    return bool(np.median(np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))) > 127)


def _from_strokes(
    strokes: list[NDArray[np.float64]],
    field: str,
    shape: Shape,
    preparation: Preprocessing | None,
    trace: Trace | None,
) -> NDArray[np.uint8]:
    if shape != _DRAWN:
        other = "numbers or a picture file" if shape == photo.SHAPE else "numbers"
        raise TensorMismatch(field, f"{shape_text(shape)} {other} for this model", "strokes")
    if preparation == "none":
        raise TensorMismatch(field, f"{shape_text(shape)} pixels", "strokes")
    return mnist.from_strokes(strokes, field, trace)
