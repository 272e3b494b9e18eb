"""Schema, parser and writer of `manifest.json`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from service.core.errors import ManifestInvalid
from service.core.inputs import InputPreprocessing, can_preprocess, default_preprocessing

INPUT_NAME = "image"
"""Name of the input of a network of images: uint8, [-1, ...]."""

ROW_NAME = "row"
"""Name of the input of a network of rows: float32, [-1, numbers]."""

LOGITS_NAME = "logits"
PROBABILITIES_NAME = "probabilities"

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.json"

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"
_DIGEST_PATTERN = r"^[0-9a-f]{64}$"

Digest = Annotated[str, Field(pattern=_DIGEST_PATTERN)]


class StrictModel(BaseModel):
    """Base of the schemas: immutable, and without unknown members."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tensor(StrictModel):
    """Input or output tensor; the batch axis is -1, the others are fixed."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...] = Field(min_length=2)


class Rounding(StrictModel):
    """Quantization of a layer: uint8 activations, int8 weights, int32 sums."""

    step: str = Field(
        description="Initializer of model.onnx, float32, [units]: scale of each unit's sum; powers of two "
        "except in the last layer"
    )
    given: str | None = Field(
        description="Initializer of model.onnx, float32, []: scale of the uint8 output, a power of two; "
        "null in the last layer, whose output is not quantized"
    )


class Layer(StrictModel):
    """Dense layer: activation(weight @ x + bias)."""

    name: str = Field(pattern=NAME_PATTERN, description="Name in API paths")
    inputs: int = Field(gt=0)
    units: int = Field(gt=0)
    activation: Literal["relu", "none"]
    weight: str = Field(
        description="Initializer of model.onnx, float32, [units, inputs]; quantized: int8, [inputs, units]"
    )
    bias: str = Field(description="Initializer of model.onnx, float32, [units]; quantized: int32")
    rounding: Rounding | None = Field(default=None, description="Null for a float32 layer")

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.inputs * self.units + self.units


class DataSource(StrictModel):
    """Data set that the network was trained or evaluated on."""

    name: str
    split: str
    examples: int = Field(gt=0)
    sha256: Digest = Field(description="Digest of the uncompressed pixels and labels, in this order")


class Measurement(StrictModel):
    """Accuracy of a fit on one part of a data set."""

    fit: Literal["published", "lesson", "held-out"] = Field(
        description="published: this network; lesson: the same recipe trained on the lesson's split; "
        "held-out: the same recipe trained without some donors, and evaluated on their writers"
    )
    data: str = Field(description="Name of the data set")
    split: str = Field(description="train, valid, test, or another part of the data")
    examples: int = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1, description="Seeds of the fits")
    accuracy: float = Field(ge=0, le=1, description="Accuracy, mean over the seeds")
    spread: float | None = Field(
        ge=0, description="Sample standard deviation over the seeds; null for a single seed"
    )
    loss: float = Field(ge=0, description="Cross-entropy in nats per example, mean over the seeds")
    calibration_error: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Expected calibration error over 15 bins, mean over the seeds; null: not measured",
    )


class Share(StrictModel):
    """Share of images of one kind that were classified as in distribution (sure)."""

    images: str = Field(description="Content and source of the images")
    examples: int = Field(gt=0)
    share: float = Field(ge=0, le=1, description="Share of them that were sure")


class Certainty(StrictModel):
    """Out-of-distribution threshold, and its measured acceptance rates."""

    score: Literal["energy"] = Field(
        description="energy: temperature * log(sum(exp(logits / temperature))), in float64"
    )
    threshold: float = Field(description="Predictions with at least this score are sure")
    kept: tuple[Share, ...] = Field(min_length=1, description="Rates of images that show a label")
    passed: tuple[Share, ...] = Field(min_length=1, description="Rates of images that show no label")


class Making(StrictModel):
    """Provenance of the network: time, machine, code and libraries."""

    finished: str = Field(description="UTC, ISO 8601")
    seconds: float = Field(ge=0, description="Wall-clock time of the published fit, in seconds")
    seed: int
    hardware: str
    threads: int = Field(gt=0)
    commit: str = Field(description="Commit of the repository, with the suffix -dirty if files had changed")
    libraries: dict[str, str] = Field(description="Versions by name")


class Manifest(StrictModel):
    """Description of a published network."""

    format: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    description: str
    sha256: dict[str, Digest] = Field(description="Digests of model.onnx and golden.json")
    input: Tensor = Field(
        description="image, uint8, [-1, ...]: pixels; or row, float32, [-1, n]: numbers of any range"
    )
    outputs: tuple[Tensor, Tensor] = Field(description="logits and probabilities")
    preprocessing: InputPreprocessing | None = Field(
        default=None,
        description="How drawings and picture files become the input. mnist: as the MNIST images, "
        "[-1, 28, 28] only; letters: the same, but images of 28 x 28 pixels are used unchanged; resize: the "
        "central part of a picture file, resized, [-1, height, width] or [-1, height, width, 3] only; none: "
        "numbers only. "
        "Null: mnist for [-1, 28, 28], resize for [-1, 64, 64, 3], none for others",
    )
    labels: tuple[str, ...] = Field(min_length=2)
    layers: tuple[Layer, ...] = Field(
        description="From input to output. Empty if the network has other than dense layers with ReLU: it is "
        "served with predictions alone, without explanations and weights"
    )
    parameters: int = Field(gt=0, description="Number of weights and biases")
    temperature: float = Field(default=1.0, gt=0, description="Divisor of the logits before the softmax")
    certainty: Certainty | None = Field(
        default=None, description="Null if predictions do not state whether they are sure"
    )
    opset: int = Field(gt=0)
    recipe: dict[str, JsonValue] = Field(description="Hyperparameters of the run")
    data: tuple[DataSource, ...]
    making: Making
    metrics: tuple[Measurement, ...]

    @property
    def input_preprocessing(self) -> InputPreprocessing:
        """The member `preprocessing`, or its default for the input's shape."""
        return self.preprocessing or default_preprocessing(self.input.shape[1:])

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        self._check_tensors()
        if self.layers:
            self._check_layers()
        json.dumps(self.recipe, allow_nan=False)  # raises a ValueError of its own
        if set(self.sha256) != {MODEL_FILE, GOLDEN_FILE}:
            raise ValueError(f"sha256 should name {MODEL_FILE} and {GOLDEN_FILE}")
        return self

    def _check_tensors(self) -> None:
        classes, got = len(self.labels), self.input
        shape = got.shape[1:]
        image = Tensor(name=INPUT_NAME, dtype="uint8", shape=(-1, *shape))
        row = Tensor(name=ROW_NAME, dtype="float32", shape=(-1, *shape[:1]))
        if got not in (image, row) or min(shape) < 1:
            expected = f"{INPUT_NAME}, uint8, [-1, ...], or {ROW_NAME}, float32, [-1, n]"
            raise ValueError(f"input should be {expected}; got {got}")
        if not can_preprocess(self.input_preprocessing, shape):
            expected = f"preprocessing {self.preprocessing!r} should have an input that it makes"
            raise ValueError(f"{expected}; got {list(got.shape)}")
        for name, tensor in zip((LOGITS_NAME, PROBABILITIES_NAME), self.outputs, strict=True):
            if tensor != Tensor(name=name, dtype="float32", shape=(-1, classes)):
                raise ValueError(f"output should be {name}, float32, [-1, {classes}]; got {tensor}")

    def _check_layers(self) -> None:
        classes = len(self.labels)
        widths = [int(np.prod(self.input.shape[1:])), *(layer.units for layer in self.layers)]
        if [layer.inputs for layer in self.layers] != widths[:-1] or widths[-1] != classes:
            raise ValueError(f"layers should lead from {widths[0]} inputs to {classes} classes")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise ValueError("layers should have different names")
        if len({layer.rounding is None for layer in self.layers}) > 1:
            raise ValueError("layers should be all quantized or all float32")
        rounded = [layer.rounding.given is None for layer in self.layers if layer.rounding]
        if rounded and self.input.name != INPUT_NAME:
            raise ValueError("quantized layers should have an input of pixels")
        if rounded and rounded != [False] * (len(self.layers) - 1) + [True]:
            raise ValueError("quantized layers should have an output scale, all but the last")
        if rounded and any(layer.activation != "relu" for layer in self.layers[:-1]):
            raise ValueError("quantized layers should have activation relu, all but the last")
        if sum(layer.parameters for layer in self.layers) != self.parameters:
            raise ValueError("parameters should be the sum over the layers")


