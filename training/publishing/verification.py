"""Verification of an exported file: the service's runtime must agree with the network.

The file is loaded as the service loads it, and its probabilities are compared with those of the network and
with plain sums over the layers in the manifest.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from service.core.artifact.artifact import Artifact
from service.core.network import dense_layers
from service.core.network.engine import Engine
from training.errors import ExportMismatch
from training.model.mlp import MLP
from training.model.softmax import softmax

TOLERANCE = 1e-5
"""Largest difference of a probability: allows for float32 sums in another order, and nothing else."""


def verify(published: Artifact, net: MLP, images: NDArray[np.uint8]) -> None:
    """Check that a file loads in the service and agrees with its network and its layers.

    Args:
        published: The folder to check.
        net: The exported network.
        images: (B, ...) uint8 to compare on.

    Raises:
        ExportMismatch: The file differs from the network, or from the sums over the manifest's layers.
        ArtifactError: The file does not load.
    """
    expected = torch_outputs(net, images, published.manifest.temperature)[1]
    _compare(
        published,
        images,
        {"its network": expected, "the sums over its layers": _layer_probabilities(published, images)},
    )


def verify_layers(published: Artifact, images: NDArray[np.uint8]) -> None:
    """Check that a file loads in the service and agrees with its layers, as `verify` does."""
    _compare(published, images, {"the sums over its layers": _layer_probabilities(published, images)})


def torch_outputs(
    net: MLP, images: NDArray[np.uint8], temperature: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a network's logits, and its probabilities at a temperature."""
    with torch.inference_mode():
        logits = net(torch.tensor(images))
        return logits.numpy(), torch.softmax(logits / temperature, 1).numpy()


def _compare(
    published: Artifact, images: NDArray[np.uint8], expected: Mapping[str, NDArray[np.floating]]
) -> None:
    served = Engine.load(published).run(images).probabilities
    for reference, probabilities in expected.items():
        worst = float(np.max(np.abs(served - probabilities)))
        if not worst <= TOLERANCE:  # in this form NaN fails too
            raise ExportMismatch(published.manifest.name, reference, TOLERANCE, worst)


def _layer_probabilities(published: Artifact, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return probabilities computed in double precision, without torch and without the runtime."""
    return softmax(dense_layers.logits(dense_layers.read(published), images) / published.manifest.temperature)
