"""Metadata, configuration and statistics of the server and its models, as documents of the protocol.

HTTP sends them as JSON; gRPC fills its messages from them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from service.core.artifact.manifest import MODEL_FILE, Tensor
from service.inference.models.model import Model
from service.inference.models.versions import ModelStatus
from service.inference.thread_pool import DEFAULT_PRIORITY, LOWEST_PRIORITY
from service.observability.model_statistics import BatchStatistics, StatisticDuration, VersionStatistics
from service.oip import tensors

NAME = "inkling"

PLATFORM = "onnx_onnxv1"
"""The protocol's name of the ONNX format."""

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "parameters",
    "schedule_policy",
    "statistics",
)
"""Protocol extensions that are always available."""

REPOSITORY_EXTENSION = "model_repository"
"""Protocol extension that is available if model management is on."""

Document = dict[str, Any]


def server(version: str, is_managed: bool) -> Document:
    """Return the metadata of the server."""
    extensions = sorted([*EXTENSIONS, REPOSITORY_EXTENSION] if is_managed else EXTENSIONS)
    return {"name": NAME, "version": version, "extensions": extensions}


def model(model: Model, versions: Sequence[str]) -> Document:
    """Return the metadata of a model; in shapes -1 is the batch size.

    Args:
        model: One version of the model.
        versions: All versions that are served.
    """
    manifest = model.manifest
    return {
        "name": model.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": [_tensor(manifest.input)],
        "outputs": [_tensor(output) for output in manifest.outputs],
    }


def configuration(model: Model, versions: Sequence[str], max_images: int, threads: int) -> Document:
    """Return the configuration of a model, in the format of Triton's model configuration.

    Args:
        model: One version of the model.
        versions: All versions that are served.
        max_images: Largest number of images in one request.
        threads: Threads of one inference.
    """
    manifest = model.manifest
    return {
        "name": model.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [int(version) for version in versions]}},
        "max_batch_size": max_images,
        "input": [_configured(manifest.input)],
        "output": [_configured(output) for output in manifest.outputs],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": MODEL_FILE,
        "dynamic_batching": {
            "priority_levels": LOWEST_PRIORITY,
            "default_priority_level": DEFAULT_PRIORITY,
            "default_queue_policy": {"timeout_action": "REJECT", "allow_timeout_override": True},
        },
        "parameters": {"engine_threads": {"string_value": str(threads)}},
    }


def statistics(records: Mapping[tuple[str, str], VersionStatistics]) -> Document:
    """Return statistics: counts, and total durations in nanoseconds.

    Args:
        records: Statistics by name and version of the model.
    """
    return {"model_stats": [_record(*version, record) for version, record in records.items()]}


def index(statuses: Sequence[ModelStatus]) -> list[Document]:
    """Return the index of the model repository: published versions and their states."""
    return [
        {
            "name": status.name,
            "version": status.version,
            "state": "READY" if status.is_ready else "UNAVAILABLE",
            "reason": status.reason,
        }
        for status in statuses
    ]


def _tensor(tensor: Tensor) -> Document:
    return {
        "name": tensor.name,
        "datatype": tensors.datatype_of(tensor.dtype),
        "shape": list(tensor.shape),
    }


def _configured(tensor: Tensor) -> Document:
    return {
        "name": tensor.name,
        "data_type": f"TYPE_{tensors.datatype_of(tensor.dtype)}",
        "dims": list(tensor.shape[1:]),
    }


def _record(name: str, version: str, record: VersionStatistics) -> Document:
    return {
        "name": name,
        "version": version,
        "last_inference": record.last_ms,
        "inference_count": record.images,
        "execution_count": record.executions,
        "inference_stats": {
            "success": _tally(record.success),
            "fail": _tally(record.fail),
            "queue": _tally(record.queue),
            **_parts(record),
        },
        "batch_stats": [
            {"batch_size": images, **_parts(batch)} for images, batch in sorted(record.batches.items())
        ],
    }


def _parts(tallies: VersionStatistics | BatchStatistics) -> Document:
    return {
        "compute_input": _tally(tallies.input),
        "compute_infer": _tally(tallies.infer),
        "compute_output": _tally(tallies.output),
    }


def _tally(tally: StatisticDuration) -> Document:
    return {"count": tally.count, "ns": tally.ns}
