"""The shapes of the protocol's bodies and answers, for the description of the interface and for its tests."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from service.core import ink
from service.core.manifest import INPUT_NAME
from service.http import wire
from service.http.examples import SEVEN
from service.protocol.tensors import DATATYPES


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Server(_Schema):
    """The server's metadata."""

    name: str = Field(examples=["inkling"])
    version: str
    extensions: list[str] = Field(examples=[["binary_tensor_data", "classification"]])


class Live(_Schema):
    """The process answers."""

    live: bool


class Ready(_Schema):
    """Every model that should be served can answer."""

    ready: bool


class ModelReady(_Schema):
    """A model can answer."""

    name: str
    ready: bool


class TensorMetadata(_Schema):
    """An input or an output of a model."""

    name: str
    datatype: str = Field(examples=["UINT8"])
    shape: list[int] = Field(description="-1 stands for the batch", examples=[[-1, 28, 28]])


class ModelMetadata(_Schema):
    """A model's metadata."""

    name: str
    versions: list[str]
    platform: str = Field(examples=["onnx_onnxv1"])
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ConfiguredTensor(_Schema):
    """An input or an output in the words of Triton's model configuration."""

    name: str
    data_type: str = Field(examples=["TYPE_UINT8"])
    dims: list[int] = Field(description="Without the batch", examples=[[28, 28]])


class ModelConfiguration(_Schema):
    """How a model is served, in the words of Triton's model configuration."""

    name: str
    platform: str
    backend: str
    version_policy: dict[str, Any]
    max_batch_size: int = Field(gt=0, description="Images in one request")
    input: list[ConfiguredTensor]
    output: list[ConfiguredTensor]
    instance_group: list[dict[str, Any]]
    default_model_filename: str
    dynamic_batching: dict[str, Any] = Field(description="Levels of priority, and what happens in the queue")
    parameters: dict[str, Any]


class Tally(_Schema):
    """How often, and how long in all."""

    count: int = Field(ge=0)
    ns: int = Field(ge=0, description="Nanoseconds")


class BatchStatistics(_Schema):
    """What batches of one size took."""

    batch_size: int = Field(ge=1)
    compute_input: Tally
    compute_infer: Tally
    compute_output: Tally


class InferStatistics(_Schema):
    """How requests ended, and what the parts of the answered ones took."""

    success: Tally
    fail: Tally
    queue: Tally
    compute_input: Tally
    compute_infer: Tally
    compute_output: Tally


class VersionStatistics(_Schema):
    """What one version of a model was asked."""

    name: str
    version: str
    last_inference: int = Field(ge=0, description="Milliseconds since 1970; 0 before the first")
    inference_count: int = Field(ge=0, description="Images")
    execution_count: int = Field(ge=0, description="Batches")
    inference_stats: InferStatistics
    batch_stats: list[BatchStatistics]


class ModelStatistics(_Schema):
    """What models were asked since the process began, whichever interface they were asked through."""

    model_stats: list[VersionStatistics]


class OutputTensor(_Schema):
    """A tensor of an answer."""

    name: str = Field(examples=["probabilities"])
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(examples=[[1, 10]])
    data: list[Any] | None = Field(None, description="Its elements, flat; left out where they are binary")
    parameters: dict[str, Any] | None = Field(
        None, description="binary_data_size: how many bytes after the JSON are its elements"
    )


class Inferred(_Schema):
    """What a model says of tensors."""

    model_name: str
    model_version: str
    id: str | None = Field(None, description="The request's")
    outputs: list[OutputTensor]


class RepositoryEntry(_Schema):
    """A published version of a model."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(description="Why it is not served, or what is wrong with its folder; else empty")


class RepositoryIndex(RootModel[list[RepositoryEntry]]):
    """Published versions, by name and oldest first."""


def infer_bodies() -> Mapping[str, Any]:
    """Document what an inference may carry, with examples that work."""
    seven = ink.from_strokes(SEVEN)
    tensor = {"name": INPUT_NAME, "shape": [1, 28, 28], "datatype": "UINT8"}
    text: dict[str, Any] = {"type": "string"}
    parameters: dict[str, Any] = {"type": "object", "additionalProperties": True}
    whole: dict[str, Any] = {"type": "integer", "minimum": 0}
    described = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": text | {"description": "The answer repeats it"},
            "parameters": parameters
            | {
                "properties": {
                    "prepare": {
                        "enum": ["none", "auto", "mnist"],
                        "description": "mnist prepares images of any size as the MNIST images were made; "
                        "auto uses those unchanged that are so already. Without it, tensors are used as "
                        "they are",
                    },
                    "explain": {
                        "type": ["boolean", "string"],
                        "description": "true, or a label: adds the outputs shares, bias and explained",
                    },
                    "scale": {"enum": ["byte", "unit"], "description": "unit: numbers are 0..1"},
                    "timeout": whole | {"description": "Microseconds; 0 is none"},
                    "priority": whole | {"description": "1 comes first"},
                    "binary_data_output": {"type": "boolean"},
                },
            },
            "inputs": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype"],
                    "properties": {
                        "name": text,
                        "shape": {"type": "array", "items": whole},
                        "datatype": {"enum": list(DATATYPES)},
                        "data": {
                            "type": "array",
                            "description": "Its elements, flat or nested; of BYTES, picture files in base64",
                        },
                        "parameters": parameters,
                    },
                },
            },
            "outputs": {
                "type": "array",
                "description": "Which outputs; none means all",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": text, "parameters": parameters},
                },
            },
        },
    }
    examples = {
        "tensor": {
            "summary": "One image, nested",
            "value": {"inputs": [{**tensor, "data": [seven.tolist()]}]},
        },
        "classification": {
            "summary": "The three likeliest classes",
            "value": {
                "id": "a",
                "inputs": [{**tensor, "data": seven.ravel().tolist()}],
                "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}],
            },
        },
    }
    binary = {
        "type": "string",
        "format": "binary",
        "description": "JSON and then binary contents; the header Inference-Header-Content-Length says where "
        "the JSON ends. With 0 all is one input's contents",
    }
    return {wire.JSON: {"schema": described, "examples": examples}, wire.OCTETS: {"schema": binary}}


def repository_body() -> Mapping[str, Any]:
    """Document the body of a question to the repository, which may be left out."""
    described = {
        "type": "object",
        "properties": {
            "ready": {"type": "boolean", "description": "Of an index: only what can answer"},
            "parameters": {"type": "object", "additionalProperties": True},
        },
    }
    return {wire.JSON: {"schema": described}}


def instances_body() -> Mapping[str, Any]:
    """Document the body of KServe's first protocol, with an example that works."""
    seven = ink.from_strokes(SEVEN)
    described = {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "instances": {
                "type": "array",
                "minItems": 1,
                "description": 'Each 28 x 28 numbers 0..255, nested or flat, or {"b64": a picture file}',
            }
        },
    }
    examples = {"instance": {"summary": "One image, nested", "value": {"instances": [seven.tolist()]}}}
    return {wire.JSON: {"schema": described, "examples": examples}}
