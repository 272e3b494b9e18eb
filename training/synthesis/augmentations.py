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
    linear = _maps(
        turn=_normal(generator, count) * 0.11 * strength,
        slant=_normal(generator, count) * 0.12 * strength,
        wide=torch.exp(_normal(generator, count) * 0.08 * strength),
        high=torch.exp(_normal(generator, count) * 0.08 * strength),
    )  # (B, 2, 2)
    shift = _normal(generator, count, 1, 2) * 0.5 * strength
    most = 1.4 * strength * (torch.rand(count, 1, 1, generator=generator) * 0.8 + 0.2)
    warp = _normal(generator, count, 2, _KNOTS**2) * most
    places = _plane(side) @ linear.transpose(1, 2) + shift  # (B, side², 2) pixels from the middle
    places = places + (warp @ _upsampling(side)).transpose(1, 2)
    images = pixels.to(torch.float32)
    kept = torch.rand(count, 1, 1, generator=generator) < 1 / 6
    # bicubic: bilinear is three times as fast, and blurs the edges of thin strokes
    moved = _sample(images[:, None], places, "bicubic", "zeros")[:, 0]
    return torch.where(kept, images, moved.clamp_(0, 255))  # between steep edges bicubic leaves the range


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


def photographs(pixels: Tensor, generator: Generator, strength: float) -> Tensor:
    """Mirror, crop, turn, stretch and tint photographs.

    Half are mirrored, whatever the strength. At strength 1: a window of 65 % to 110 % of each side,
    anywhere on the photograph, which goes on mirrored beyond its edges; deviations of 0.15 radians of
    turn, 0.08 of slant and 8 % of proportion; of 15 % of brightness and contrast, 20 % of saturation
    and 6 % of each colour. Beyond strength 1 colours follow at two fifths of the pace: a flower may
    stand anywhere, but not have any colour.

    Args:
        pixels: (B, side, side, 3) uint8.
        generator: Source of randomness.
        strength: What the rest is multiplied by; 0 mirrors, and changes nothing else.

    Source: the crops and tints of Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep
    convolutional neural networks", 2012, and of Szegedy et al., "Going deeper with convolutions", 2014.
    """
    count, side = len(pixels), pixels.shape[1]
    zoom = 1 - strength * (torch.rand(count, generator=generator) * 0.45 - 0.10)
    proportion = torch.exp(_normal(generator, count) * 0.08 * strength)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    linear = _maps(
        turn=_normal(generator, count) * 0.15 * strength,
        slant=_normal(generator, count) * 0.08 * strength,
        wide=zoom * proportion,
        high=zoom / proportion,
    )  # (B, 2, 2)
    room = (side / 2 * (1 - zoom)).abs() + 2 * strength  # pixels that a window may move each way
    shift = (torch.rand(count, 1, 2, generator=generator) * 2 - 1) * room[:, None, None]
    places = _plane(side) * torch.stack((mirror, torch.ones(count)), 1)[:, None]
    places = places @ linear.transpose(1, 2) + shift  # (B, side², 2) pixels from the middle
    images = pixels.to(torch.float32).permute(0, 3, 1, 2)  # (B, 3, side, side)
    images = _sample(images, places, "bilinear", "reflection").permute(0, 2, 3, 1).contiguous()
    return _tinted(images, generator, min(strength, 0.6 + 0.4 * strength))


AUGMENTATIONS: Mapping[str, Augmentation] = {"digits": digits, "photographs": photographs}


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


def _between(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator) * (high - low) + low


def _maps(turn: Tensor, slant: Tensor, wide: Tensor, high: Tensor) -> Tensor:
    """Return (B, 2, 2) maps of the plane that turn, slant and stretch; each argument is (B,)."""
    cos, sin = turn.cos(), turn.sin()
    rows = (cos * wide, cos * slant - sin * high), (sin * wide, sin * slant + cos * high)
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _tinted(images: Tensor, generator: Generator, strength: float) -> Tensor:
    """Vary saturation, contrast, colours and brightness of (B, H, W, 3)."""
    count = len(images)
    tint = torch.exp(_normal(generator, count, 1, 1, 3) * 0.06 * strength)
    light = torch.exp(_normal(generator, count, 1, 1, 1) * 0.15 * strength)
    saturation = torch.exp(_normal(generator, count, 1, 1, 1) * 0.20 * strength)
    contrast = torch.exp(_normal(generator, count, 1, 1, 1) * 0.15 * strength)
    images = torch.lerp(images.mean(3, keepdim=True), images, saturation)
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
    return (images * tint * light).clamp_(0, 255)


def _plane(side: int) -> Tensor:
    """Return the middles of the pixels as (1, side², 2), x before y, in pixels from the image's."""
    axis = torch.arange(side) + 0.5 - side / 2
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).view(1, -1, 2)


def _upsampling(side: int) -> Tensor:
    """Return the matrix (knots², side²) that interpolates the coarse grid bicubically."""
    knots = torch.eye(_KNOTS**2).view(-1, 1, _KNOTS, _KNOTS)
    return interpolate(knots, side, mode="bicubic", align_corners=True).view(-1, side * side)


def _sample(images: Tensor, places: Tensor, mode: str, beyond: str) -> Tensor:
    """Look images (B, channels, side, side) up at places (B, side², 2), beyond the edges too."""
    side = images.shape[-1]
    grid = (places * (2 / side)).view(len(images), side, side, 2)
    return grid_sample(images, grid, mode, beyond, align_corners=False)
