"""Schemas of response bodies, for OpenAPI and for tests."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.codecs import content_types
from service.core.artifact.manifest import Certainty, Measurement
from service.core.artifact.report import ReportData
from service.core.drawing.steps import LARGEST
from service.core.inputs import InputPreprocessing


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClassProbability(_Schema):
    """A class and its probability."""

    label: str = Field(examples=["7"])
    probability: float = Field(ge=0, le=1.000001, examples=[0.998])


class PreprocessingStep(_Schema):
    """An image after one step of its preprocessing."""

    name: Literal["drawn", "ink", "cropped", "pen", "fitted", "centred", "taken"] = Field(
        description="drawn: the image as sent, or the strokes; ink: background 0 and ink 255; cropped: cut "
        "to the digit, or to the centre square of a photograph; pen: strokes thickened or thinned, if "
        "necessary; fitted: scaled to fit into 20 x 20; centred: centred in 28 x 28, the input; taken: "
        "the input of an image that was used unchanged, or of a photograph"
    )
    title: str = Field(description="Name of the step for display", examples=["Ink found"])
    width: int = Field(ge=1, le=LARGEST, description="Width of the picture in pixels")
    height: int = Field(ge=1, le=LARGEST, description="Height of the picture in pixels")
    picture: str = Field(
        pattern="^data:image/png;base64,",
        description="A PNG as data URL: grey, light ink on black (drawn: as sent), or a photograph in colour",
    )


class Prediction(_Schema):
    """The prediction for one image."""

    label: str = Field(description="The top class", examples=["7"])
    index: int = Field(ge=0, description="Index of the top class in the model's labels", examples=[7])
    confidence: float = Field(ge=0, le=1.000001, description="Probability of the top class", examples=[0.998])
    top: list[ClassProbability] = Field(description="The top classes, by descending probability")
    sure: bool | None = Field(
        None,
        description="Whether the image resembles the training data; false for a scribble. Absent if the "
        "model's `certainty` is null",
        examples=[True],
    )
    prepared: bool | None = Field(
        None,
        description="true for an image of 28 x 28 pixels that was preprocessed because it is not like "
        "MNIST's; absent otherwise",
        examples=[True],
    )
    file: str | None = Field(
        None,
        description="Name of the image's file in a form, at most 255 characters; absent for other bodies",
        examples=["seven.png"],
    )
    several: bool | None = Field(
        None,
        description="true for a drawing or picture that shows more than one digit; `sure` is then false, and "
        "`read` returns the digits. Absent otherwise",
        examples=[True],
    )
    unclear: Literal["other", "background", "contrast", "edge"] | None = Field(
        None,
        description="Why it is not clear which ink of a picture is the digit's; `sure` is then false. other: "
        "other ink may be the digit; background: light and dark ink are nearly equally likely, or the ink's "
        "outline is not sharp; contrast: the ink is hardly stronger than the noise; edge: the ink reaches "
        "several edges of the picture. Absent otherwise",
        examples=["background"],
    )
    seen: list[Any] | None = Field(None, description="With include=seen: the preprocessed pixels")
    steps: list[PreprocessingStep] | None = Field(
        None,
        description="With include=steps: the preprocessing steps; empty for numbers that are not a picture",
    )


class PredictionWithProbabilities(Prediction):
    """The prediction for one image, with the probability of every class."""

    probabilities: list[float] = Field(description="One per class, in the order of the model's labels")


class Predictions(_Schema):
    """The response of `predict`: one prediction per image, in order."""

    model: str
    version: str
    predictions: list[Prediction]


class ReadDigit(Prediction):
    """One digit of a number, and its prediction."""

    box: tuple[float, float, float, float] = Field(
        description="Left, top, right and bottom: pixels of a picture, or coordinates of strokes"
    )


class Reading(_Schema):
    """The response of `read`."""

    model: str
    version: str
    text: str = Field(description="The digits, with a line feed between lines", examples=["42"])
    confidence: float = Field(description="Product of the digits' confidences")
    digits: list[ReadDigit] = Field(description="From left to right, lines from top to bottom")


class Probabilities(_Schema):
    """The response of `probabilities`: one prediction per image, in order."""

    model: str
    version: str
    predictions: list[PredictionWithProbabilities]


class LayerActivations(_Schema):
    """The activations of a layer for one image."""

    layer: str = Field(examples=["hidden1"])
    values: list[float] = Field(description="One per unit, after the ReLU if the layer has one")


class Explanation(Prediction):
    """The prediction for one image, and the attribution of each pixel to the logit of a class."""

    explained: str = Field(description="Label of the class whose logit is explained", examples=["7"])
    logit: float = Field(description="The logit: the sum of all shares and the bias")
    bias: float = Field(description="The part of the logit that no pixel contributes to")
    shares: list[Any] = Field(
        description="The contribution of each pixel to the logit, nested as the model's input: rows of "
        "pixels; in colour, of red, green and blue"
    )
    activations: list[LayerActivations] | None = Field(
        None,
        description="With include=activations: every layer from input to output; the last has the logits",
    )


class Explanations(_Schema):
    """The response of `explain`: one explanation per image, in order."""

    model: str
    version: str
    predictions: list[Explanation]


class LayerSummary(_Schema):
    """A layer of a model."""

    name: str = Field(examples=["hidden1"])
    inputs: int = Field(examples=[784])
    units: int = Field(examples=[128])
    activation: str = Field(examples=["relu"])
    parameters: int = Field(examples=[100_480])


class RequestLimits(_Schema):
    """Limits of one request to a model, from the settings."""

    images: int = Field(ge=1, description="Images; a key's rate of images may allow fewer", examples=[4096])
    body_bytes: int = Field(ge=1, description="Size of the body in bytes, decompressed")
    picture_pixels: int = Field(ge=1, description="Pixels of all picture files")
    points: int = Field(ge=1, description="Points of a drawing sent as strokes")


class ModelSummary(_Schema):
    """The description of a model."""

    name: str
    version: str = Field(description="The version described: the one in the path, or the newest")
    versions: list[str] = Field(description="Every version that is served, from oldest to newest")
    ready: Literal[True] = Field(description="Always true, for clients of KServe")
    description: str = Field(examples=["Pen strokes and MNIST, int8"])
    input: list[int] = Field(
        examples=[[28, 28]], description="Shape of an image: height, width, and channels if it has any"
    )
    dtype: Literal["uint8", "float32"] = Field(
        description="uint8: images, sent as the operations that predict describe. float32: rows of as many "
        'numbers as `input` has, sent as {"row": [...]}, {"rows": [[...], ...]} or a NumPy array'
    )
    preprocessing: InputPreprocessing = Field(
        description="How drawings and picture files become the input. mnist: as the MNIST images; letters: "
        "the same, but images of 28 x 28 pixels are used unchanged; resize: the central part of a picture "
        "file, resized; none: not accepted"
    )
    labels: list[str]
    layers: list[LayerSummary]
    parameters: int
    explainable: bool = Field(
        description="Whether predictions can be explained and weights shown; false for a network with other "
        "than dense layers with ReLU, whose `layers` are empty"
    )
    temperature: float = Field(description="Divisor of the logits before the softmax")
    certainty: Certainty | None = Field(
        description="Threshold from which a prediction is sure, with its measured rates; null: predictions "
        "have no `sure`"
    )
    metrics: list[Measurement]
    finished: str = Field(description="End of the training, UTC")
    limits: RequestLimits = Field(description="Limits of one request; above them a 413")


class Models(_Schema):
    """The models that are served."""

    default: str | None = Field(
        description="Name of the recommended model; null if it is not served",
        examples=["ink"],
    )
    models: list[ModelSummary]


class WeightLayer(_Schema):
    """A layer with weights: its shape and range."""

    name: str = Field(description="Name of the layer in paths", examples=["hidden1"])
    shape: list[int] = Field(min_length=2, max_length=2, description="[inputs, units]")
    minimum: float
    maximum: float
    images: bool = Field(description="Whether the weights of each unit are available as an image")


class WeightLayers(_Schema):
    """The layers that have weights, from input to output."""

    model: str
    version: str
    layers: list[WeightLayer]


class Weights(_Schema):
    """The weight matrix of a layer."""

    model: str
    version: str
    layer: str = Field(examples=["hidden1"])
    shape: list[int] = Field(min_length=2, max_length=2, description="[inputs, units]")
    weights: list[list[float]] = Field(description="One list per input, one number per unit")


class ReportPicture(_Schema):
    """A chart of a report."""

    name: str = Field(description="Name of the chart in its path", examples=["confusion-test"])
    title: str = Field(description="Title of the chart, also its alternative text")
    light: str = Field(description="Path of the chart for a light background")
    dark: str = Field(description="Path of the chart for a dark background")


class ModelReport(ReportData):
    """The report of a model: the trainer's measurements and the charts."""

    pictures: list[ReportPicture]


class Status(_Schema):
    """Whether the service is alive or ready."""

    status: str = Field(examples=["ready"])
    models: dict[str, list[str]] | None = Field(None, description="The versions that are served, by model")


BINARY_BODIES = [
    kind for kind in content_types.CONTENT_TYPES if kind not in (content_types.JSON, content_types.FORM)
]
"""Content types of binary bodies."""
