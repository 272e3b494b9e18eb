"""The contract between trainer and service: what a published model folder contains.

    models/<name>/<version>/
        model.onnx      one self-contained network: pixels in, logits and probabilities out
        manifest.json   who it is, how it was made, what was measured
        golden.json     a few inputs and the outputs the network must give for them
        report/         what the trainer measured, for people; not needed to serve

The service owns the contract because the service refuses what breaks it. One reader and one writer
stand here, so they cannot drift apart. Running a network is `engine`'s work.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from service.core.errors import DigestMismatch, ManifestInvalid

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.json"
REPORT_FOLDER = "report"

INPUT_NAME = "image"
LOGITS_NAME = "logits"
PROBABILITIES_NAME = "probabilities"

MAX_FILE_BYTES = 64 * 2**20
"""No file of a published folder is larger; what is larger is not read into memory."""

_NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
_VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"
_DIGEST_PATTERN = r"^[0-9a-f]{64}$"

Digest = Annotated[str, Field(pattern=_DIGEST_PATTERN)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tensor(_Part):
    """An input or output: the batch axis is -1, the others are fixed."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...] = Field(min_length=2)


class Layer(_Part):
    """One dense layer: activation(weight @ x + bias)."""

    name: str = Field(pattern=_NAME_PATTERN, description="Its name in the paths of the interface")
    inputs: int = Field(gt=0)
    units: int = Field(gt=0)
    activation: Literal["relu", "none"]
    weight: str = Field(description="Initializer of model.onnx, float32, [units, inputs]")
    bias: str = Field(description="Initializer of model.onnx, float32, [units]")

    @property
    def parameters(self) -> int:
        """How many numbers the layer learns: weights and biases."""
        return self.inputs * self.units + self.units


class DataSource(_Part):
    """A data set that the network was fitted or measured on."""

    name: str
    split: str
    examples: int = Field(gt=0)
    sha256: Digest = Field(description="Of the uncompressed pixels and labels, in this order")


class Measurement(_Part):
    """An accuracy and the conditions it was measured under."""

    fit: Literal["published", "lesson"] = Field(
        description="published: this very network; lesson: the same recipe fitted on the lesson's "
        "split for its figures only"
    )
    data: str = Field(description="Name of the data set")
    split: str = Field(description="train, valid or test")
    examples: int = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1, description="One fit a seed")
    accuracy: float = Field(ge=0, le=1, description="Share of right answers, mean over the seeds")
    spread: float | None = Field(
        ge=0, description="Sample standard deviation over the seeds; null for a single seed"
    )
    loss: float = Field(ge=0, description="Cross-entropy in nats per example, mean over the seeds")


class Making(_Part):
    """How, where and with what the network was made."""

    finished: str = Field(description="UTC, ISO 8601")
    seconds: float = Field(ge=0, description="Wall-clock time of the published fit")
    seed: int
    hardware: str
    threads: int = Field(gt=0)
    commit: str = Field(description="Of the repository; ends in -dirty where files had changed")
    libraries: dict[str, str] = Field(description="Name to version")


class Manifest(_Part):
    """Everything about a published network that is not its weights."""

    format: Literal[1] = 1
    name: str = Field(pattern=_NAME_PATTERN)
    version: str = Field(pattern=_VERSION_PATTERN)
    description: str
    sha256: dict[str, Digest] = Field(description="Of model.onnx and golden.json")
    input: Tensor
    outputs: tuple[Tensor, Tensor] = Field(description="logits and probabilities")
    labels: tuple[str, ...] = Field(min_length=2)
    layers: tuple[Layer, ...] = Field(min_length=1, description="From input to output")
    parameters: int = Field(gt=0)
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
        if sum(layer.parameters for layer in self.layers) != self.parameters:
            raise ValueError("parameters should be the sum over the layers")
        json.dumps(self.recipe, allow_nan=False)  # raises a ValueError of its own
        if set(self.sha256) != {MODEL_FILE, GOLDEN_FILE}:
            raise ValueError(f"sha256 should name {MODEL_FILE} and {GOLDEN_FILE}")
        return self


class _GoldenTensor(_Part):
    dtype: str
    shape: tuple[int, ...]
    base64: Base64Bytes


