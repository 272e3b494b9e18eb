"""Why a model says what it says: each pixel's exact share in one class's logit, as numbers or as a picture.

What a share is stands in `service/core/explanation.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service.core import explanation, insight
from service.core.errors import MalformedRequest
from service.core.explanation import Explanation
from service.http import examples, picture_body, schemas, wire
from service.http.answering import Answering, Posted, Question, Reply
from service.http.drawings import Limits, quote
from service.http.operations import Operation, Words
from service.http.v1 import PredictionOptions
from service.http.weights import scale_of
from service.inference import costs
from service.inference.admission.keys import Right
from service.serving.predictor import Prediction
from service.serving.registry import Model

_PNG = "image/png"
_AS_PNG = ((b"content-type", _PNG.encode()), *wire.VARY_ACCEPT)
_AS_JSON = (*wire.AS_JSON, *wire.VARY_ACCEPT)


_MOST_IMAGES = 256
"""Of 28 x 28: an answer of about two megabytes. docs/decisions/0018-explanations-are-exact.md"""

MOST_INLINE = 1
"""Images that are explained on the event loop, in about a millisecond."""


class ExplainOptions(PredictionOptions):
    """How an explanation is asked for."""

    label: str | None = Field(
        None,
        description="Whose logit to explain: one of the model's labels. Without it, of each image the "
        "likeliest class's",
    )
    include: Words[Literal["seen", "activations"]] = Field(
        (),
        description="seen adds the pixels that the network saw to each entry, activations what the units of "
        "each layer say; several have commas between them",
    )
    palette: insight.Palette | None = Field(
        None,
        description="Of a picture. Usually lesson: green speaks for the class, purple against it; safe is "
        "blue and orange, for everyone's eyes. A pixel of a photograph has the sum of its red, green and "
        "blue, or with colour all three; where there are no colours, colour is lesson",
    )
    scale: int | None = Field(
        None, ge=1, le=32, description="Of a picture: side of what one pixel makes, in pixels; usually 8"
    )


@dataclass(frozen=True)
class Endpoints:
    """Everything under `…/explain`."""

    answering: Answering

    def operations(self) -> list[Operation]:
        """Describe the endpoint."""
        return [
            Operation(
                name="explain",
                method="POST",
                path="/v1/models/{model}/explain",
                summary="Give each pixel's exact share in the logit of a class; as a picture, of one image, "
                "if the Accept header asks for image/png",
                handle=self.answering.asking(self.explain),
                right=Right.PREDICT,
                answers={wire.JSON: schemas.Explanations, _PNG: "The shares, red, green, blue and alpha"},
                errors=(408, 413, 415, 422, 504),
                options=ExplainOptions,
                body=examples.image_bodies(),
            ),
        ]

    def explain(self, posted: Posted, model: Model, options: ExplainOptions) -> Question[Reply]:
        """Ask what `POST …/explain` answers."""
        is_picture = wire.asks_for(_PNG, posted.header(b"accept"))
        changed: list[int] = []

        def encode(prediction: Prediction) -> Reply:
            if is_picture:
                _check_picture(prediction)
            model = prediction.model
            classes = _classes(prediction, options.label)
            explained = explanation.explain(model.layers, prediction.images, classes)
            posted.exchange.mark("explain")
            if is_picture:
                return Reply(_picture(explained, options), _AS_PNG)
            return Reply(_document(prediction, classes, explained, options, changed), _AS_JSON)

        content_type = posted.headers.get(b"content-type", b"")
        limits = limits_of(self.answering.limits)
        is_bare = options.prepare == "none"
        drawings = wire.decode(content_type, posted.body, model.shape, limits, is_bare)
        return Question(
            drawings,
            encode,
            options.prepare,
            most_inline=0 if is_picture else MOST_INLINE,
            changed=changed,
            image_bytes=image_bytes(model, seen="seen" in options.include),
        )


def image_bytes(model: Model, seen: bool = False) -> int:
    """Return how much memory explaining one image takes, as `costs.image_cost` gives it."""
    units = sum(layer.units for layer in model.manifest.layers)
    classes = len(model.manifest.labels)
    return costs.image_cost(math.prod(model.shape), classes, seen=seen, explained=units)


def limits_of(limits: Limits) -> Limits:
    """Return how much of what the service takes at once it explains at once."""
    return replace(limits, images=min(limits.images, _MOST_IMAGES))


def _classes(prediction: Prediction, label: str | None) -> NDArray[np.intp]:
    """Return the class to explain of each image."""
    if label is None:
        return np.asarray(prediction.scores.probabilities.argmax(axis=1), np.intp)
    labels = prediction.model.manifest.labels
    if label not in labels:
        raise MalformedRequest("Query 'label'", f"one of {listed(labels)}", quote(label))
    return np.full(len(prediction.images), labels.index(label), np.intp)


def listed(labels: Sequence[str]) -> str:
    """Name labels, of very many only the first, for a message."""
    text = ", ".join(labels)
    return text if len(text) <= 200 else text[:196] + " ..."


def _check_picture(prediction: Prediction) -> None:
    images = prediction.images
    if len(images) != 1:
        raise MalformedRequest("Body", "one image when the answer is a picture", f"{len(images)} images")
    if not insight.is_picture(images.shape[1:]):
        expected = "application/json for a model whose images are not pictures"
        raise MalformedRequest("Header 'Accept'", expected, _PNG)


def _picture(explained: Explanation, options: ExplainOptions) -> bytes:
    (shares,) = explained.shares
    scale = scale_of(options.scale, shares.shape[:2])
    palette = options.palette or "lesson"
    if palette == "colour" and shares.ndim == 2:
        palette = "lesson"
    return picture_body.write_png(insight.enlarge(insight.share_image(shares, palette), scale))


def _document(
    prediction: Prediction,
    classes: NDArray[np.intp],
    explained: Explanation,
    options: ExplainOptions,
    changed: Sequence[int],
) -> bytes:
    # The last layer's sums are the logits; what is shown are those that the answer was made of.
    activations = {**explained.activations, list(explained.activations)[-1]: prediction.scores.logits}

    def describe(prediction: Prediction, top: int) -> list[str]:
        return [wire.add(entry, **said(row)) for row, entry in enumerate(wire.labels(prediction, top))]

    def said(row: int) -> dict[str, Any]:
        answer = {
            "explained": prediction.model.manifest.labels[classes[row]],
            "logit": prediction.scores.logits[row, classes[row]],
            "bias": explained.bias[row],
            "shares": explained.shares[row],
        }
        if "activations" in options.include:
            answer["activations"] = [
                {"layer": layer, "values": values[row]} for layer, values in activations.items()
            ]
        return answer

    return wire.encode(prediction, describe, options.top, "seen" in options.include, changed=changed)