def schema() -> str:
    """Return the manifest's JSON schema, as it stands in `models/manifest.schema.json`."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    document |= Manifest.model_json_schema()
    return json.dumps(document, indent=2) + "\n"


def parse(identity: str, content: bytes) -> Manifest:
    """Parse a manifest.

    Args:
        identity: `name/version`, for messages.
        content: The file.

    Raises:
        ManifestInvalid: The content is not a valid manifest.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ManifestInvalid(identity, f"{MANIFEST_FILE}, {first_error(error)}.") from error


def complete(content: Mapping[str, Any], version: str, digests: Mapping[str, str]) -> Manifest:
    """Return a manifest from its content, a version and the digests of its files.

    Raises:
        ManifestInvalid: The result is not a valid manifest.
    """
    try:
        return Manifest.model_validate({**content, "version": version, "sha256": digests})
    except ValidationError as error:
        raise ManifestInvalid("manifest", f"{first_error(error)}.") from error


def first_error(error: ValidationError) -> str:
    """Return the location and message of the first validation error."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "document"
    return f"{where[:100]}: {first['msg'][:300]}"


def write(manifest: Manifest) -> bytes:
    """Serialize a manifest. Members that were not set are omitted, so that older files stay unchanged."""
    return (manifest.model_dump_json(indent=2, exclude_unset=True) + "\n").encode()