class _GoldenFile(_Part):
    tolerance: float = Field(gt=0, le=0.01)
    image: _GoldenTensor
    logits: _GoldenTensor
    probabilities: _GoldenTensor


@dataclass(frozen=True)
class Golden:
    """Inputs and the outputs that the network must give for them.

    Attributes:
        images: (B, ...) uint8, of the model's input shape.
        logits: (B, classes) float32.
        probabilities: (B, classes) float32.
        tolerance: Largest allowed difference; of a probability absolutely, of a logit relatively to
            max(1, |logit|), since processors sum in different orders.
    """

    images: NDArray[np.uint8]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    tolerance: float


@dataclass(frozen=True)
class Artifact:
    """A published folder in memory, complete and with the right digests."""

    manifest: Manifest
    model: bytes
    golden: Golden

    @property
    def identity(self) -> str:
        """`name/version`, for messages."""
        return f"{self.manifest.name}/{self.manifest.version}"


def versions(root: Path) -> dict[str, list[str]]:
    """List what is published below a models folder.

    Args:
        root: The models folder.

    Returns:
        For each model name, in alphabetical order, its versions, oldest first. Files, and folders
        that are not named like a model or a version, are passed over; so is a half-published one. A
        model whose folder cannot be read has no versions.

    Raises:
        OSError: The folder cannot be read.
    """
    found: dict[str, list[str]] = {}
    for model in sorted(root.iterdir()):
        if re.fullmatch(_NAME_PATTERN, model.name) and model.is_dir():
            try:
                names = [entry.name for entry in model.iterdir() if entry.is_dir()]
            except OSError:
                found[model.name] = []
                continue
            numbers = sorted(int(name) for name in names if re.fullmatch(_VERSION_PATTERN, name))
            if numbers:
                found[model.name] = [str(number) for number in numbers]
    return found


def read(root: Path, name: str, version: str) -> Artifact:
    """Read one published folder and check everything that can be checked without running it.

    Args:
        root: The models folder.
        name: Model name, as published.
        version: Published version.

    Returns:
        The artifact, with its digests verified.

    Raises:
        ManifestInvalid: A file is missing, too large or cannot be parsed, or the manifest
            contradicts itself, its folder or the golden examples.
        DigestMismatch: A file is not the one that was published.
    """
    title = f"{name}/{version}"
    folder = root / name / version
    manifest = _parse_manifest(title, _read_file(title, folder / MANIFEST_FILE))
    if (manifest.name, manifest.version) != (name, version):
        raise ManifestInvalid(
            title, f"manifest should be of {title}; got {manifest.name}/{manifest.version}."
        )
    model = _read_file(title, folder / MODEL_FILE)
    golden = _read_file(title, folder / GOLDEN_FILE)
    for file, content in ((MODEL_FILE, model), (GOLDEN_FILE, golden)):
        digest = hashlib.sha256(content).hexdigest()
        if digest != manifest.sha256[file]:
            raise DigestMismatch(title, file, manifest.sha256[file], digest)
    return Artifact(manifest, model, _parse_golden(title, golden, manifest))


