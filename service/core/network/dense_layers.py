"""Dense layers of a network, read from its ONNX file, and a float64 reference implementation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import Layer as ManifestLayer
from service.core.errors import GraphRefused
from service.core.inputs import Inputs, scale_of
from service.core.network import onnx_graph
from service.core.network.int8 import Float, Int8Dense

_LOGIT_TOLERANCE = 1e-3
"""Tolerance between two computations of logits, relative to max(1, the image's largest |logit|)."""

_Kind = TypeVar("_Kind", np.float32, np.int8, np.int32)


@dataclass(frozen=True)
class Dense:
    """Dense layer: `inputs @ weight + bias`, optionally followed by ReLU.

    Attributes:
        weight: [inputs, units] float32, read-only.
        bias: [units] float32, read-only.
        is_rectified: Whether a ReLU follows.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    is_rectified: bool

    def linear(self, inputs: NDArray[Float]) -> NDArray[Float]:
        """Return the outputs before the ReLU, (B, inputs) to (B, units), in the dtype of the inputs."""
        kind = inputs.dtype
        return np.asarray(inputs @ self.weight.astype(kind, copy=False) + self.bias, kind)

    def activate(self, sums: NDArray[Float]) -> NDArray[Float]:
        """Apply the ReLU, if the layer has one."""
        return np.maximum(sums, 0) if self.is_rectified else sums

    def backward(self, gradient: NDArray[np.float32], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the gradient with respect to the inputs, (B, inputs), from that of the sums, (B, units)."""
        del inputs  # used by `Int8Dense` only
        return np.asarray(gradient @ self.weight.T, np.float32)


Layer = Dense | Int8Dense


def set_blas_threads(threads: int) -> None:
    """Set the number of BLAS threads of this process.

    The default is one per core; on a busy machine, an explanation of 1 ms then took up to 200 ms.
    """
    threadpool_limits(threads, user_api="blas")


def read(artifact: Artifact) -> dict[str, Layer]:
    """Read the layers of a network, from input to output.

    Args:
        artifact: A published folder in memory.

    Returns:
        The layers by name, with copies of the tensors: tensors in the file may be unaligned, and NumPy would
        copy an unaligned matrix for every product (12 ms instead of 0.3 ms for `ink`).

    Raises:
        GraphRefused: The file is not a supported ONNX file, lacks a tensor of the manifest's shape, or has
            int8 layers whose result could depend on the processor.
    """
    tensors = _Tensors(artifact.identity, onnx_graph.read_artifact(artifact).tensors)
    layers: dict[str, Layer] = {}
    input_scale = scale_of(artifact.golden.images)
    for layer in artifact.manifest.layers:
        if layer.rounding is None:
            layers[layer.name] = Dense(
                weight=tensors.copy(layer.weight, (layer.units, layer.inputs), np.float32).T,
                bias=tensors.copy(layer.bias, (layer.units,), np.float32),
                is_rectified=layer.activation == "relu",
            )
            continue
        int8_layer = tensors.int8_layer(layer, input_scale)
        layers[layer.name] = int8_layer
        input_scale = int8_layer.output_scale or input_scale
    return layers


def logits(layers: Mapping[str, Layer], images: Inputs) -> NDArray[np.float64]:
    """Compute the logits in float64, without ONNX Runtime.

    Args:
        layers: From input to output.
        images: (B, ...) uint8, or (B, n) float32.

    Returns:
        (B, classes) float64.
    """
    inputs: NDArray[np.float64] = images.reshape(len(images), -1).astype(np.float64) * scale_of(images)
    for layer in layers.values():
        inputs = layer.activate(layer.linear(inputs))
    return inputs


def check(
    artifact: Artifact, layers: Mapping[str, Layer], run: Callable[[Inputs], NDArray[np.float32]]
) -> None:
    """Check that the ONNX graph computes exactly these layers.

    Compares logits on the golden examples, a white image, and noise, which activates other units than digits.
    For rows, noise has twice the spread of the golden examples.

    Args:
        artifact: The published folder.
        layers: As `read` returned them.
        run: Runs the graph: (B, ...) inputs to (B, classes) float32 logits.

    Raises:
        GraphRefused: Their logits differ.
    """
    images = np.concatenate([artifact.golden.images, *_further_inputs(artifact.golden.images)])
    expected = logits(layers, images)
    error = np.abs(run(images) - expected) / np.maximum(1, np.abs(expected).max(axis=1, keepdims=True))
    if not np.all(error <= _LOGIT_TOLERANCE):  # NaN fails too
        raise GraphRefused(artifact.identity, "logits should be those of the manifest's layers; got others.")


def _further_inputs(golden: Inputs) -> list[Inputs]:
    """Return a white image and four of noise; or four rows of noise."""
    generator = np.random.default_rng(0)
    shape = golden.shape[1:]
    if golden.dtype == np.uint8:
        return [np.full((1, *shape), 255, np.uint8), generator.integers(0, 256, (4, *shape), np.uint8)]
    spread = 2 * golden.std(axis=0, dtype=np.float64)
    return [(golden.mean(axis=0) + spread * generator.standard_normal((4, *shape))).astype(np.float32)]


@dataclass(frozen=True)
class _Tensors:
    """Tensors of an ONNX file.

    Attributes:
        identity: `name/version`, for messages.
        named: Views into the file's bytes.
    """

    identity: str
    named: Mapping[str, NDArray[np.generic]]

    def copy(self, name: str, shape: tuple[int, ...], kind: type[_Kind]) -> NDArray[_Kind]:
        """Return a read-only copy of a tensor; raises GraphRefused if it is not as expected."""
        found = self.named.get(name)
        if found is None or found.shape != shape or found.dtype != kind:
            got = "none" if found is None else f"{found.shape} {found.dtype}"
            expected = f"{shape} {np.dtype(kind)}"
            raise GraphRefused(self.identity, f"tensor {name!r} should be {expected}; got {got}.")
        copied = np.array(found, kind)
        copied.setflags(write=False)
        return copied

    def int8_layer(self, layer: ManifestLayer, input_scale: float) -> Int8Dense:
        """Return an int8 layer; raises GraphRefused if its result could depend on the processor."""
        assert layer.rounding
        output_scale = layer.rounding.given
        made = Int8Dense(
            weight_int8=self.copy(layer.weight, (layer.inputs, layer.units), np.int8),
            bias_int32=self.copy(layer.bias, (layer.units,), np.int32),
            scale=self.copy(layer.rounding.step, (layer.units,), np.float32),
            input_scale=input_scale,
            output_scale=None if output_scale is None else float(self.copy(output_scale, (), np.float32)),
            is_rectified=layer.activation == "relu",
        )
        if error := made.portability_error():
            raise GraphRefused(self.identity, f"layer {layer.name!r}: {error}.")
        return made
