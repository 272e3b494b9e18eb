"""Random augmentation of training images, as pure functions on batches of tensors.

An augmentation takes pixels, a generator and a strength, and returns float32 pixels, 0 to 255, of the same
shape. The same generator state gives the same bits.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, max_pool2d

from training.synthesis.randomness import coin, normal, uniform

Augmentation = Callable[[Tensor, Generator, float], Tensor]

_KNOTS = 6
"""Nodes per side of the coarse displacement grid of an elastic distortion."""


def augment_digits(pixels: Tensor, generator: Generator, strength: float) -> Tensor:
    """Apply random affine and elastic distortion to images of digits.

    Standard deviations at strength 1: rotation 0.11 radians, shear 0.12, scale 8 % per axis, translation
    half a pixel; elastic displacement of up to 1.4 pixels at the grid nodes. One image in six is returned
    unchanged, so that the fit also uses undistorted images.

    Args:
        pixels: (B, side, side) uint8.
        generator: Source of randomness.
        strength: Factor of all deviations; 0 changes nothing.

    Source: Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to
    visual document analysis", 2003. Theirs smooths a random displacement per pixel; an interpolated coarse
    grid is as smooth and costs one matrix product.
    """
    count, side = len(pixels), pixels.shape[-1]
    linear = _affine(
        rotation=normal(generator, count) * 0.11 * strength,
        shear=normal(generator, count) * 0.12 * strength,
        x_scale=torch.exp(normal(generator, count) * 0.08 * strength),
        y_scale=torch.exp(normal(generator, count) * 0.08 * strength),
    )  # (B, 2, 2)
    translation = normal(generator, count, 1, 2) * 0.5 * strength
    amplitude = 1.4 * strength * (torch.rand(count, 1, 1, generator=generator) * 0.8 + 0.2)
    displacement = normal(generator, count, 2, _KNOTS**2) * amplitude
    points = _pixel_centres(side) @ linear.transpose(1, 2) + translation  # (B, side², 2) from the centre
    points = points + (displacement @ _upsampling(side)).transpose(1, 2)
    images = pixels.to(torch.float32)
    unchanged = coin(generator, 1 / 6, count, 1, 1)
    # bicubic: bilinear is three times as fast, and blurs the edges of thin strokes
    distorted = _sample(images[:, None], points, "bicubic", "zeros")[:, 0]
    return torch.where(unchanged, images, distorted.clamp_(0, 255))  # bicubic overshoots at steep edges


def vary_stroke_width(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Dilate or erode some drawings, by up to 0.8 or 0.6 pixels on each side of a stroke.

    Args:
        images: (B, side, side) float32, 0 to 255.
        generator: Source of randomness.
        share: Probability that an image is changed.
    """
    count = len(images)
    dilated = max_pool2d(images[:, None], 3, 1, 1)[:, 0]
    eroded = -max_pool2d(-images[:, None], 3, 1, 1)[:, 0]
    amount = torch.rand(count, 1, 1, generator=generator) * 1.4 - 0.6
    amount = torch.where(coin(generator, share, count, 1, 1), amount, 0.0)
    return images + amount.clamp(min=0) * (dilated - images) + amount.clamp(max=0) * (images - eroded)


