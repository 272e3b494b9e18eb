"""The shapes of bodies and answers, for the description of the interface and for its tests."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.core.manifest import Certainty, Measurement
from service.core.report import Numbers
from service.core.trace import LARGEST
from service.http import wire


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Likely(_Schema):
    """A class and how likely it is."""

    label: str = Field(examples=["7"])
    probability: float = Field(ge=0, le=1.000001, examples=[0.998])


class Step(_Schema):
    """What the preparation had made of a drawing at one point."""

    name: Literal["drawn", "ink", "cropped", "pen", "fitted", "centred", "taken"] = Field(
        description="drawn: as it came, or the strokes as they lie; ink: paper is 0 and ink 255; cropped to "
        "the digit, or to a photograph's middle square; pen: strokes thickened or thinned, where they needed "
        "it; fitted into 20 x 20; centred in 28 x 28, as seen; taken: as the network sees it, where nothing "
        "else was done, or a photograph"
    )
    title: str = Field(description="The same for people", examples=["Ink found"])
    width: int = Field(ge=1, le=LARGEST, description="Of the picture, in pixels")
    height: int = Field(ge=1, le=LARGEST, description="Of the picture, in pixels")
    picture: str = Field(
        pattern="^data:image/png;base64,",
        description="A PNG, grey with light ink on black (drawn as it came), or of a photograph in colours",
    )


class Labelled(_Schema):
    """What a model says of one image."""

    label: str = Field(description="The likeliest class", examples=["7"])
    index: int = Field(ge=0, description="Its place among the model's labels", examples=[7])
    confidence: float = Field(ge=0, le=1.000001, description="Its probability", examples=[0.998])
    top: list[Likely] = Field(description="The likeliest classes, most likely first")
    sure: bool | None = Field(
        None,
        description="Whether the network knows the like of the image; a scribble should be false. "
        "Only models whose summary has a `certainty` say it",
        examples=[True],
    )
    prepared: bool | None = Field(
        None,
        description="true for a 28 x 28 image that is not as MNIST's and was prepared; left out otherwise",
        examples=[True],
    )
    seen: list[Any] | None = Field(None, description="The pixels the network saw, with include=seen")
    steps: list[Step] | None = Field(
        None,
        description="How the image was prepared, with include=steps; empty where an image is no picture",
    )


class Weighed(Labelled):
    """What a model says of one image, with the probability of every class."""

    probabilities: list[float] = Field(description="One a class, in the order of the model's labels")


class Predictions(_Schema):
    """The answer of `predict`: one entry an image, in order."""

    model: str
    version: str
    predictions: list[Labelled]


class Probabilities(_Schema):
    """The answer of `probabilities`: one entry an image, in order."""

    model: str
    version: str
    predictions: list[Weighed]


class Activations(_Schema):
    """What the units of a layer say of one image."""

    layer: str = Field(examples=["hidden1"])
    values: list[float] = Field(description="One a unit, after the rectifier where the layer has one")


class Explained(Labelled):
    """What a model says of one image, and what each pixel has to do with it."""

    explained: str = Field(description="The label whose logit is explained", examples=["7"])
    logit: float = Field(description="The sum of all shares and the bias")
    bias: float = Field(description="What the network adds by itself while the same units are switched on")
    shares: list[Any] = Field(
        description="What each pixel adds to the logit, nested as the images of the model: rows of pixels, "
        "and of red, green and blue where there are colours"
    )
    activations: list[Activations] | None = Field(
        None,
        description="Every layer from input to output, with include=activations; the last has the logits",
    )


class Explanations(_Schema):
    """The answer of `explain`: one entry an image, in order."""

    model: str
    version: str
    predictions: list[Explained]


class LayerSummary(_Schema):
    """One line of a model's table."""

    name: str
    inputs: int
    units: int
    activation: str
    parameters: int


