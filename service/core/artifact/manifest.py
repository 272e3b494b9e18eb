"""What `manifest.json` says: who a network is, how it was made, what was measured."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from service.core.errors import ManifestInvalid

INPUT_NAME = "image"
LOGITS_NAME = "logits"
PROBABILITIES_NAME = "probabilities"

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.json"

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"
_DIGEST_PATTERN = r"^[0-9a-f]{64}$"

Digest = Annotated[str, Field(pattern=_DIGEST_PATTERN)]


class Part(BaseModel):
    """Refuses what it does not know, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tensor(Part):
    """An input or output: the batch axis is -1, the others are fixed."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...] = Field(min_length=2)


class Rounding(Part):
    """How a layer computes in whole numbers, from uint8 by int8 to int32."""

    step: str = Field(
        description="Initializer of model.onnx, float32, [units]: what one of a unit's sum stands for; "
        "powers of two but in the last layer"
    )
    given: str | None = Field(
        description="Initializer of model.onnx, float32, []: what one of the uint8 that go out stands for, "
        "a power of two; null in the last layer, whose sums go out as they are"
    )


class Layer(Part):
    """One dense layer: activation(weight @ x + bias)."""

    name: str = Field(pattern=NAME_PATTERN, description="Its name in the paths of the interface")
    inputs: int = Field(gt=0)
    units: int = Field(gt=0)
    activation: Literal["relu", "none"]
    weight: str = Field(
        description="Initializer of model.onnx, float32, [units, inputs]; if rounded int8, [inputs, units]"
    )
    bias: str = Field(description="Initializer of model.onnx, float32, [units]; if rounded int32")
    rounding: Rounding | None = Field(default=None, description="Null: it computes in floats")

    @property
    def parameters(self) -> int:
        """How many numbers the layer learns: weights and biases."""
        return self.inputs * self.units + self.units


class DataSource(Part):
    """A data set that the network was fitted or measured on."""

    name: str
    split: str
    examples: int = Field(gt=0)
    sha256: Digest = Field(description="Of the uncompressed pixels and labels, in this order")


class Measurement(Part):
    """An accuracy and the conditions it was measured under."""

    fit: Literal["published", "lesson", "held-out"] = Field(
        description="published: this very network; lesson: the same recipe fitted on the lesson's "
        "split for its figures only; held-out: the same recipe fitted without some donors of drawings, "
        "for figures on people whom it has not met"
    )
    data: str = Field(description="Name of the data set")
    split: str = Field(description="train, valid, test, or what else the data is cut into")
    examples: int = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1, description="One fit a seed")
    accuracy: float = Field(ge=0, le=1, description="Share of right answers, mean over the seeds")
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


class Share(Part):
    """How many images of one kind were sure, and which images they were."""

    images: str = Field(description="What they show and where they come from")
    examples: int = Field(gt=0)
    share: float = Field(ge=0, le=1, description="Of them, how many were sure")


class Certainty(Part):
    """From where on an answer is sure, and what that was measured to keep and to let pass."""

    score: Literal["energy"] = Field(
        description="energy: temperature * log(sum(exp(logits / temperature))), in double precision"
    )
    threshold: float = Field(description="An answer whose score is at least this is sure")
    kept: tuple[Share, ...] = Field(min_length=1, description="Images that show one of the labels")
    passed: tuple[Share, ...] = Field(min_length=1, description="Images that show none of them")


class Making(Part):
    """How, where and with what the network was made."""

    finished: str = Field(description="UTC, ISO 8601")
    seconds: float = Field(ge=0, description="Wall-clock time of the published fit")
    seed: int
    hardware: str
    threads: int = Field(gt=0)
    commit: str = Field(description="Of the repository; ends in -dirty where files had changed")
    libraries: dict[str, str] = Field(description="Name to version")


class Manifest(Part):
    """Everything about a published network that is not its weights."""

    format: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    description: str
    sha256: dict[str, Digest] = Field(description="Of model.onnx and golden.json")
    input: Tensor
    outputs: tuple[Tensor, Tensor] = Field(description="logits and probabilities")
    labels: tuple[str, ...] = Field(min_length=2)
    layers: tuple[Layer, ...] = Field(min_length=1, description="From input to output")
    parameters: int = Field(gt=0)
    temperature: float = Field(
        default=1.0, gt=0, description="What the graph divides logits by before the softmax"
    )
    certainty: Certainty | None = Field(
        default=None, description="Null: answers do not say whether they are sure"
    )
    opset: int = Field(gt=0)
    recipe: dict[str, JsonValue] = Field(description="Every number of the run")
    data: tuple[DataSource, ...]
    making: Making
    metrics: tuple[Measurement, ...]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        classes = len(self.labels)
        expected = Tensor(name=INPUT_NAME, dtype="uint8", shape=(-1, *self.input.shape[1:]))
        if self.input != expected or min(self.input.shape[1:]) < 1:
            raise ValueError(f"input should be {INPUT_NAME}, uint8, [-1, ...]; got {self.input}")
        for name, tensor in zip((LOGITS_NAME, PROBABILITIES_NAME), self.outputs, strict=True):
            if tensor != Tensor(name=name, dtype="float32", shape=(-1, classes)):
                raise ValueError(f"output should be {name}, float32, [-1, {classes}]; got {tensor}")
        widths = [int(np.prod(self.input.shape[1:])), *(layer.units for layer in self.layers)]
        if [layer.inputs for layer in self.layers] != widths[:-1] or widths[-1] != classes:
            raise ValueError(f"layers should lead from {widths[0]} inputs to {classes} classes")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise ValueError("layers should have different names")
        if len({layer.rounding is None for layer in self.layers}) > 1:
            raise ValueError("layers should be rounded, all or none")
        rounded = [layer.rounding.given is None for layer in self.layers if layer.rounding]
        if rounded and rounded != [False] * (len(self.layers) - 1) + [True]:
            raise ValueError("rounded layers should give whole numbers, all but the last")
        if rounded and any(layer.activation != "relu" for layer in self.layers[:-1]):
            raise ValueError("rounded layers should be rectified, all but the last: uint8 ends at 0")
        if sum(layer.parameters for layer in self.layers) != self.parameters:
            raise ValueError("parameters should be the sum over the layers")
        json.dumps(self.recipe, allow_nan=False)  # raises a ValueError of its own
        if set(self.sha256) != {MODEL_FILE, GOLDEN_FILE}:
            raise ValueError(f"sha256 should name {MODEL_FILE} and {GOLDEN_FILE}")
        return self


def schema() -> str:
    """Return the manifest's JSON schema, as it stands in `models/manifest.schema.json`."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    document |= Manifest.model_json_schema()
    return json.dumps(document, indent=2) + "\n"


def parse(identity: str, content: bytes) -> Manifest:
    """Read a manifest.

    Args:
        identity: `name/version`, for messages.
        content: The file.

    Raises:
        ManifestInvalid: It is no manifest, or contradicts itself.
    """
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ManifestInvalid(identity, f"{MANIFEST_FILE}, {first_mistake(error)}.") from error


def complete(content: Mapping[str, Any], version: str, digests: Mapping[str, str]) -> Manifest:
    """Return a manifest from its content but for the version and the digests, and these.

    Raises:
        ManifestInvalid: It would be no manifest, or contradict itself.
    """
    try:
        return Manifest.model_validate({**content, "version": version, "sha256": digests})
    except ValidationError as error:
        raise ManifestInvalid("manifest", f"{first_mistake(error)}.") from error


def first_mistake(error: ValidationError) -> str:
    """Say where the first mistake is and what it is."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    return f"{where[:100]}: {first['msg'][:300]}"


def write(manifest: Manifest) -> bytes:
    """Return the file: what was set, so that a manifest of an older form stays the file that it was."""
    return (manifest.model_dump_json(indent=2, exclude_unset=True) + "\n").encode()
