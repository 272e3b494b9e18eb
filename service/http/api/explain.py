"""Endpoint of explanations: the attribution of each pixel to the logit of a class, as numbers or a picture.

`service.core.network.attribution` computes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from service.codecs import content_types
from service.codecs.drawings import file_names
from service.codecs.pictures import png
from service.core.errors import MalformedRequest
from service.core.network import weight_images
from service.core.network.attribution import Explanation
from service.core.wording import list_text, quote
from service.http.api import examples, schemas
from service.http.api.predict import PredictionOptions
from service.http.api.weight_rendering import scale_of
from service.http.messages import prediction_json
from service.http.messages.responses import AS_JSON, VARY_ACCEPT, RawResponse
from service.http.routing.operations import Operation
from service.http.routing.options import CommaSeparated
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference import explanation
from service.inference.admission.keys import Right
from service.inference.models import request_body
from service.inference.models.model import Model
from service.inference.pipeline import PredictionRequest
from service.inference.predictor import Prediction
from service.inference.preprocessing import Findings

_PNG = "image/png"
_AS_PNG = ((b"content-type", _PNG.encode()), *VARY_ACCEPT)
_AS_JSON = (*AS_JSON, *VARY_ACCEPT)


class ExplainOptions(PredictionOptions):
    """Query parameters of `explain`."""

    label: str | None = Field(
        None,
        description="Label of the class whose logit to explain. Default: the top class of each image",
    )
    include: CommaSeparated[Literal["seen", "activations"]] = Field(
        (),
        description="Members to add to each prediction, comma-separated. seen: the preprocessed pixels. "
        "activations: the activations of every layer",
    )
    palette: weight_images.Palette | None = Field(
        None,
        description="Colours of a picture. lesson (default): green for the class, purple against it. safe: "
        "blue and orange, for colour-blind readers. colour: red, green and blue of a photograph separately; "
        "without it a pixel shows the sum of the three. For images without colours, colour is lesson",
    )
    scale: int | None = Field(
        None,
        ge=1,
        le=32,
        description="Enlargement of a picture: side of one pixel of the image in pixels. Default: 8, or less "
        "for large images",
    )


@dataclass(frozen=True)
class Endpoints:
    """HTTP endpoint that explains predictions.

    Attributes:
        http: The prediction pipeline.
    """

    http: HttpPipeline

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [
            Operation(
                name="explain",
                method="POST",
                path="/v1/models/{model}/explain",
                summary="Explain predictions",
                description="Returns what `predict` returns, and the exact attribution of each pixel to the "
                "logit of a class. A network with other than dense layers with ReLU is a 400. "
                "With the header `Accept: image/png` the response is a picture of the "
                "attribution, for one image.",
                limits=self.http.describe_limits(explanation.limits_of(self.http.limits)),
                handle=self.http.endpoint(self.explain),
                right=Right.PREDICT,
                responses={
                    content_types.JSON: schemas.Explanations,
                    _PNG: "The attribution, as an RGBA picture",
                },
                errors=(408, 413, 415, 422, 504),
                options=ExplainOptions,
                body=examples.image_bodies(),
            ),
        ]

    def explain(
        self, raw: RawRequest, model: Model, options: ExplainOptions
    ) -> PredictionRequest[RawResponse]:
        """Parse `POST …/explain`."""
        explanation.check_model(model)
        is_picture = content_types.is_accepted(_PNG, raw.header(b"accept"))
        findings = Findings()

        def encode(prediction: Prediction) -> RawResponse:
            if is_picture:
                _check_picture(prediction)
            label_index = _label_index(options.label, prediction.model)
            classes, explained = explanation.explain(prediction, label_index)
            raw.context.mark("explain")
            if is_picture:
                return RawResponse(_picture(explained, options), _AS_PNG)
            document = _document(prediction, classes, explained, options, findings, files)
            return RawResponse(document, _AS_JSON)

        content_type = raw.headers.get(b"content-type", b"")
        limits = explanation.limits_of(self.http.limits)
        is_blank_allowed = options.prepare == "none"
        drawings = request_body.decode(content_type, raw.body, model, limits, is_blank_allowed)
        files = file_names(drawings)
        return PredictionRequest(
            drawings,
            encode,
            options.prepare,
            most_inline=0 if is_picture else explanation.MOST_INLINE,
            findings=findings,
            image_bytes=explanation.image_bytes(
                model, seen="seen" in options.include, text=prediction_json.longest(files)
            ),
        )


def _label_index(label: str | None, model: Model) -> int | None:
    """Return the index of the label to explain; None for the top class."""
    if label is None:
        return None
    labels = model.manifest.labels
    if label not in labels:
        raise MalformedRequest("Query 'label'", f"one of {list_text(labels)}", quote(label))
    return labels.index(label)


def _check_picture(prediction: Prediction) -> None:
    images = prediction.images
    if len(images) != 1:
        raise MalformedRequest("Body", "one image when the response is a picture", f"{len(images)} images")
    if not weight_images.is_picture(images.shape[1:]):
        expected = "application/json for a model whose images are not pictures"
        raise MalformedRequest("Header 'Accept'", expected, _PNG)


def _picture(explained: Explanation, options: ExplainOptions) -> bytes:
    (shares,) = explained.shares
    scale = scale_of(options.scale, shares.shape[:2])
    palette = options.palette or "lesson"
    if palette == "colour" and shares.ndim == 2:
        palette = "lesson"
    return png.write(weight_images.enlarge(weight_images.share_image(shares, palette), scale))


def _document(
    prediction: Prediction,
    classes: NDArray[np.intp],
    explained: Explanation,
    options: ExplainOptions,
    findings: Findings,
    files: Sequence[str | None],
) -> bytes:
    # The activations of the last layer are the logits; use those from which the response was computed.
    activations = {**explained.activations, list(explained.activations)[-1]: prediction.scores.logits}

    def members(prediction: Prediction, top: int) -> list[str]:
        return [
            prediction_json.add(entry, **explained_members(row))
            for row, entry in enumerate(prediction_json.labels(prediction, top))
        ]

    def explained_members(row: int) -> dict[str, Any]:
        found = {
            "explained": prediction.model.manifest.labels[classes[row]],
            "logit": prediction.scores.logits[row, classes[row]],
            "bias": explained.bias[row],
            "shares": explained.shares[row],
        }
        if "activations" in options.include:
            found["activations"] = [
                {"layer": layer, "values": values[row]} for layer, values in activations.items()
            ]
        return found

    return prediction_json.encode(
        prediction, members, options.top, "seen" in options.include, findings=findings, files=files
    )
