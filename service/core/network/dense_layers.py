"""A network as its layers: the matrices that a published file holds, and their plain sums.

Running a network fast is `engine`'s work; drawing its matrices is `insight`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import Layer as Described
from service.core.errors import GraphRefused
from service.core.network import onnx_graph
from service.core.network.int8 import Float, Int8Dense

_AGREED = 1e-3
"""What two computations of logits may be off by, relatively to max(1, the image's largest |logit|)."""

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_Kind = TypeVar("_Kind", np.float32, np.int8, np.int32)


@dataclass(frozen=True)
class Dense:
    """One layer: rectified or not, signal @ weight + bias.

    Attributes:
        weight: [inputs, units] float32, read-only.
        bias: [units] float32, read-only.
        is_rectified: Whether negative sums become 0.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    is_rectified: bool

    def sums(self, signal: NDArray[Float]) -> NDArray[Float]:
        """Return the sums of a signal, (B, inputs) to (B, units), in its precision."""
        kind = signal.dtype
        return np.asarray(signal @ self.weight.astype(kind, copy=False) + self.bias, kind)

    def answer(self, sums: NDArray[Float]) -> NDArray[Float]:
        """Return the signal that goes out: the sums, rectified where the layer does so."""
        return np.maximum(sums, 0) if self.is_rectified else sums

    def back(self, gradient: NDArray[np.float32], signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the gradient at the signal that came in, (B, inputs), from that at the sums, (B, units)."""
        del signal  # the gradient is the same for all
        return np.asarray(gradient @ self.weight.T, np.float32)


Layer = Dense | Int8Dense

_PIXEL = 1 / 255
"""What one of a pixel's whole numbers stands for."""


def use_threads(threads: int) -> None:
    """Let every product of matrices in this process use so many threads.

    NumPy's own default is every core, whose threads wait for each other: where others work too, an
    explanation of 1 ms took up to 200 ms.
    """
    threadpool_limits(threads, user_api="blas")


def read(artifact: Artifact) -> dict[str, Layer]:
    """Return the layers by name, from input to output.

    Args:
        artifact: A published folder in memory.

    Returns:
        The manifest's layers, with copies of the file's tensors. A tensor may begin at any byte of a file,
        and NumPy copies a matrix that begins at an odd one for every product: 12 ms instead of 0.3 ms for
        `ink`. Once its tensors are copied, nobody needs the file's bytes any more.

    Raises:
        GraphRefused: The file is no ONNX of ours, or lacks a tensor of the manifest's shape; or other
            processors would round otherwise.
    """
    try:
        tensors = onnx_graph.read(artifact.model).tensors
    except onnx_graph.GraphError as error:
        raise GraphRefused(artifact.identity, f"model.onnx is refused: {error}.") from error
    found = _Tensors(artifact.identity, tensors)
    layers: dict[str, Layer] = {}
    taken = _PIXEL
    for layer in artifact.manifest.layers:
        if layer.rounding is None:
            layers[layer.name] = Dense(
                weight=found.copy(layer.weight, (layer.units, layer.inputs), np.float32).T,
                bias=found.copy(layer.bias, (layer.units,), np.float32),
                is_rectified=layer.activation == "relu",
            )
            continue
        rounded = found.rounded(layer, taken)
        layers[layer.name] = rounded
        taken = rounded.given or taken  # of the last layer nobody takes anything
    return layers


def logits(layers: Mapping[str, Layer], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute what the layers say, in double precision and without a runtime.

    Args:
        layers: From input to output.
        images: (B, ...) uint8.

    Returns:
        (B, classes) float64.
    """
    signal: NDArray[np.float64] = images.reshape(len(images), -1) / 255.0
    for layer in layers.values():
        signal = layer.answer(layer.sums(signal))
    return signal


def check(artifact: Artifact, layers: Mapping[str, Layer], run: Run) -> None:
    """Check that a network as it runs is these layers and nothing else.

    Both see the golden examples, a white image and noise, which switches on other units than drawings do.

    Args:
        artifact: The published folder that both were made of.
        layers: As `read` returned them.
        run: Gives the logits of the network as it runs: (B, ...) uint8 to (B, classes) float32.

    Raises:
        GraphRefused: Their logits differ.
    """
    shape = artifact.manifest.input.shape[1:]
    noise = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    images = np.concatenate([artifact.golden.images, np.full((1, *shape), 255, np.uint8), noise])
    expected = logits(layers, images)
    off = np.abs(run(images) - expected) / np.maximum(1, np.abs(expected).max(axis=1, keepdims=True))
    if not np.all(off <= _AGREED):  # written so that NaN fails too
        raise GraphRefused(artifact.identity, "logits should be those of the manifest's layers; got others.")


@dataclass(frozen=True)
class _Tensors:
    """The tensors of a file, to be copied out of it.

    Attributes:
        identity: `name/version`, for messages.
        named: Views into the file's bytes.
    """

    identity: str
    named: Mapping[str, NDArray[np.generic]]

    def copy(self, name: str, shape: tuple[int, ...], kind: type[_Kind]) -> NDArray[_Kind]:
        """Return a read-only copy; raises GraphRefused if there is no such tensor."""
        found = self.named.get(name)
        if found is None or found.shape != shape or found.dtype != kind:
            got = "none" if found is None else f"{found.shape} {found.dtype}"
            requested_output = f"{shape} {np.dtype(kind)}"
            raise GraphRefused(self.identity, f"tensor {name!r} should be {requested_output}; got {got}.")
        copied = np.array(found, kind)
        copied.setflags(write=False)
        return copied

    def rounded(self, layer: Described, taken: float) -> Int8Dense:
        """Return a layer in whole numbers; raises GraphRefused if another processor could round otherwise."""
        assert layer.rounding  # it is called for those alone
        given = layer.rounding.given
        made = Int8Dense(
            matrix=self.copy(layer.weight, (layer.inputs, layer.units), np.int8),
            addend=self.copy(layer.bias, (layer.units,), np.int32),
            step=self.copy(layer.rounding.step, (layer.units,), np.float32),
            taken=taken,
            given=None if given is None else float(self.copy(given, (), np.float32)),
            is_rectified=layer.activation == "relu",
        )
        if flaw := made.flaw():
            raise GraphRefused(self.identity, f"layer {layer.name!r}: {flaw}.")
        return made
