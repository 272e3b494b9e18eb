"""Schemas of the protocol's request and response bodies, for OpenAPI and for tests."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from service.codecs import content_types
from service.core.artifact.manifest import INPUT_NAME
from service.core.drawing import mnist
from service.http.api.examples import SEVEN
from service.oip.tensors import DATATYPES


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServerMetadata(_Schema):
    """Name, version and extensions of the server."""

    name: str = Field(examples=["inkling"])
    version: str
    extensions: list[str] = Field(examples=[["binary_tensor_data", "classification"]])


class ServerLive(_Schema):
    """Whether the process handles requests."""

    live: bool


class ServerReady(_Schema):
    """Whether every published model is loaded."""

    ready: bool


class ModelReady(_Schema):
    """Whether a model is loaded."""

    name: str
    ready: bool


class TensorMetadata(_Schema):
    """An input or an output of a model."""

    name: str = Field(examples=["image"])
    datatype: str = Field(examples=["UINT8"])
    shape: list[int] = Field(description="-1 is the batch size", examples=[[-1, 28, 28]])


class ModelMetadata(_Schema):
    """Versions, inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str = Field(examples=["onnx_onnxv1"])
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ConfiguredTensor(_Schema):
    """An input or an output in the format of Triton's model configuration."""

    name: str = Field(examples=["image"])
    data_type: str = Field(examples=["TYPE_UINT8"])
    dims: list[int] = Field(description="Shape without the batch size", examples=[[28, 28]])


class ModelConfiguration(_Schema):
    """Configuration of a model, in the format of Triton's model configuration."""

    name: str
    platform: str = Field(examples=["onnxruntime_onnx"])
    backend: str = Field(examples=["onnxruntime"])
    version_policy: dict[str, Any]
    max_batch_size: int = Field(gt=0, description="Largest number of images in one request")
    input: list[ConfiguredTensor]
    output: list[ConfiguredTensor]
    instance_group: list[dict[str, Any]]
    default_model_filename: str
    dynamic_batching: dict[str, Any] = Field(description="Priority levels and queue policy")
    parameters: dict[str, Any]


class StatisticDuration(_Schema):
    """A number of events and their total duration."""

    count: int = Field(ge=0)
    ns: int = Field(ge=0, description="Total duration in nanoseconds")


class BatchStatistics(_Schema):
    """Statistics of the batches of one size."""

    batch_size: int = Field(ge=1)
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration


class InferStatistics(_Schema):
    """Statistics of requests: successes, failures, and the phases of the successful ones."""

    success: StatisticDuration
    fail: StatisticDuration
    queue: StatisticDuration
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration


class VersionStatistics(_Schema):
    """Statistics of one version of a model."""

    name: str
    version: str
    last_inference: int = Field(ge=0, description="Last inference, in milliseconds since 1970; 0 for none")
    inference_count: int = Field(ge=0, description="Number of images")
    execution_count: int = Field(ge=0, description="Number of batches")
    inference_stats: InferStatistics
    batch_stats: list[BatchStatistics]


class ModelStatistics(_Schema):
    """Statistics of models since the process started, over HTTP and gRPC."""

    model_stats: list[VersionStatistics]


class OutputTensor(_Schema):
    """An output tensor."""

    name: str = Field(examples=["probabilities"])
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(examples=[[1, 10]])
    data: list[Any] | None = Field(None, description="The elements, flat; absent if they are binary")
    parameters: dict[str, Any] | None = Field(
        None, description="binary_data_size: size of the binary elements in bytes"
    )


class InferenceResponse(_Schema):
    """The response of an inference."""

    model_name: str
    model_version: str
    id: str | None = Field(None, description="Id of the request")
    outputs: list[OutputTensor]


class RepositoryEntry(_Schema):
    """A published version of a model and its state."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(
        examples=[""], description="Why it is not served, or the error of its folder; else empty"
    )


class RepositoryIndex(RootModel[list[RepositoryEntry]]):
    """Published versions, by name and from oldest to newest."""


def infer_bodies() -> Mapping[str, Any]:
    """Return the OpenAPI description of the body of an inference request, with examples."""
    seven = mnist.from_strokes(SEVEN)
    tensor = {"name": INPUT_NAME, "shape": [1, 28, 28], "datatype": "UINT8"}
    text: dict[str, Any] = {"type": "string"}
    parameters: dict[str, Any] = {"type": "object", "additionalProperties": True}
    whole: dict[str, Any] = {"type": "integer", "minimum": 0}
    described = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": text | {"description": "Id that the response repeats"},
            "parameters": parameters
            | {
                "properties": {
                    "prepare": {
                        "enum": ["none", "auto", "mnist"],
                        "description": "mnist: preprocess images of any size as the MNIST images were. auto: "
                        "the same, but use images unchanged that are like MNIST's already. Default: use "
                        "numbers unchanged, and preprocess image files as auto does",
                    },
                    "explain": {
                        "type": ["boolean", "string"],
                        "description": "true, or a label: adds the outputs shares, bias and explained",
                    },
                    "scale": {"enum": ["byte", "unit"], "description": "byte: 0..255; unit: 0..1"},
                    "timeout": whole | {"description": "Timeout in microseconds; 0 for none"},
                    "priority": whole | {"description": "Priority; 1 is the highest"},
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
                            "items": {},
                            "description": "The elements, flat or nested; for BYTES, image files in base64",
                        },
                        "parameters": parameters,
                    },
                },
            },
            "outputs": {
                "type": "array",
                "description": "The requested outputs; all if empty",
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
            "summary": "The top three classes",
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
        "description": "JSON followed by binary contents; the header Inference-Header-Content-Length is the "
        "length of the JSON in bytes. With 0 the body is the binary contents of one input",
    }
    return {
        content_types.JSON: {"schema": described, "examples": examples},
        content_types.OCTETS: {"schema": binary},
    }


def repository_body() -> Mapping[str, Any]:
    """Return the OpenAPI description of the optional body of a model repository request."""
    described = {
        "type": "object",
        "properties": {
            "ready": {"type": "boolean", "description": "For the index: only versions that are ready"},
            "parameters": {"type": "object", "additionalProperties": True},
        },
    }
    return {content_types.JSON: {"schema": described}}


def instances_body() -> Mapping[str, Any]:
    """Return the OpenAPI description of the body of a KServe v1 request, with an example."""
    seven = mnist.from_strokes(SEVEN)
    described = {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "instances": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/components/schemas/Instance"},
                "description": 'Images: 28 x 28 numbers 0..255, nested or flat, or {"b64": an image file}',
            }
        },
    }
    examples = {"instance": {"summary": "One image, nested", "value": {"instances": [seven.tolist()]}}}
    return {content_types.JSON: {"schema": described, "examples": examples}}
