"""A network as its layers: the matrices that a published file holds, and their plain sums.

Running a network fast is `engine`'s work; drawing its matrices is `insight`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from service.core import graph
from service.core.artifact import Artifact
from service.core.errors import GraphRefused

_AGREED = 1e-3
"""What two computations of logits may be off by, relatively to max(1, the image's largest |logit|)."""

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


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


def use_threads(threads: int) -> None:
    """Let every product of matrices in this process use so many threads.

    NumPy's own default is every core, whose threads wait for each other: where others work too, an
    explanation of 1 ms took up to 200 ms.
    """
    threadpool_limits(threads, user_api="blas")


def read(artifact: Artifact) -> dict[str, Dense]:
    """Return the layers by name, from input to output.

    Args:
        artifact: A published folder in memory.

    Returns:
        The manifest's layers, with copies of the file's tensors. A tensor may begin at any byte of a file,
        and NumPy copies a matrix that begins at an odd one for every product: 12 ms instead of 0.3 ms for
        `ink`. Once its tensors are copied, nobody needs the file's bytes any more.

    Raises:
        GraphRefused: The file is no ONNX of ours, or lacks a tensor of the manifest's shape.
    """
    try:
        tensors = graph.read(artifact.model).tensors
    except graph.GraphError as error:
        raise GraphRefused(artifact.identity, f"model.onnx is refused: {error}.") from error

    def tensor(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        found = tensors.get(name)
        if found is None or found.shape != shape or found.dtype != np.float32:
            got = "none" if found is None else f"{found.shape} {found.dtype}"
            raise GraphRefused(artifact.identity, f"tensor {name!r} should be {shape} float32; got {got}.")
        copied = np.array(found, np.float32)
        copied.setflags(write=False)
        return copied

    return {
        layer.name: Dense(
            weight=tensor(layer.weight, (layer.units, layer.inputs)).T,
            bias=tensor(layer.bias, (layer.units,)),
            is_rectified=layer.activation == "relu",
        )
        for layer in artifact.manifest.layers
    }


def logits(layers: Mapping[str, Dense], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute what the layers say, in double precision and without a runtime.

    Args:
        layers: From input to output.
        images: (B, ...) uint8.

    Returns:
        (B, classes) float64.
    """
    signal = images.reshape(len(images), -1) / 255.0
    for layer in layers.values():
        signal = signal @ layer.weight.astype(np.float64) + layer.bias
        if layer.is_rectified:
            signal = np.maximum(signal, 0)
    return np.asarray(signal, np.float64)


def check(artifact: Artifact, layers: Mapping[str, Dense], run: Run) -> None:
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
