"""Targets and loss of a training step."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, one_hot

from training.batches.source import NO_CLASS
from training.recipes.recipe import Recipe


def targets(labels: Tensor, classes: int) -> Tensor:
    """Return class indices, or soft targets if the batch has out-of-distribution images.

    The soft target of an image with label NO_CLASS is the uniform distribution.

    Args:
        labels: (B,) int64.
        classes: Number of classes.

    Returns:
        `labels` itself, or (B, classes) float32 probabilities.

    Source: Hendrycks, Mazeika, Dietterich, "Deep anomaly detection with outlier exposure", 2019.
    """
    is_outlier = labels == NO_CLASS
    if not is_outlier.any():
        return labels
    return torch.where(is_outlier[:, None], 1 / classes, one_hot(labels.clamp(min=0), classes).float())


def mixup(
    images: Tensor, soft_targets: Tensor, max_share: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with those of a random image of the batch.

    Args:
        images: (B, ...) 0 to 255.
        soft_targets: (B, classes) probabilities.
        max_share: Largest share of the other image; shares are uniform from 0.
        generator: Source of randomness.

    Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018, with a uniform share.
    """
    others = torch.randperm(len(images), generator=generator)
    share = torch.rand(len(images), generator=generator) * max_share
    images, soft_targets = images.to(torch.float32), soft_targets.to(torch.float32)
    image_share = share.view(-1, *(1,) * (images.ndim - 1))
    return (
        torch.lerp(images, images[others], image_share),
        torch.lerp(soft_targets, soft_targets[others], share[:, None]),
    )


def loss(logits: Tensor, aims: Tensor, teacher: Tensor | None, recipe: Recipe) -> Tensor:
    """Return the cross-entropy with labels and teacher, in nats per example.

    Args:
        logits: (B, classes), of the student.
        aims: (B,) class indices or (B, classes) probabilities.
        teacher: (B, classes), the teacher's probabilities at the recipe's temperature; None without.
        recipe: Label smoothing, share and temperature of the distillation loss.

    Source of label smoothing: Szegedy et al., "Rethinking the inception architecture for computer
    vision", 2016.
    Source of distillation: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
    The factor temperature² keeps the size of the gradient independent of the temperature.
    """
    label_loss = cross_entropy(logits, aims, label_smoothing=recipe.label_smoothing)
    if teacher is None:
        return label_loss
    temperature = recipe.teacher_temperature
    distillation_loss = cross_entropy(logits / temperature, teacher) * temperature**2
    return (1 - recipe.teacher_share) * label_loss + recipe.teacher_share * distillation_loss
