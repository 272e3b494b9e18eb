"""Predictions of a network on whole parts, and their accuracy and loss."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from training.data.examples import Examples
from training.model.build import Network

_BATCH_SIZE = 4096
"""Bounds memory; does not change the result."""


@dataclass(frozen=True)
class Score:
    """Accuracy and loss on some examples.

    Attributes:
        examples: Number of examples.
        accuracy: Share of correct predictions.
        loss: Cross-entropy in nats per example.
    """

    examples: int
    accuracy: float
    loss: float


def evaluate(net: Network, examples: Examples) -> Score:
    """Score a network on examples; it is left in evaluation mode."""
    return score(predict(net, examples.pixels), examples.labels)


def predict(net: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits of images; the network is left in evaluation mode.

    Args:
        net: The network, in any mode.
        pixels: (N, ...) uint8.

    Returns:
        (N, classes) float32.
    """
    net.eval()
    with torch.inference_mode():
        batches = torch.split(torch.tensor(pixels), _BATCH_SIZE)
        logits: NDArray[np.float32] = torch.cat([net(batch) for batch in batches]).numpy()
    return logits


def score(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float = 1.0) -> Score:
    """Score logits (N, classes) against labels (N,); the temperature affects the loss only."""
    scaled, truth = torch.tensor(logits) / temperature, torch.tensor(labels)
    return Score(
        examples=len(labels),
        accuracy=int((scaled.argmax(1) == truth).sum()) / len(labels),
        loss=cross_entropy(scaled, truth, reduction="sum").item() / len(labels),
    )
