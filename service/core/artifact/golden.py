"""Golden examples: inputs, and the outputs that a network must reproduce before it is served."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Base64Bytes, Field, ValidationError

from service.core.artifact.manifest import (
    GOLDEN_FILE,
    INPUT_NAME,
    LOGITS_NAME,
    PROBABILITIES_NAME,
    ROW_NAME,
    Manifest,
    StrictModel,
    first_error,
)
from service.core.errors import ManifestInvalid
from service.core.inputs import Inputs


@dataclass(frozen=True)
class Golden:
    """Golden examples of a network.

    Attributes:
        images: (B, ...) uint8, or (B, n) float32 for a network of rows, of the model's input shape.
        logits: (B, classes) float32.
        probabilities: (B, classes) float32.
        tolerance: Largest difference; absolute for probabilities, relative to max(1, |logit|) for logits.
            Processors add in different orders.
    """

    images: Inputs
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    tolerance: float


class _GoldenTensor(StrictModel):
    dtype: str
    shape: tuple[int, ...]
    base64: Base64Bytes


class _GoldenFile(StrictModel):
    tolerance: float = Field(gt=0, le=0.01)
    image: _GoldenTensor | None = None
    row: _GoldenTensor | None = None
    logits: _GoldenTensor
    probabilities: _GoldenTensor


def parse(identity: str, content: bytes, manifest: Manifest) -> Golden:
    """Parse golden examples.

    Args:
        identity: `name/version`, for messages.
        content: The file.
        manifest: The manifest, which declares the tensors.

    Raises:
        ManifestInvalid: The tensors differ from the manifest, or are not finite.
    """
    try:
        file = _GoldenFile.model_validate_json(content)
    except ValidationError as error:
        raise ManifestInvalid(identity, f"{GOLDEN_FILE}, {first_error(error)}.") from error
    inputs, other = (file.image, file.row) if manifest.input.name == INPUT_NAME else (file.row, file.image)
    if inputs is None or other is not None:
        raise ManifestInvalid(
            identity, f"{GOLDEN_FILE} should have {manifest.input.name}; got another input."
        )
    images = inputs.shape[0] if inputs.shape else 0
    arrays = []
    for declared, tensor in zip(
        (manifest.input, *manifest.outputs), (inputs, file.logits, file.probabilities), strict=True
    ):
        shape = (images, *declared.shape[1:])
        size = int(np.prod(shape, dtype=object)) * np.dtype(declared.dtype).itemsize
        if images < 1 or (tensor.dtype, tensor.shape) != (declared.dtype, shape):
            expected = f"{declared.dtype} of shape (B, {str(declared.shape[1:])[1:]} with B >= 1"
            raise ManifestInvalid(identity, f"{GOLDEN_FILE}, {declared.name} should be {expected}.")
        if len(tensor.base64) != size:
            got = f"{len(tensor.base64):,} bytes"
            raise ManifestInvalid(
                identity, f"{GOLDEN_FILE}, {declared.name} should hold {size:,} bytes; got {got}."
            )
        array = np.frombuffer(tensor.base64, declared.dtype).reshape(shape)
        if not np.isfinite(array).all():
            raise ManifestInvalid(identity, f"{GOLDEN_FILE}, {declared.name} should be finite.")
        arrays.append(array)
    return Golden(arrays[0], arrays[1], arrays[2], file.tolerance)


def write(golden: Golden) -> bytes:
    """Serialize golden examples."""
    tensors: dict[str, NDArray[Any]] = {
        INPUT_NAME if golden.images.dtype == np.uint8 else ROW_NAME: golden.images,
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