class ModelSummary(_Schema):
    """A model, as its manifest describes it."""

    name: str
    version: str = Field(description="The version described: the newest unless one was named")
    versions: list[str] = Field(description="Every version that is served, oldest first")
    ready: Literal[True] = Field(description="It can answer, as KServe's clients ask")
    description: str
    input: list[int] = Field(description="Height and width of an image, and channels if it has any")
    labels: list[str]
    layers: list[LayerSummary]
    parameters: int
    temperature: float = Field(description="What logits are divided by before the softmax")
    certainty: Certainty | None = Field(
        description="From where on an answer is sure, and what that keeps and lets pass; null: the model's "
        "answers do not say whether they are sure"
    )
    metrics: list[Measurement]
    finished: str = Field(description="When its training ended, UTC")


class Models(_Schema):
    """Everything that is served."""

    default: str | None = Field(
        description="Model to take for who has no reason for another; null if it is not served",
        examples=["ink"],
    )
    models: list[ModelSummary]


class WeightLayer(_Schema):
    """A layer's weights, without the numbers."""

    name: str = Field(description="Stands in the other paths")
    shape: list[int] = Field(min_length=2, max_length=2, description="[inputs, units]")
    minimum: float
    maximum: float
    images: bool = Field(description="Whether each unit's weights can be shown as an image")


class WeightLayers(_Schema):
    """The layers that have weights, from input to output."""

    model: str
    version: str
    layers: list[WeightLayer]


class Weights(_Schema):
    """A layer's matrix."""

    model: str
    version: str
    layer: str
    shape: list[int] = Field(min_length=2, max_length=2, description="[inputs, units]")
    weights: list[list[float]] = Field(description="One list an input, one number a unit")


class ReportPicture(_Schema):
    """A picture of a report."""

    name: str = Field(description="Stands in its path", examples=["confusion-test"])
    title: str = Field(description="What it shows, for those who do not see it")
    light: str = Field(description="Its path, for light paper")
    dark: str = Field(description="Its path, for dark paper")


class ModelReport(Numbers):
    """What was measured of a model."""

    pictures: list[ReportPicture]


class Status(_Schema):
    """Whether the service lives or is ready."""

    status: str
    models: dict[str, list[str]] | None = Field(None, description="Versions served, by model")


class ProblemDocument(_Schema):
    """Every error has this body (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What was expected and what came")
    instance: str
    request_id: str
    error: str = Field(description="As detail; where clients of the Open Inference Protocol look")


def image_body() -> dict[str, Any]:
    """Return the JSON schema of the body of `predict`, `probabilities` and `explain` for 28 x 28 images."""
    byte = {"type": "integer", "minimum": 0, "maximum": 255}
    unit = {"type": "number", "minimum": 0, "maximum": 1}

    def image(number: dict[str, Any]) -> dict[str, Any]:
        row = {"type": "array", "items": number, "minItems": 28, "maxItems": 28}
        return {
            "anyOf": [
                {"type": "array", "items": row, "minItems": 28, "maxItems": 28, "title": "nested"},
                {"type": "array", "items": number, "minItems": 784, "maxItems": 784, "title": "flat"},
                {"type": "string", "title": "picture", "description": "A PNG, JPEG or WebP in base64"},
            ]
        }

    def body(name: str, value: dict[str, Any], scales: list[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "title": name,
            "properties": {name: value, "scale": {"enum": scales}},
            "required": [name] if "byte" in scales else [name, "scale"],
            "additionalProperties": False,
        }

    coordinate = {"type": "number", "minimum": -1e9, "maximum": 1e9}
    point = {"type": "array", "items": coordinate, "minItems": 2, "maxItems": 2}
    stroke = {"type": "array", "items": point, "minItems": 1}
    bodies = []
    for number, scale in ((byte, "byte"), (unit, "unit")):
        bodies.append(body("image", image(number), [scale]))
        many = {"type": "array", "items": image(number), "minItems": 1}
        bodies.append(body("images", many, [scale]))
    strokes = {"type": "array", "items": stroke, "minItems": 1}
    bodies.append(body("strokes", strokes, ["byte", "unit"]))
    return {"anyOf": bodies}


BINARY_BODIES = [kind for kind in wire.CONTENT_TYPES if kind not in (wire.JSON, wire.FORM)]
"""Content types whose body is bytes."""
