"""Drawings to the model's shape.

For a model of 28 x 28, `ink` prepares whatever has another size, and `mnist_rule` what has this size but is
not as MNIST's; for a model of colour photographs, `photo` prepares picture files. Any other model takes
numbers alone.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.core import ink, mnist_rule, photo
from service.core.errors import MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.trace import Trace
from service.http import picture_body, picture_head
from service.http.drawings import Drawing, Drawings, Limits, Shape, by
from service.inference.budget import Budget

Preparation = Literal["auto", "mnist", "none"]

_DRAWN = (ink.SIDE, ink.SIDE)

_QUICK_POINTS = 400
"""Points of a drawing that are checked and drawn in well under a millisecond; a digit has about sixty."""

_QUICK_BYTES = 320_000
"""Bytes of pixels of a picture that is decoded and prepared on the event loop: a canvas of 280 x 280 with
colours and transparency takes 313,600. docs/decisions/0028-small-pictures-on-the-loop.md."""

_QUICK_IMAGES = 6
"""Images of 28 x 28 that are prepared on the event loop, in about 0.5 milliseconds each."""

_MOST_TRACED = 16
"""Images whose steps one answer shows. The largest step of 97 photographs of flowers was 127 KB of an
answer, that of noise, which nothing compresses, 314 KB."""


def is_quick(drawings: Drawings, preparation: Preparation | None) -> bool:
    """Tell whether the event loop can prepare the drawings without keeping others waiting.

    Four milliseconds at worst: docs/decisions/0028-small-pictures-on-the-loop.md.
    """
    if isinstance(drawings, np.ndarray):
        if preparation != "auto" or drawings.shape[1:] != _DRAWN or len(drawings) <= _QUICK_IMAGES:
            return preparation != "mnist"
        return bool(np.count_nonzero(~mnist_rule.are_as_mnist(drawings)) <= _QUICK_IMAGES)
    if len(drawings) > 1:
        return False
    content = drawings[0].content
    if isinstance(content, list):
        return sum(map(len, content)) <= _QUICK_POINTS
    weight = picture_head.weigh(content) if isinstance(content, bytes) else None
    return weight is not None and weight <= _QUICK_BYTES


def prepare(
    drawings: Drawings,
    shape: Shape,
    limits: Limits,
    preparation: Preparation | None,
    traces: list[Trace] | None = None,
    budget: Budget | None = None,
    changed: list[int] | None = None,
) -> NDArray[np.uint8]:
    """Bring drawings into the shape that the model takes.

    Args:
        drawings: As `decode` returned them.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.
        preparation: `auto` uses images of 28 x 28 unchanged that are as MNIST's and prepares everything else;
            `mnist` prepares every image; `none` uses every image unchanged. None uses arrays of the model's
            shape unchanged and treats everything else as `auto` does.
        traces: Where to add the steps of every image, in order; None shows none and is quicker.
        budget: Where the memory that decoding a picture file takes is acquired; None for nowhere.
        changed: Where to add the numbers of images of 28 x 28 that `auto` did not use unchanged; None for
            nowhere.

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
        expected = f"none, or left out, for a model of {by(shape)} numbers an image"
        raise MalformedRequest("Query 'prepare'", expected, "'mnist'")
    if traces is not None and len(drawings) > _MOST_TRACED:
        raise PayloadTooLarge("Batch with include=steps", _MOST_TRACED, "images", f"{len(drawings):,}")
    if isinstance(drawings, np.ndarray):
        if traces is None and preparation == "auto" and shape == _DRAWN:
            prepared = mnist_rule.prepare_batch(drawings)
            if changed is not None:
                changed += prepared.changed
            return prepared.images
        if traces is None and preparation != "mnist":
            return drawings
        drawings = [Drawing(f"Image {row}", image) for row, image in enumerate(drawings)]
    images = []
    room = limits.picture_pixels
    for row, drawing in enumerate(drawings):
        trace = None
        if traces is not None:
            trace = Trace()
            traces.append(trace)
        one = _prepare_one(drawing, shape, room, preparation, trace, budget)
        room -= one.file_pixels
        if one.is_changed and changed is not None:
            changed.append(row)
        images.append(one.image)
    return images[0][None] if len(images) == 1 else np.stack(images)


class _One(NamedTuple):
    """One drawing after preprocessing.

    Attributes:
        image: As the model takes it.
        is_changed: Whether it came as 28 x 28 pixels and `auto` did not use it unchanged.
        file_pixels: Pixels of the picture file that it came as; 0 for no file.
    """

    image: NDArray[np.uint8]
    is_changed: bool = False
    file_pixels: int = 0


def _prepare_one(
    drawing: Drawing,
    shape: Shape,
    room: int,
    preparation: Preparation | None,
    trace: Trace | None,
    budget: Budget | None,
) -> _One:
    content, field = drawing.content, drawing.field
    if isinstance(content, bytes):
        return _from_file(content, field, shape, room, preparation, trace, budget)
    if isinstance(content, list):
        return _One(_from_strokes(content, field, shape, preparation, trace))
    if preparation == "mnist":
        return _One(ink.from_picture(content, field, trace))
    if preparation == "auto" and shape == _DRAWN:
        return _by_rule(content, field, trace)
    return _One(_taken(content, trace))


def _from_file(
    data: bytes,
    field: str,
    shape: Shape,
    room: int,
    preparation: Preparation | None,
    trace: Trace | None,
    budget: Budget | None,
) -> _One:
    """Return a picture file as the model takes it."""
    if shape == photo.SHAPE:
        is_scaled = preparation != "none"
        image, pixels = picture_body.read_photo(data, field, room, is_scaled, trace, budget)
        return _One(image, file_pixels=pixels)
    if shape != _DRAWN:
        raise TensorMismatch(field, f"{by(shape)} numbers for this model", "a picture file")
    picture, pixels = picture_body.read_picture(data, field, room, budget)
    if picture.size == shape[::-1] and preparation != "mnist":
        grey = np.asarray(picture)
        if preparation == "none":
            return _One(_taken(grey, trace), file_pixels=pixels)
        return _by_rule(grey, field, trace)._replace(file_pixels=pixels)
    if preparation == "none":
        raise TensorMismatch(field, f"{by(shape)} pixels", by(picture.size))
    return _One(ink.from_picture(picture, field, trace), file_pixels=pixels)


def _by_rule(image: NDArray[np.uint8], field: str, trace: Trace | None) -> _One:
    """Return a grey image of any size as `auto` prepares it."""
    if image.shape != _DRAWN:
        return _One(ink.from_picture(image, field, trace))
    if mnist_rule.is_as_mnist(image):
        return _One(_taken(image, trace))
    return _One(mnist_rule.prepare(image, field, trace), is_changed=True)


def _taken(image: NDArray[np.uint8], trace: Trace | None) -> NDArray[np.uint8]:
    """Return an image as it is; numbers that are no picture have no step to show."""
    if trace is not None and image.shape in (_DRAWN, photo.SHAPE):
        trace.add("taken", image)
    return image


def _from_strokes(
    strokes: list[NDArray[np.float64]],
    field: str,
    shape: Shape,
    preparation: Preparation | None,
    trace: Trace | None,
) -> NDArray[np.uint8]:
    if shape != _DRAWN:
        other = "numbers or a picture file" if shape == photo.SHAPE else "numbers"
        raise TensorMismatch(field, f"{by(shape)} {other} for this model", "strokes")
    if preparation == "none":
        raise TensorMismatch(field, f"{by(shape)} pixels", "strokes")
    return ink.from_strokes(strokes, field, trace)
