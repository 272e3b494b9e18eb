"""Why a model says what it says: each pixel's exact share in one class's logit, as numbers or as a picture.

What a share is stands in `service/core/network/attribution.py`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service.codecs import content_types
from service.codecs.pictures import image_files
from service.core.errors import MalformedRequest
from service.core.network import attribution, weight_images
from service.core.network.attribution import Explanation
from service.core.wording import list_text, quote
from service.http.api import examples, schemas
from service.http.api.predict import PredictionOptions
from service.http.api.weights import scale_of
from service.http.messages import prediction_json
from service.http.messages.responses import AS_JSON, VARY_ACCEPT, RawResponse
from service.http.routing.operations import CommaSeparated, Operation
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference import explanation
from service.inference.admission.keys import Right
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction
from service.inference.models.model import Model

_PNG = "image/png"
_AS_PNG = ((b"content-type", _PNG.encode()), *VARY_ACCEPT)
_AS_JSON = (*AS_JSON, *VARY_ACCEPT)


class ExplainOptions(PredictionOptions):
    """How an explanation is asked for."""

    label: str | None = Field(
        None,
        description="Whose logit to explain: one of the model's labels. Without it, of each image the "
        "likeliest class's",
    )
    include: CommaSeparated[Literal["seen", "activations"]] = Field(
        (),
        description="seen adds the pixels that the network saw to each entry, activations what the units of "
        "each layer say; several have commas between them",
    )
    palette: weight_images.Palette | None = Field(
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

    http: HttpPipeline

    def operations(self) -> list[Operation]:
        """Describe the endpoint."""
        return [
            Operation(
                name="explain",
                method="POST",
                path="/v1/models/{model}/explain",
                summary="Give each pixel's exact share in the logit of a class; as a picture, of one image, "
                "if the Accept header asks for image/png",
                handle=self.http.endpoint(self.explain),
                right=Right.PREDICT,
                answers={
                    content_types.JSON: schemas.Explanations,
                    _PNG: "The shares, red, green, blue and alpha",
                },
                errors=(408, 413, 415, 422, 504),
                options=ExplainOptions,
                body=examples.image_bodies(),
            ),
        ]

    def explain(
        self, raw: RawRequest, model: Model, options: ExplainOptions
    ) -> PredictionRequest[RawResponse]:
        """Ask what `POST …/explain` answers."""
        is_picture = content_types.is_accepted(_PNG, raw.header(b"accept"))

        def encode(prediction: Prediction) -> RawResponse:
            if is_picture:
                _check_picture(prediction)
            model = prediction.model
            classes = _classes(prediction, options.label)
            explained = attribution.explain(model.layers, prediction.images, classes)
            raw.context.mark("explain")
            if is_picture:
                return RawResponse(_picture(explained, options), _AS_PNG)
            return RawResponse(_document(prediction, classes, explained, options), _AS_JSON)

        content_type = raw.headers.get(b"content-type", b"")
        drawings = content_types.decode(
            content_type, raw.body, model.shape, explanation.limits_of(self.http.limits)
        )
        return PredictionRequest(
            drawings,
            encode,
            options.prepare,
            most_inline=0 if is_picture else explanation.MOST_INLINE,
            image_bytes=explanation.image_bytes(model, seen="seen" in options.include),
        )


def _classes(prediction: Prediction, label: str | None) -> NDArray[np.intp]:
    """Return the class to explain of each image."""
    if label is None:
        return np.asarray(prediction.scores.probabilities.argmax(axis=1), np.intp)
    labels = prediction.model.manifest.labels
    if label not in labels:
        raise MalformedRequest("Query 'label'", f"one of {list_text(labels)}", quote(label))
    return np.full(len(prediction.images), labels.index(label), np.intp)


def _check_picture(prediction: Prediction) -> None:
    images = prediction.images
    if len(images) != 1:
        raise MalformedRequest("Body", "one image when the answer is a picture", f"{len(images)} images")
    if not weight_images.is_picture(images.shape[1:]):
        expected = "application/json for a model whose images are not pictures"
        raise MalformedRequest("Header 'Accept'", expected, _PNG)


def _picture(explained: Explanation, options: ExplainOptions) -> bytes:
    (shares,) = explained.shares
    scale = scale_of(options.scale, shares.shape[:2])
    palette = options.palette or "lesson"
    if palette == "colour" and shares.ndim == 2:
        palette = "lesson"
    return image_files.write_png(weight_images.enlarge(weight_images.share_image(shares, palette), scale))


def _document(
    prediction: Prediction,
    classes: NDArray[np.intp],
    explained: Explanation,
    options: ExplainOptions,
) -> bytes:
    # The last layer's sums are the logits; what is shown are those that the answer was made of.
    activations = {**explained.activations, list(explained.activations)[-1]: prediction.scores.logits}

    def describe(prediction: Prediction, top: int) -> list[str]:
        return [
            prediction_json.add(entry, **said(row))
            for row, entry in enumerate(prediction_json.labels(prediction, top))
        ]

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

    return prediction_json.encode(prediction, describe, options.top, "seen" in options.include)
