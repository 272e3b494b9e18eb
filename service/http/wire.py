"""Bytes to images and answers to bytes, by content type.

The only room that knows how either is spelled; each kind of body is read in a file of its own. After it
nothing knows that JSON exists; before it nothing knows what a model is.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from service.core import ink
from service.core.errors import TensorMismatch, UnsupportedMediaType
from service.http import array_body, json_body, picture_body
from service.http.drawings import Drawing, Drawings, Limits, Shape, by, quote
from service.serving.predictor import Prediction

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
FORM = "multipart/form-data"
PICTURES = ("image/png", "image/jpeg", "image/webp")
CONTENT_TYPES = (JSON, OCTETS, NPY, *PICTURES, FORM)

Preparation = Literal["none", "mnist"]

_QUICK_POINTS = 400
"""Points of a drawing that are checked and drawn in well under a millisecond; a digit has about sixty."""


def decode(content_type: str, body: bytes, shape: Shape, limits: Limits) -> Drawings:
    """Read what a request carries.

    Args:
        content_type: The header as it came, parameters included.
        body: The whole body.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.

    Returns:
        At least one image; picture files are not opened yet, so that this is quick.

    Raises:
        UnsupportedMediaType: The content type is none of `CONTENT_TYPES`.
        MalformedRequest: The body is not what its content type says, or not of the right shape, type
            or range.
        PayloadTooLarge: More images or points than the limits allow.
        BlankImage: A drawing of no points.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        return json_body.read(body, shape, limits)
    if kind == OCTETS:
        return array_body.read_octets(body, shape, limits)
    if kind == NPY:
        return array_body.read_npy(body, shape, limits)
    if kind in PICTURES:
        return [Drawing("Body", body)]
    if kind == FORM:
        return picture_body.read_form(content_type, body, limits)
    raise UnsupportedMediaType("Content-Type", CONTENT_TYPES, quote(kind) if kind else "none")


def is_quick(drawings: Drawings, how: Preparation | None) -> bool:
    """Tell whether preparing the drawings takes no longer than reading them did."""
    if isinstance(drawings, np.ndarray):
        return how != "mnist"
    strokes = drawings[0].content if len(drawings) == 1 else None
    return isinstance(strokes, list) and sum(map(len, strokes)) <= _QUICK_POINTS


def prepare(drawings: Drawings, shape: Shape, limits: Limits, how: Preparation | None) -> NDArray[np.uint8]:
    """Bring drawings into the shape that the model takes.

    Args:
        drawings: As `decode` returned them.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.
        how: `mnist` prepares every image, `none` takes every image as it is, None takes as it is what
            has the model's shape and prepares everything else.

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
        if how != "mnist":
            return drawings
        drawings = [Drawing(f"Image {row}", image) for row, image in enumerate(drawings)]
    images = []
    room = limits.picture_pixels
    for drawing in drawings:
        content = drawing.content
        if isinstance(content, bytes):
            content, pixels = picture_body.read_picture(content, drawing.field, room)
            room -= pixels
        images.append(_prepare_one(content, drawing.field, shape, how))
    return np.stack(images)


def _prepare_one(
    content: NDArray[np.uint8] | list[NDArray[np.float64]],
    field: str,
    shape: Shape,
    how: Preparation | None,
) -> NDArray[np.uint8]:
    if isinstance(content, np.ndarray) and content.shape == shape and how != "mnist":
        return content
    if how == "none" or shape != (ink.SIDE, ink.SIDE):
        got = by(content.shape) if isinstance(content, np.ndarray) else "strokes"
        raise TensorMismatch(field, f"{by(shape)} pixels", got)
    if isinstance(content, np.ndarray):
        return ink.from_picture(content, field)
    return ink.from_strokes(content, field)


Row = Callable[[Prediction, int, int], dict[str, Any]]
"""What an answer says of one image: of the prediction, the image's row, and how many classes."""


def encode(prediction: Prediction, row: Row, top: int, seen: bool) -> bytes:
    """Write the answer of a POST.

    Args:
        prediction: What the model said.
        row: `label_row` or `probability_row`.
        top: How many of the likeliest classes to name for each image.
        seen: Whether to add the pixels that the network saw.

    Returns:
        JSON.
    """
    rows = []
    for index in range(len(prediction.images)):
        answer = row(prediction, index, top)
        if seen:
            answer["seen"] = prediction.images[index]
        rows.append(answer)
    model = prediction.model
    document = {"model": model.name, "version": model.version, "predictions": rows}
    return dump_json(document)


def label_row(prediction: Prediction, row: int, top: int) -> dict[str, Any]:
    """Name the likeliest class of one image, and the `top` likeliest with their probabilities."""
    labels = prediction.model.manifest.labels
    probabilities = prediction.scores.probabilities[row]
    best = np.argsort(-probabilities, kind="stable")[:top]
    likeliest = int(best[0])
    return {
        "label": labels[likeliest],
        "index": likeliest,
        "confidence": probabilities[likeliest],
        "top": [{"label": labels[i], "probability": probabilities[i]} for i in best],
    }


def probability_row(prediction: Prediction, row: int, top: int) -> dict[str, Any]:
    """Say what `label_row` says, and the probability of every class."""
    answer = label_row(prediction, row, top)
    answer["probabilities"] = prediction.scores.probabilities[row]
    return answer


def dump_json(document: object) -> bytes:
    """Write JSON; arrays become lists, float32 in as few digits as tell it from its neighbours."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
