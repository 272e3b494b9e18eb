"""Variations of training images, on whole batches of tensors.

Each augmentation takes pixels, a generator and a strength, and returns float32 pixels, 0 to 255, of
the same shape. The same state of the generator gives the same bits.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, max_pool2d

Augmentation = Callable[[Tensor, Generator, float], Tensor]

_KNOTS = 6
"""Nodes a side of the coarse grid of random shifts that an elastic warp is interpolated from."""


def digits(pixels: Tensor, generator: Generator, strength: float) -> Tensor:
    """Turn, slant, stretch, shift and warp drawings.

    Deviations at strength 1: 0.11 radians of turn, 0.12 of slant, 8 % of each side, half a pixel of
    shift, and an elastic warp of up to 1.4 pixels at its knots. One image in six stays as it is, so
    that images such as will be asked about are met in training too.

    Args:
        pixels: (B, side, side) uint8.
        generator: Source of randomness.
        strength: What all deviations are multiplied by; 0 changes nothing.

    Source: Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to
    visual document analysis", 2003. Theirs smooths a shift for each pixel; a coarse grid of shifts,
    interpolated, is as smooth and takes one product of matrices.
    """
    count, side = len(pixels), pixels.shape[-1]
    linear = _linear(count, generator, strength)  # (B, 2, 2)
    shift = _normal(generator, count, 1, 2) * 0.5 * strength
    most = 1.4 * strength * (torch.rand(count, 1, 1, generator=generator) * 0.8 + 0.2)
    warp = _normal(generator, count, 2, _KNOTS**2) * most
    places = _plane(side) @ linear.transpose(1, 2) + shift  # (B, side², 2) pixels from the middle
    places = places + (warp @ _upsampling(side)).transpose(1, 2)
    images = pixels.to(torch.float32)
    kept = torch.rand(count, 1, 1, generator=generator) < 1 / 6
    return torch.where(kept, images, _sample(images, places))


def thicken(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Thicken or thin the ink of some drawings by up to 0.8 or 0.6 of a pixel on each side.

    Args:
        images: (B, side, side) float32, 0 to 255.
        generator: Source of randomness.
        share: Of the images that are changed.
    """
    count = len(images)
    fat = max_pool2d(images[:, None], 3, 1, 1)[:, 0]
    thin = -max_pool2d(-images[:, None], 3, 1, 1)[:, 0]
    much = torch.rand(count, 1, 1, generator=generator) * 1.4 - 0.6
    much = torch.where(torch.rand(count, 1, 1, generator=generator) < share, much, 0.0)
    return images + much.clamp(min=0) * (fat - images) + much.clamp(max=0) * (images - thin)


def wear(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Blur or sharpen, fade or strengthen, and speckle some drawings, as cameras and scanners do.

    Args:
        images: (B, side, side) float32, 0 to 255.
        generator: Source of randomness.
        share: Of the images that are changed.
    """
    count = len(images)
    on = (torch.rand(count, 1, 1, generator=generator) < share).float()
    blurred = avg_pool2d(images[:, None], 3, 1, 1)[:, 0]
    images = images + on * _between(generator, -0.35, 0.5, count, 1, 1) * (blurred - images)
    images = images.clamp(0, 255) * (1 + on * _between(generator, -0.15, 0.5, count, 1, 1))
    specks = _normal(generator, *images.shape) * on * _between(generator, 0, 15, count, 1, 1)
    return (images.clamp(0, 255) + specks).clamp(0, 255)


AUGMENTATIONS: Mapping[str, Augmentation] = {"digits": digits}


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


def _between(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator) * (high - low) + low


def _linear(count: int, generator: Generator, strength: float) -> Tensor:
    """Return (B, 2, 2) maps of the plane that turn, slant and stretch."""
    turn = _normal(generator, count) * 0.11 * strength
    slant = _normal(generator, count) * 0.12 * strength
    wide = torch.exp(_normal(generator, count) * 0.08 * strength)
    high = torch.exp(_normal(generator, count) * 0.08 * strength)
    cos, sin = turn.cos(), turn.sin()
    rows = (cos * wide, cos * slant - sin * high), (sin * wide, sin * slant + cos * high)
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _plane(side: int) -> Tensor:
    """Return the middles of the pixels as (1, side², 2), x before y, in pixels from the image's."""
    axis = torch.arange(side) + 0.5 - side / 2
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).view(1, -1, 2)


def _upsampling(side: int) -> Tensor:
    """Return the matrix (knots², side²) that interpolates the coarse grid bicubically."""
    knots = torch.eye(_KNOTS**2).view(-1, 1, _KNOTS, _KNOTS)
    return interpolate(knots, side, mode="bicubic", align_corners=True).view(-1, side * side)


def _sample(images: Tensor, places: Tensor) -> Tensor:
    """Look images (B, side, side) up at places (B, side², 2), between pixels too."""
    side = images.shape[-1]
    grid = (places * (2 / side)).view(len(images), side, side, 2)
    # bicubic: bilinear is three times as fast, and blurs the edges of thin strokes
    found = grid_sample(images[:, None], grid, "bicubic", "zeros", align_corners=False)
    return found[:, 0].clamp_(0, 255)  # between steep edges bicubic leaves the range
