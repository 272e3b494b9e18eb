"""Bytes to images and answers to bytes, by content type.

The only room that knows how either is spelled; each kind of body is read in a file of its own. After it
nothing knows that JSON exists; before it nothing knows what a model is.
"""

from collections.abc import Callable
from typing import Any

import orjson
from starlette.responses import Response

from service.core.errors import UnsupportedMediaType
from service.core.trace import Trace
from service.http import array_body, json_body, picture_body, steps
from service.http.drawings import Drawing, Drawings, Limits, Shape, quote
from service.serving.predictor import Prediction

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
FORM = "multipart/form-data"
PICTURES = ("image/png", "image/jpeg", "image/webp")
CONTENT_TYPES = (JSON, OCTETS, NPY, *PICTURES, FORM)


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
    limits = limits.of(shape)
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


Entry = Callable[[Prediction, int, int], dict[str, Any]]
"""What an answer says of one image: of the prediction, the image's row, and how many classes."""


def encode(
    prediction: Prediction, entry: Entry, top: int, seen: bool, traces: list[Trace] | None = None
) -> bytes:
    """Write the answer of a POST.

    Args:
        prediction: What the model said.
        entry: `label_entry` or `probability_entry`.
        top: How many of the likeliest classes to name for each image.
        seen: Whether to add the pixels that the network saw.
        traces: How each image was prepared, to be added as steps; None adds none.

    Returns:
        JSON.
    """
    entries = []
    for row in range(len(prediction.images)):
        answer = entry(prediction, row, top)
        if seen:
            answer["seen"] = prediction.images[row]
        if traces is not None:
            answer["steps"] = steps.write(traces[row])
        entries.append(answer)
    model = prediction.model
    document = {"model": model.name, "version": model.version, "predictions": entries}
    return dump_json(document)


def label_entry(prediction: Prediction, row: int, top: int) -> dict[str, Any]:
    """Name the likeliest class of one image, and the `top` likeliest with their probabilities.

    A model that can tell what it does not know also says whether it is sure.
    """
    labels = prediction.model.manifest.labels
    probabilities = prediction.scores.probabilities[row]
    best = (-probabilities).argsort(kind="stable")[:top].tolist()
    likeliest = best[0]
    answer = {
        "label": labels[likeliest],
        "index": likeliest,
        "confidence": probabilities[likeliest],
        "top": [{"label": labels[index], "probability": probabilities[index]} for index in best],
    }
    if prediction.sure is not None:
        answer["sure"] = prediction.sure[row]
    return answer


def probability_entry(prediction: Prediction, row: int, top: int) -> dict[str, Any]:
    """Say what `label_entry` says, and the probability of every class."""
    answer = label_entry(prediction, row, top)
    answer["probabilities"] = prediction.scores.probabilities[row]
    return answer


def respond(document: object) -> Response:
    """Return a JSON answer with status 200."""
    return Response(dump_json(document), media_type=JSON)


def dump_json(document: object) -> bytes:
    """Write JSON; arrays become lists, float32 in as few digits as tell it from its neighbours."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
