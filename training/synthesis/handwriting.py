"""Handwriting synthesis: renders pen strokes with random writer, pen and style, in batches.

A digit is a path: evenly spaced points along its strokes, scaled to a bounding box with larger side 1. The
rendering that the service uses is `service.core.drawing.mnist`; this one is fast on batches, and random.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from service.core.drawing.mnist import CENTRE, FIT, PEN, SIDE
from training.synthesis.polylines import resample
from training.synthesis.randomness import coin, normal, uniform

POINTS = 144
"""Points of a path; on a digit 20 pixels high they are at most about one pixel apart."""

_OWN_POINTS = 112
"""Points left to the digit's own strokes when a variant adds a stroke."""

_NARROW_SHARE, _NARROW = 0.12, (0.35, 0.8)
"""Share of the digits that are narrow, and the range of the factor of their width."""

_OPEN_SHARE = 0.12
"""Share of the eights that lose their ends."""

_MIN_PEN, _MAX_PEN = 1.1, 4.4
"""Range of the pen width, in pixels; it includes the widths that preprocessing normalises strokes to."""

_THICK_SHARE, _THICK_PEN = 0.04, (4.0, 6.0)
"""Share of the pens that close loops, and the range of their widths in pixels."""

_REACH = 3
"""Radius of the neighbourhood of a point in which pixels are computed, in pixels."""

_PADDED = SIDE + 2 * _REACH + 2
"""Side of the padded image, in pixels: the neighbourhood of a point at the edge lies within it."""