def degrade(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Blur or sharpen some drawings, scale their brightness and add noise, as cameras and scanners do.

    Args:
        images: (B, side, side) float32, 0 to 255.
        generator: Source of randomness.
        share: Probability that an image is changed.
    """
    count = len(images)
    on = coin(generator, share, count, 1, 1).float()
    blurred = avg_pool2d(images[:, None], 3, 1, 1)[:, 0]
    images = images + on * uniform(generator, -0.35, 0.5, count, 1, 1) * (blurred - images)
    images = images.clamp(0, 255) * (1 + on * uniform(generator, -0.15, 0.5, count, 1, 1))
    noise = normal(generator, *images.shape) * on * uniform(generator, 0, 15, count, 1, 1)
    return (images.clamp(0, 255) + noise).clamp(0, 255)


def augment_photographs(pixels: Tensor, generator: Generator, strength: float) -> Tensor:
    """Apply random flips, crops, affine distortion and colour jitter to photographs.

    Half of the images are flipped, at any strength. At strength 1: a crop of 65 % to 110 % of each side,
    anywhere in the photograph, with reflection beyond its edges; standard deviations of 0.15 radians of
    rotation, 0.08 of shear, 8 % of aspect ratio, 15 % of brightness and contrast, 20 % of saturation and
    6 % of each colour channel. Above strength 1 the colour jitter grows at two fifths of the rate: position
    is no property of a flower, colour is.

    Args:
        pixels: (B, side, side, 3) uint8.
        generator: Source of randomness.
        strength: Factor of everything but the flips.

    Source: crops and colour jitter of Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep
    convolutional neural networks", 2012, and of Szegedy et al., "Going deeper with convolutions", 2014.
    """
    count, side = len(pixels), pixels.shape[1]
    zoom = 1 - strength * (torch.rand(count, generator=generator) * 0.45 - 0.10)
    aspect = torch.exp(normal(generator, count) * 0.08 * strength)
    flip = torch.where(coin(generator, 0.5, count), -1.0, 1.0)
    linear = _affine(
        rotation=normal(generator, count) * 0.15 * strength,
        shear=normal(generator, count) * 0.08 * strength,
        x_scale=zoom * aspect,
        y_scale=zoom / aspect,
    )  # (B, 2, 2)
    margin = (side / 2 * (1 - zoom)).abs() + 2 * strength  # pixels by which a crop can move each way
    translation = (torch.rand(count, 1, 2, generator=generator) * 2 - 1) * margin[:, None, None]
    points = _pixel_centres(side) * torch.stack((flip, torch.ones(count)), 1)[:, None]
    points = points @ linear.transpose(1, 2) + translation  # (B, side², 2) from the centre
    images = pixels.to(torch.float32).permute(0, 3, 1, 2)  # (B, 3, side, side)
    images = _sample(images, points, "bilinear", "reflection").permute(0, 2, 3, 1).contiguous()
    return _jitter_colours(images, generator, min(strength, 0.6 + 0.4 * strength))


AUGMENTATIONS: Mapping[str, Augmentation] = {"digits": augment_digits, "photographs": augment_photographs}
"""By the name in a recipe."""


def _affine(rotation: Tensor, shear: Tensor, x_scale: Tensor, y_scale: Tensor) -> Tensor:
    """Return (B, 2, 2) matrices that rotate, shear and scale; each argument is (B,)."""
    cos, sin = rotation.cos(), rotation.sin()
    rows = (cos * x_scale, cos * shear - sin * y_scale), (sin * x_scale, sin * shear + cos * y_scale)
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _jitter_colours(images: Tensor, generator: Generator, strength: float) -> Tensor:
    """Vary saturation, contrast, colour balance and brightness of (B, H, W, 3) images."""
    count = len(images)
    balance = torch.exp(normal(generator, count, 1, 1, 3) * 0.06 * strength)
    brightness = torch.exp(normal(generator, count, 1, 1, 1) * 0.15 * strength)
    saturation = torch.exp(normal(generator, count, 1, 1, 1) * 0.20 * strength)
    contrast = torch.exp(normal(generator, count, 1, 1, 1) * 0.15 * strength)
    images = torch.lerp(images.mean(3, keepdim=True), images, saturation)
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
    return (images * balance * brightness).clamp_(0, 255)


def _pixel_centres(side: int) -> Tensor:
    """Return the centres of the pixels, (1, side², 2) as x and y, in pixels from the image's centre."""
    axis = torch.arange(side) + 0.5 - side / 2
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).view(1, -1, 2)


def _upsampling(side: int) -> Tensor:
    """Return the (knots², side²) matrix of bicubic interpolation from the coarse grid."""
    knots = torch.eye(_KNOTS**2).view(-1, 1, _KNOTS, _KNOTS)
    return interpolate(knots, side, mode="bicubic", align_corners=True).view(-1, side * side)


def _sample(images: Tensor, points: Tensor, mode: str, padding: str) -> Tensor:
    """Interpolate images (B, channels, side, side) at points (B, side², 2)."""
    side = images.shape[-1]
    grid = (points * (2 / side)).view(len(images), side, side, 2)
    return grid_sample(images, grid, mode, padding, align_corners=False)
