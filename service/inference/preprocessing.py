"""Preprocessing: converts images, picture files and strokes to the model's input shape.

Models of 28 x 28 use `mnist`, models of colour photographs use `photo`. Other models accept arrays only,
without preprocessing.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Drawing, Drawings, Limits, Shape
from service.codecs.pictures import header, image_files
from service.core.drawing import mnist, photo
from service.core.drawing.steps import StepRecorder
from service.core.errors import MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.wording import shape_text
from service.memory.budget import Budget

Preprocessing = Literal["none", "mnist"]

_DIGIT_SHAPE = (mnist.SIDE, mnist.SIDE)

_QUICK_POINTS = 400
"""Points of a drawing that is checked and rendered in well under 1 ms; a digit has about 60."""

_QUICK_BYTES = 320_000
"""Size in bytes of the decoded pixels of a picture that is preprocessed on the event loop: 280 x 280
pixels of RGBA take 313,600. docs/decisions/0028-small-images-on-the-event-loop.md."""

_MAX_RECORDED = 16
"""Images in one request whose preprocessing steps are returned. The largest step of 97 photographs of flowers
took 127 KB of the response; that of noise, which no compression shrinks, 314 KB."""


def is_quick(drawings: Drawings, mode: Preprocessing | None) -> bool:
    """Return whether preprocessing is quick enough for the event loop: 4 ms at most.

    docs/decisions/0028-small-images-on-the-event-loop.md
    """
    if isinstance(drawings, np.ndarray):
        return mode != "mnist"
    if len(drawings) > 1:
        return False
    content = drawings[0].content
    if isinstance(content, list):
        return sum(map(len, content)) <= _QUICK_POINTS
    weight = header.decoded_bytes(content) if isinstance(content, bytes) else None
    return weight is not None and weight <= _QUICK_BYTES


def prepare(
    drawings: Drawings,
    shape: Shape,
    limits: Limits,
    mode: Preprocessing | None,
    recorders: list[StepRecorder] | None = None,
    budget: Budget | None = None,
) -> NDArray[np.uint8]:
    """Convert drawings to the model's input shape.

    Args:
        drawings: Images, picture files or strokes, as decoded from the request.
        shape: Shape of one input image of the model.
        limits: Limits of one request.
        mode: `mnist`: preprocess all images. `none`: use all images unchanged. None: use images that already
            have the model's shape unchanged, and preprocess all others; image files on a light background are
            always preprocessed.
        recorders: List to which the steps of each image are added; None is quicker.
        budget: Memory budget from which decoding a picture file acquires; None acquires nothing.

    Returns:
        (B, *shape) uint8.

    Raises:
        BrokenPicture: A picture file cannot be decoded.
        PayloadTooLarge: The pictures have too many pixels in total, one has a side that is too long, or
            there are too many images for `recorders`.
        TooManyBytes: Decoding a picture takes more memory than is available now.
        BlankImage: An image has no drawn pixels.
        TensorMismatch: Another size or strokes with `none`, or a kind of drawing that cannot be preprocessed
            for the model.
        MalformedRequest: `mnist` for a model whose images are not 28 x 28.
    """
    if mode == "mnist" and shape != _DIGIT_SHAPE:
        expected = f"none, or left out, for a model of {shape_text(shape)} numbers an image"
        raise MalformedRequest("Query 'prepare'", expected, "'mnist'")
    if recorders is not None and len(drawings) > _MAX_RECORDED:
        raise PayloadTooLarge("Batch with include=steps", _MAX_RECORDED, "images", f"{len(drawings):,}")
    if isinstance(drawings, np.ndarray):
        if mode != "mnist" and recorders is None:
            return drawings
        drawings = [Drawing(f"Image {row}", image) for row, image in enumerate(drawings)]
    images = []
    pixels_left = limits.picture_pixels
    for drawing in drawings:
        content = drawing.content
        recorder = None
        if recorders is not None:
            recorder = StepRecorder()
            recorders.append(recorder)
        if isinstance(content, bytes):
            image, pixels = _from_file(content, drawing.field, shape, pixels_left, mode, recorder, budget)
            pixels_left -= pixels
        elif isinstance(content, list):
            image = _from_strokes(content, drawing.field, shape, mode, recorder)
        elif mode == "mnist":
            image = mnist.from_picture(content, drawing.field, recorder)
        else:
            image = _unchanged(content, recorder)
        images.append(image)
    return images[0][None] if len(images) == 1 else np.stack(images)


def _from_file(
    data: bytes,
    field: str,
    shape: Shape,
    max_pixels: int,
    mode: Preprocessing | None,
    recorder: StepRecorder | None,
    budget: Budget | None,
) -> tuple[NDArray[np.uint8], int]:
    """Return a picture file in the model's input shape, and its number of pixels."""
    if shape == photo.SHAPE:
        return image_files.read_photo(data, field, max_pixels, mode != "none", recorder, budget)
    if shape != _DIGIT_SHAPE:
        raise TensorMismatch(field, f"{shape_text(shape)} numbers for this model", "a picture file")
    picture, pixels = image_files.read_grey(data, field, max_pixels, budget)
    if picture.size == shape[::-1] and mode != "mnist":
        grey = np.asarray(picture)
        if mode == "none" or not _has_light_background(grey):
            return _unchanged(grey, recorder), pixels
    if mode == "none":
        raise TensorMismatch(field, f"{shape_text(shape)} pixels", shape_text(picture.size))
    return mnist.from_picture(picture, field, recorder), pixels


def _unchanged(image: NDArray[np.uint8], recorder: StepRecorder | None) -> NDArray[np.uint8]:
    """Return an image as it is; as a preprocessing step only if it is a picture."""
    if recorder is not None and image.shape in (_DIGIT_SHAPE, photo.SHAPE):
        recorder.add("taken", image)
    return image


def _has_light_background(grey: NDArray[np.uint8]) -> bool:
    """Return whether a picture's border is mostly light; training images have a dark background."""
    return bool(np.median(np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))) > 127)


def _from_strokes(
    strokes: list[NDArray[np.float64]],
    field: str,
    shape: Shape,
    mode: Preprocessing | None,
    recorder: StepRecorder | None,
) -> NDArray[np.uint8]:
    if shape != _DIGIT_SHAPE:
        other = "numbers or a picture file" if shape == photo.SHAPE else "numbers"
        raise TensorMismatch(field, f"{shape_text(shape)} {other} for this model", "strokes")
    if mode == "none":
        raise TensorMismatch(field, f"{shape_text(shape)} pixels", "strokes")
    return mnist.from_strokes(strokes, field, recorder)