def to_path(strokes: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Resample strokes to a path: evenly spaced points, normalised to a bounding box of size 1.

    Args:
        strokes: (n, 2) each, n at least 1, in any unit.

    Returns:
        (POINTS, 2) float32, larger side 1, centre of the bounding box at 0.
    """
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    scale = 1 / max(float((high - low).max()), 1e-9)
    lengths = np.array([np.hypot(*np.diff(stroke, axis=0).T).sum() * scale for stroke in strokes])
    weights = lengths + 0.02  # gives points to a dot, whose length is 0
    counts = np.maximum(np.floor(weights / weights.sum() * POINTS).astype(int), 1)
    while counts.sum() > POINTS:
        counts[counts.argmax()] -= 1
    counts[lengths.argmax()] += POINTS - counts.sum()
    resampled = [resample(stroke, count)[0] for stroke, count in zip(strokes, counts, strict=True)]
    return np.asarray((np.concatenate(resampled) - (low + high) / 2) * scale, np.float32)


def render(paths: Tensor, generator: Generator, strength: float) -> Tensor:
    """Render paths as images, with random distortion and a random pen.

    Standard deviations at strength 1: rotation 0.14 radians, shear 0.16, width 14 %; three sine waves bend
    the plane, tremor moves the points, and some paths have a gap. The pen is 2.4 pixels times
    exp(0.3 normal) wide, one pen in 25 is thick enough to close small loops, its pressure varies by up to a
    quarter, and one pen in four is a chisel nib.

    Args:
        paths: (B, POINTS, 2) float32.
        generator: Source of randomness.
        strength: Factor of the distortion; the pen does not depend on it.

    Returns:
        (B, 28, 28) float32, 0 background to 255 ink; the digit's larger side is about 20 pixels.
    """
    count = len(paths)
    points = _bend(paths @ _affine(count, generator, strength).transpose(1, 2), generator, strength)
    points = _cut_gaps(points, generator, 0.15 * strength)
    pen = (PEN * torch.exp(normal(generator, count) * 0.30)).clamp(_MIN_PEN, _MAX_PEN)
    pen = torch.where(coin(generator, _THICK_SHARE, count), uniform(generator, *_THICK_PEN, count), pen)
    points = _place(points, pen, generator, strength)
    pressure = normal(generator, count, 1, 8) * uniform(generator, 0, 0.25, count, 1, 1)
    radius = pen[:, None] / 2 * (1 + _along(pressure)[..., 0]).clamp(0.4, 1.7)  # (B, POINTS)
    flatness = uniform(generator, 1, 1.8, count)
    flatness = torch.where(coin(generator, 0.25, count), flatness, 1.0)
    return 255 * _rasterise(points, radius, flatness, uniform(generator, 0, math.pi, count))


def vary_shape(paths: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Make 12 % of all digits but the ones narrow, and cut the ends off 12 % of the eights.

    Args:
        paths: (B, POINTS, 2) float32.
        labels: (B,) int64, the digits.
        generator: Source of randomness.

    Returns:
        (B, POINTS, 2) float32.
    """
    count = len(paths)
    narrow = coin(generator, _NARROW_SHARE, count) & (labels != 1)
    x_scale = torch.where(narrow, uniform(generator, *_NARROW, count), 1.0)
    paths = paths * torch.stack((x_scale, torch.ones(count)), 1)[:, None]
    return _trim(paths, coin(generator, _OPEN_SHARE, count) & (labels == 8), generator)


def add_variants(paths: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Add strokes of common variants of 0, 1 and 7 that are rare in the data.

    A slash through 25 % of the zeros, a bar across 15 % of the sevens, and a flag, a foot or both on 35 %
    of the ones.

    Args:
        paths: (B, POINTS, 2) float32.
        labels: (B,) int64, the digits.
        generator: Source of randomness.

    Returns:
        (B, POINTS, 2) float32.
    """
    draw = torch.rand(len(paths), generator=generator)
    chosen = (labels == 0) & (draw < 0.25) | (labels == 7) & (draw < 0.15) | (labels == 1) & (draw < 0.35)
    if not chosen.any():
        return paths
    old, label = paths[chosen], labels[chosen, None, None]
    own = old[:, torch.linspace(0, POINTS - 1, _OWN_POINTS).long()]
    slash, bar, flag = (variant(old, generator) for variant in (_slash, _bar, _flag))
    added = torch.where(label == 0, slash, torch.where(label == 7, bar, flag))
    changed = paths.clone()
    changed[chosen] = torch.cat((own, added), 1)
    return changed


def _trim(paths: Tensor, is_chosen: Tensor, generator: Generator) -> Tensor:
    """Cut up to 8 % off both ends of the chosen paths; the points move to the nearest remaining one."""
    cut = uniform(generator, 0.02, 0.08, 2, len(paths)) * POINTS * is_chosen
    number = torch.arange(POINTS)
    index = torch.maximum(number, cut[0].long()[:, None])
    index = torch.minimum(index, POINTS - 1 - cut[1].long()[:, None])
    return paths.gather(1, index[..., None].expand(-1, -1, 2))


def join(first: Tensor, second: Tensor, may_stack: Tensor, generator: Generator) -> Tensor:
    """Join two drawings to one: side by side, or for some one above the other.

    Args:
        first: (B, POINTS, 2) float32.
        second: (B, POINTS, 2) float32, to the right of the first, or below it.
        may_stack: (B,) bool; one in three of these is stacked.
        generator: Source of randomness.

    Returns:
        (B, POINTS, 2) float32, every other point of each; a gap of 10 to 70 % of a drawing's larger side.
    """
    count = len(first)
    first, second = first[:, ::2], second[:, ::2] * uniform(generator, 0.75, 1.25, count, 1, 1)
    stacked = (may_stack & coin(generator, 1 / 3, count))[:, None]
    gap = uniform(generator, 0.1, 0.7, count, 1)
    after = first.amax(1) - second.amin(1) + gap  # (B, 2)
    level = (first.amax(1) - second.amax(1)) + normal(generator, count, 2) * 0.08
    sideways = torch.stack((after[:, 0], level[:, 1]), 1)
    downwards = torch.stack((level[:, 0], after[:, 1]), 1)
    return torch.cat((first, second + torch.where(stacked, downwards, sideways)[:, None]), 1)


def _slash(old: Tensor, generator: Generator) -> Tensor:
    """Return a line from lower left to upper right, sometimes beyond the zero; (B, added, 2)."""
    count = len(old)
    low, high = old.amin(1), old.amax(1)
    reach = torch.stack((uniform(generator, 0.4, 1.7, count), -uniform(generator, 0.5, 1.5, count)), 1)
    middle = (low + high) / 2 + normal(generator, count, 2) * 0.05
    return middle[:, None] + _line() * ((high - low) / 2 * reach)[:, None]


def _bar(old: Tensor, generator: Generator) -> Tensor:
    """Return a short line across the stem, at about half the height; (B, added, 2)."""
    count = len(old)
    low, high = old[..., 1].amin(1), old[..., 1].amax(1)
    level = (low + high) / 2 + (high - low) / 2 * uniform(generator, -0.25, 0.35, count)
    near = torch.exp(-(((old[..., 1] - level[:, None]) / 0.06) ** 2))  # (B, POINTS)
    stem = (old[..., 0] * near).sum(1) / near.sum(1).clamp(min=1e-3)
    arm = torch.stack((uniform(generator, 0.14, 0.32, count), uniform(generator, -0.1, 0.06, count)), 1)
    middle = torch.stack((stem + normal(generator, count) * 0.04, level), 1)
    return middle[:, None] + _line() * arm[:, None]


def _flag(old: Tensor, generator: Generator) -> Tensor:
    """Return a stroke from the top down to the left, for one in four with a foot; (B, added, 2)."""
    count = len(old)
    rows = torch.arange(count)
    top = old[rows, old[..., 1].argmin(1)][:, None]
    bottom = old[rows, old[..., 1].argmax(1)][:, None]
    down = uniform(generator, 0.15, 0.95, count)
    fall = torch.stack((-down * uniform(generator, 0.4, 1.1, count), down), 1)
    flag = top + (_line() + 1) / 2 * fall[:, None]
    half_width = torch.stack((uniform(generator, 0.12, 0.35, count), torch.zeros(count)), 1)
    foot = bottom + _line() * half_width[:, None]
    both = torch.cat((flag[:, ::2], foot[:, ::2]), 1)
    return torch.where(coin(generator, 0.25, count, 1, 1), both, flag)


def _line() -> Tensor:
    """Return positions from -1 to 1 along an added stroke; (1, added, 1)."""
    return torch.linspace(-1, 1, POINTS - _OWN_POINTS).view(1, -1, 1)


def _along(knots: Tensor) -> Tensor:
    """Interpolate (B, C, knots) linearly along the path; (B, POINTS, C)."""
    return interpolate(knots, POINTS, mode="linear", align_corners=True).transpose(1, 2)


def _affine(count: int, generator: Generator, strength: float) -> Tensor:
    """Return (B, 2, 2) matrices that scale the width, shear and rotate."""
    rotation = normal(generator, count) * 0.14 * strength
    shear = normal(generator, count) * 0.16 * strength
    x_scale = torch.exp(normal(generator, count) * 0.14 * strength)
    cos, sin = rotation.cos(), rotation.sin()
    rows = (cos * x_scale, cos * shear * x_scale - sin), (sin * x_scale, sin * shear * x_scale + cos)
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _bend(points: Tensor, generator: Generator, strength: float) -> Tensor:
    """Displace points by three sine waves and by tremor."""
    count = len(points)
    for _ in range(3):
        wave = normal(generator, count, 1, 2) * 3.2  # radians per length of the digit
        phase = uniform(generator, 0, 2 * math.pi, count, 1)
        push = normal(generator, count, 1, 2) * 0.022 * strength
        points = points + push * torch.sin((points * wave).sum(-1) + phase)[..., None]
    tremor = normal(generator, count, 2, 12) * uniform(generator, 0, 1, count, 1, 1) ** 2
    return points + _along(tremor * 0.022 * strength)


def _cut_gaps(points: Tensor, generator: Generator, share: float) -> Tensor:
    """Cut a gap of 3 to 10 % of the length into a share of the paths.

    The points of the gap move to the point before it.
    """
    count = len(points)
    length = uniform(generator, 0.03, 0.10, count) * POINTS
    begin = (torch.rand(count, generator=generator) * (POINTS - length))[:, None]
    has_gap = coin(generator, share, count, 1)
    number = torch.arange(POINTS)
    in_gap = has_gap & (number >= begin) & (number < begin + length[:, None])
    before = points[torch.arange(count), (begin[:, 0].long() - 1).clamp(min=0)]
    return torch.where(in_gap[..., None], before[:, None], points)


def _place(points: Tensor, pen: Tensor, generator: Generator, strength: float) -> Tensor:
    """Scale and centre paths as `service.core.drawing.mnist` does, with random deviation; in pixels."""
    count = len(points)
    side = (points.amax(1) - points.amin(1)).amax(1).clamp(min=0.05)
    scale = (FIT - pen) / side * torch.exp(normal(generator, count) * 0.03 * strength)
    centred = (points - points.mean(1, keepdim=True)) * scale[:, None, None]
    return centred + CENTRE + normal(generator, count, 1, 2) * 0.35 * strength


def _rasterise(points: Tensor, radius: Tensor, flatness: Tensor, angle: Tensor) -> Tensor:
    """Rasterise a pen at every point of a path; a pixel takes the maximum over all points.

    Args:
        points: (B, POINTS, 2), pixels from the image's left and upper edge.
        radius: (B, POINTS), pixels.
        flatness: (B,), factor of the longer and divisor of the shorter axis of the nib; 1 is round.
        angle: (B,), rotation of the nib in radians.

    Returns:
        (B, SIDE, SIDE) float32, 0 to 1.
    """
    count = len(points)
    points = points.clamp(-0.99, SIDE + 0.99)
    cell = points.floor()
    offsets = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32)
    away = offsets - (points - cell - 0.5)[..., None]  # (B, POINTS, 2, K), pixels
    dx, dy = away[:, :, 0, None, :], away[:, :, 1, :, None]
    cos, sin = angle.cos(), angle.sin()
    metric = (
        cos**2 / flatness + sin**2 * flatness,
        cos * sin * (1 / flatness - flatness),
        sin**2 / flatness + cos**2 * flatness,
    )
    xx, xy, yy = (each[:, None, None, None] for each in metric)
    distance = (xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy).clamp_(min=0).sqrt_()  # (B, POINTS, K, K)
    ink = ((radius + 0.5)[..., None, None] - distance).flatten(1)
    corner = (cell[..., 1] + _REACH + 1) * _PADDED + cell[..., 0] + _REACH + 1
    around = offsets.long()[:, None] * _PADDED + offsets.long()
    index = (corner.long()[..., None, None] + around).flatten(1)
    padded = torch.zeros(count, _PADDED**2).scatter_reduce_(1, index, ink, "amax")
    inner = slice(_REACH + 1, _REACH + 1 + SIDE)
    return padded.view(count, _PADDED, _PADDED)[:, inner, inner].clamp(0, 1)
