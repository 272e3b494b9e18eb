"""Drawings to the model's shape: picture files are opened, and what has another shape goes through `ink`."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.core import ink
from service.core.errors import TensorMismatch
from service.http import picture_body
from service.http.drawings import Drawing, Drawings, Limits, Shape, by

Preparation = Literal["none", "mnist"]

_QUICK_POINTS = 400
"""Points of a drawing that are checked and drawn in well under a millisecond; a digit has about sixty."""


def is_quick(drawings: Drawings, preparation: Preparation | None) -> bool:
    """Tell whether preparing the drawings takes no longer than reading them did."""
    if isinstance(drawings, np.ndarray):
        return preparation != "mnist"
    strokes = drawings[0].content if len(drawings) == 1 else None
    return isinstance(strokes, list) and sum(map(len, strokes)) <= _QUICK_POINTS


def prepare(
    drawings: Drawings, shape: Shape, limits: Limits, preparation: Preparation | None
) -> NDArray[np.uint8]:
    """Bring drawings into the shape that the model takes.

    Args:
        drawings: As `decode` returned them.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.
        preparation: `mnist` prepares every image, `none` takes every image as it is, None takes as it is what
            has the model's shape and prepares everything else, a picture file on light paper too.

    Returns:
        (B, *shape) uint8.

    Raises:
        BrokenPicture: A picture cannot be read.
        PayloadTooLarge: The pictures have more pixels together than the limit.
        BlankImage: Nothing is drawn.
        TensorMismatch: Another size or strokes with `none`, or a drawing for a model whose images are
            not 28 x 28.
    """
    if isinstance(drawings, np.ndarray):
        if preparation != "mnist":
            return drawings
        drawings = [Drawing(f"Image {row}", image) for row, image in enumerate(drawings)]
    images = []
    room = limits.picture_pixels
    for drawing in drawings:
        content, wanted = drawing.content, preparation
        if isinstance(content, bytes):
            content, pixels = picture_body.read_picture(content, drawing.field, room)
            room -= pixels
            if wanted is None and _is_on_light_paper(content):
                wanted = "mnist"
        images.append(_prepare_one(content, drawing.field, shape, wanted))
    return np.stack(images)


def _is_on_light_paper(grey: NDArray[np.uint8]) -> bool:
    """Tell whether a picture's edge is mostly light; what the networks were trained on is dark there."""
    return bool(np.median(np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))) > 127)


def _prepare_one(
    content: NDArray[np.uint8] | list[NDArray[np.float64]],
    field: str,
    shape: Shape,
    preparation: Preparation | None,
) -> NDArray[np.uint8]:
    if isinstance(content, np.ndarray) and content.shape == shape and preparation != "mnist":
        return content
    if preparation == "none" or shape != (ink.SIDE, ink.SIDE):
        got = by(content.shape[1::-1]) if isinstance(content, np.ndarray) else "strokes"
        raise TensorMismatch(field, f"{by(shape)} pixels", got)
    if isinstance(content, np.ndarray):
        return ink.from_picture(content, field)
    return ink.from_strokes(content, field)
