"""Random tensors from an explicit generator."""

import torch
from torch import Generator, Tensor


def normal(generator: Generator, *shape: int) -> Tensor:
    """Return standard normal float32 values of this shape."""
    return torch.randn(*shape, generator=generator)


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Return uniform float32 values from `low` to `high` of this shape."""
    return torch.rand(*shape, generator=generator) * (high - low) + low


def coin(generator: Generator, probability: float, *shape: int) -> Tensor:
    """Return bool values of this shape, each true with this probability."""
    return torch.rand(*shape, generator=generator) < probability
