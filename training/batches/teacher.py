"""Predictions of an ensemble of teachers, for distillation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def teacher_probabilities(teachers: Sequence[nn.Module], pixels: Tensor, temperature: float) -> Tensor:
    """Return the mean of the teachers' probabilities.

    Args:
        teachers: At least one network, in evaluation mode.
        pixels: (B, ...) 0 to 255, uint8 or float32.
        temperature: Divisor of the logits.

    Returns:
        (B, classes) float32.
    """
    with torch.autocast("cpu", torch.bfloat16):  # precise enough for targets, and faster
        logits = torch.stack([teacher(pixels) for teacher in teachers])
    return (logits.to(torch.float32) / temperature).softmax(2).mean(0)