def publish(
    root: Path,
    manifest: Mapping[str, Any],
    model: bytes,
    golden: Golden,
    report: Mapping[str, bytes],
) -> Artifact:
    """Write a folder under the next free version, all of it or nothing.

    The files are written into a folder whose name is no version, flushed to disk and then renamed, so
    that a reader sees either no folder or a whole one, whatever interrupts the writer.

    Args:
        root: The models folder.
        manifest: The manifest's content but for `version` and `sha256`, which are filled in here.
        model: The ONNX file.
        golden: Its examples.
        report: Files for `report/`, by name.

    Returns:
        The artifact, read back from disk.

    Raises:
        ManifestInvalid: The content breaks the contract; nothing is published.
        OSError: The folder cannot be written; nothing is published.
    """
    golden_file = _format_golden(golden)
    digests = {
        MODEL_FILE: hashlib.sha256(model).hexdigest(),
        GOLDEN_FILE: hashlib.sha256(golden_file).hexdigest(),
    }
    checked = _checked_manifest(manifest, "1", digests)
    name = checked.name
    _parse_golden(f"{name}/next", golden_file, checked)
    if len(model) > MAX_FILE_BYTES:
        raise ManifestInvalid(f"{name}/next", f"{MODEL_FILE} should be at most {MAX_FILE_BYTES:,} bytes.")
    (root / name).mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=root / name))
    try:
        staging.chmod(0o755)
        files = {MODEL_FILE: model, GOLDEN_FILE: golden_file}
        files |= {f"{REPORT_FOLDER}/{file}": data for file, data in report.items()}
        for file, data in files.items():
            _write_file(staging / file, data)
        number = int(versions(root).get(name, ["0"])[-1]) + 1
        while True:
            whole = _checked_manifest(manifest, str(number), digests)
            _write_file(staging / MANIFEST_FILE, _format_manifest(whole))
            try:
                staging.rename(root / name / whole.version)
            except OSError:
                if not (root / name / whole.version).exists():
                    raise
                number += 1  # somebody else was first
            else:
                return read(root, name, whole.version)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def manifest_schema() -> str:
    """Return the manifest's JSON schema, as it stands in `models/manifest.schema.json`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Manifest.model_json_schema()
    return json.dumps(schema, indent=2) + "\n"


def _read_file(title: str, path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise OSError("not a file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ManifestInvalid(title, f"{path.name} should be readable; got {reason!r}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise ManifestInvalid(title, f"{path.name} should be at most {MAX_FILE_BYTES:,} bytes.")
    return content


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _parse_manifest(title: str, content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ManifestInvalid(title, f"{MANIFEST_FILE}, {_first(error)}.") from error


def _checked_manifest(content: Mapping[str, Any], version: str, digests: Mapping[str, str]) -> Manifest:
    """Return the manifest that `publish` was given, complete and valid."""
    try:
        return Manifest.model_validate({**content, "version": version, "sha256": digests})
    except ValidationError as error:
        raise ManifestInvalid("manifest", f"{_first(error)}.") from error


def _first(error: ValidationError) -> str:
    """Say where the first mistake is and what it is."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    return f"{where[:100]}: {first['msg'][:300]}"


def _format_manifest(manifest: Manifest) -> bytes:
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def _format_golden(golden: Golden) -> bytes:
    tensors: dict[str, NDArray[Any]] = {
        INPUT_NAME: golden.images,
        LOGITS_NAME: golden.logits,
        PROBABILITIES_NAME: golden.probabilities,
    }
    content: dict[str, Any] = {"tolerance": golden.tolerance}
    for name, tensor in tensors.items():
        content[name] = {
            "dtype": str(tensor.dtype),
            "shape": list(tensor.shape),
            "base64": base64.b64encode(np.ascontiguousarray(tensor).tobytes()).decode(),
        }
    return (json.dumps(content, indent=2) + "\n").encode()


def _parse_golden(title: str, content: bytes, manifest: Manifest) -> Golden:
    try:
        file = _GoldenFile.model_validate_json(content)
    except ValidationError as error:
        raise ManifestInvalid(title, f"{GOLDEN_FILE}, {_first(error)}.") from error
    images = file.image.shape[0] if file.image.shape else 0
    arrays = []
    for declared, tensor in zip(
        (manifest.input, *manifest.outputs), (file.image, file.logits, file.probabilities), strict=True
    ):
        shape = (images, *declared.shape[1:])
        size = int(np.prod(shape, dtype=object)) * np.dtype(declared.dtype).itemsize
        if images < 1 or (tensor.dtype, tensor.shape) != (declared.dtype, shape):
            expected = f"{declared.dtype} of shape (B, {str(declared.shape[1:])[1:]} with B >= 1"
            raise ManifestInvalid(title, f"{GOLDEN_FILE}, {declared.name} should be {expected}.")
        if len(tensor.base64) != size:
            got = f"{len(tensor.base64):,} bytes"
            raise ManifestInvalid(
                title, f"{GOLDEN_FILE}, {declared.name} should hold {size:,} bytes; got {got}."
            )
        array = np.frombuffer(tensor.base64, declared.dtype).reshape(shape)
        if not np.isfinite(array).all():
            raise ManifestInvalid(title, f"{GOLDEN_FILE}, {declared.name} should be finite.")
        arrays.append(array)
    return Golden(arrays[0], arrays[1], arrays[2], file.tolerance)
