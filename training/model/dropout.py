"""Dropout from an explicit generator."""

import torch
from torch import Generator, Tensor


def dropout(signal: Tensor, probability: float, generator: Generator) -> Tensor:
    """Set random units to zero and scale the others, so that the expected value is unchanged.

    torch's own dropout would use the global generator.

    Args:
        signal: (B, units) float.
        probability: Probability that a unit is dropped, below 1.
        generator: Source of randomness.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    2014.
    """
    kept = torch.empty_like(signal).bernoulli_(1 - probability, generator=generator)
    return signal * kept / (1 - probability)
