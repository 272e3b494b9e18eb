"""Pen strokes drawn anew, as other hands with other pens would have drawn them.

A digit is held as a trail: points at equal distances along its strokes, the larger side 1 long. How
strokes are drawn for the service is `service.core.ink`'s affair; this here must be quick on whole
batches, and varied.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from service.core.ink import CENTRE, FIT, PEN, SIDE

POINTS = 144
"""Of a trail: on a digit 20 pixels high a pixel or less apart."""

_OWN = 112
"""Points that a digit keeps when a slash, a bar, a flag or a foot takes the others."""

_THINNEST, _THICKEST = 1.1, 4.4
"""Pens, in pixels of the image; what `paper` finds on pictures is brought to widths within these."""

_REACH = 3
"""Pixels to every side of the one it stands in that a print of the pen can touch."""

_PAGE = SIDE + 2 * _REACH + 2
"""Side of the page that is printed on, in pixels: a print at the image's edge must not leave it."""


def trail(strokes: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Lay evenly spaced points along strokes.

    Args:
        strokes: (n, 2) each, n at least 1, in any unit.

    Returns:
        (POINTS, 2) float32, the larger side 1 long, the middle of the bounding box at 0.
    """
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    scale = 1 / max(float((high - low).max()), 1e-9)
    lengths = np.array([np.hypot(*np.diff(stroke, axis=0).T).sum() * scale for stroke in strokes])
    weights = lengths + 0.02  # so that a dot gets its points too
    counts = np.maximum(np.floor(weights / weights.sum() * POINTS).astype(int), 1)
    while counts.sum() > POINTS:
        counts[counts.argmax()] -= 1
    counts[lengths.argmax()] += POINTS - counts.sum()
    laid = [_spaced(stroke, count) for stroke, count in zip(strokes, counts, strict=True)]
    return np.asarray((np.concatenate(laid) - (low + high) / 2) * scale, np.float32)


def draw(trails: Tensor, generator: Generator, strength: float) -> Tensor:
    """Draw trails as another hand with another pen would have.

    Deviations at strength 1: 0.14 radians of turn, 0.16 of slant, 14 % of width; three waves that bend
    the plane, an unsteady hand, a pen that skips now and then. The pen's width is 2.4 pixels times
    exp(0.3 normal), its pressure changes by up to a quarter, and one pen in four is a chisel.

    Args:
        trails: (B, POINTS, 2) float32.
        generator: Source of randomness.
        strength: What the deviations of the hand are multiplied by.

    Returns:
        (B, 28, 28) float32, 0 background to 255 ink, the digit's larger side about 20.
    """
    count = len(trails)
    points = _bent(trails @ _linear(count, generator, strength).transpose(1, 2), generator, strength)
    points = _skipped(points, generator, 0.15 * strength)
    pen = (PEN * torch.exp(_normal(generator, count) * 0.30)).clamp(_THINNEST, _THICKEST)
    points = _placed(points, pen, generator, strength)
    pressure = _normal(generator, count, 1, 8) * _between(generator, 0, 0.25, count, 1, 1)
    radius = pen[:, None] / 2 * (1 + _along(pressure)[..., 0]).clamp(0.4, 1.7)  # (B, POINTS)
    flat = _between(generator, 1, 1.8, count)
    flat = torch.where(torch.rand(count, generator=generator) < 0.25, flat, 1.0)
    return 255 * _printed(points, radius, flat, _between(generator, 0, math.pi, count))


def restyle(trails: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Write some digits in ways that few of the data's writers use and many people do.

    A slash through a quarter of the zeros, a bar across 15 % of the sevens, and a flag, a foot or both
    for 35 % of the ones.

    Args:
        trails: (B, POINTS, 2) float32.
        labels: (B,) int64, the digits.
        generator: Source of randomness.

    Returns:
        (B, POINTS, 2) float32.
    """
    luck = torch.rand(len(trails), generator=generator)
    chosen = (labels == 0) & (luck < 0.25) | (labels == 7) & (luck < 0.15) | (labels == 1) & (luck < 0.35)
    if not chosen.any():
        return trails
    old, label = trails[chosen], labels[chosen, None, None]
    kept = old[:, torch.linspace(0, POINTS - 1, _OWN).long()]
    slash, bar, flag = (style(old, generator) for style in (_slash, _bar, _flag))
    added = torch.where(label == 0, slash, torch.where(label == 7, bar, flag))
    changed = trails.clone()
    changed[chosen] = torch.cat((kept, added), 1)
    return changed


def _slash(old: Tensor, generator: Generator) -> Tensor:
    """Return a line from below left to above right, some of them beyond the zero; (B, added, 2)."""
    count = len(old)
    low, high = old.amin(1), old.amax(1)
    reach = torch.stack((_between(generator, 0.4, 1.5, count), -_between(generator, 0.5, 1.3, count)), 1)
    middle = (low + high) / 2 + _normal(generator, count, 2) * 0.05
    return middle[:, None] + _line() * ((high - low) / 2 * reach)[:, None]


def _bar(old: Tensor, generator: Generator) -> Tensor:
    """Return a short line across the ink about half-way down; (B, added, 2)."""
    count = len(old)
    low, high = old[..., 1].amin(1), old[..., 1].amax(1)
    level = (low + high) / 2 + (high - low) / 2 * _between(generator, -0.25, 0.35, count)
    near = torch.exp(-(((old[..., 1] - level[:, None]) / 0.06) ** 2))  # (B, POINTS)
    stem = (old[..., 0] * near).sum(1) / near.sum(1).clamp(min=1e-3)
    arm = torch.stack((_between(generator, 0.14, 0.32, count), _between(generator, -0.1, 0.06, count)), 1)
    middle = torch.stack((stem + _normal(generator, count) * 0.04, level), 1)
    return middle[:, None] + _line() * arm[:, None]


def _flag(old: Tensor, generator: Generator) -> Tensor:
    """Return a stroke from the top down to the left, for one in four a foot as well; (B, added, 2)."""
    count = len(old)
    rows = torch.arange(count)
    top = old[rows, old[..., 1].argmin(1)][:, None]
    bottom = old[rows, old[..., 1].argmax(1)][:, None]
    down = _between(generator, 0.15, 0.95, count)
    fall = torch.stack((-down * _between(generator, 0.4, 1.1, count), down), 1)
    flag = top + (_line() + 1) / 2 * fall[:, None]
    wide = torch.stack((_between(generator, 0.12, 0.35, count), torch.zeros(count)), 1)
    foot = bottom + _line() * wide[:, None]
    both = torch.cat((flag[:, ::2], foot[:, ::2]), 1)
    return torch.where(torch.rand(count, 1, 1, generator=generator) < 0.25, both, flag)


def _line() -> Tensor:
    """Return places from -1 to 1 along an added stroke; (1, added, 1)."""
    return torch.linspace(-1, 1, POINTS - _OWN).view(1, -1, 1)


def _spaced(stroke: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))))
    places = np.linspace(0, along[-1], count)
    return np.stack([np.interp(places, along, axis) for axis in stroke.T], 1)


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


def _between(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator) * (high - low) + low


def _along(knots: Tensor) -> Tensor:
    """Interpolate (B, C, knots) along the trail; (B, POINTS, C)."""
    return interpolate(knots, POINTS, mode="linear", align_corners=True).transpose(1, 2)


def _linear(count: int, generator: Generator, strength: float) -> Tensor:
    """Return (B, 2, 2) maps of the plane that stretch, slant and turn."""
    turn = _normal(generator, count) * 0.14 * strength
    slant = _normal(generator, count) * 0.16 * strength
    wide = torch.exp(_normal(generator, count) * 0.14 * strength)
    cos, sin = turn.cos(), turn.sin()
    rows = (cos * wide, cos * slant * wide - sin), (sin * wide, sin * slant * wide + cos)
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _bent(points: Tensor, generator: Generator, strength: float) -> Tensor:
    """Bend the plane by three waves, and let the hand shake."""
    count = len(points)
    for _ in range(3):
        wave = _normal(generator, count, 1, 2) * 3.2  # radians per length of the digit
        phase = _between(generator, 0, 2 * math.pi, count, 1)
        push = _normal(generator, count, 1, 2) * 0.022 * strength
        points = points + push * torch.sin((points * wave).sum(-1) + phase)[..., None]
    shake = _normal(generator, count, 2, 12) * _between(generator, 0, 1, count, 1, 1) ** 2
    return points + _along(shake * 0.022 * strength)


def _skipped(points: Tensor, generator: Generator, share: float) -> Tensor:
    """Leave out 3 to 10 % of the way on a share of the digits: those points fall on the one before."""
    count = len(points)
    length = _between(generator, 0.03, 0.10, count) * POINTS
    begin = (torch.rand(count, generator=generator) * (POINTS - length))[:, None]
    skips = torch.rand(count, 1, generator=generator) < share
    number = torch.arange(POINTS)
    gone = skips & (number >= begin) & (number < begin + length[:, None])
    before = points[torch.arange(count), (begin[:, 0].long() - 1).clamp(min=0)]
    return torch.where(gone[..., None], before[:, None], points)


def _placed(points: Tensor, pen: Tensor, generator: Generator, strength: float) -> Tensor:
    """Fit trails into the image as `service.core.ink` does, but for a little chance; in pixels."""
    count = len(points)
    side = (points.amax(1) - points.amin(1)).amax(1).clamp(min=0.05)
    scale = (FIT - pen) / side * torch.exp(_normal(generator, count) * 0.03 * strength)
    centred = (points - points.mean(1, keepdim=True)) * scale[:, None, None]
    return centred + CENTRE + _normal(generator, count, 1, 2) * 0.35 * strength


def _printed(points: Tensor, radius: Tensor, flat: Tensor, angle: Tensor) -> Tensor:
    """Print a pen at every point of a trail, the darkest print of a pixel counting.

    Args:
        points: (B, POINTS, 2), pixels from the image's left and upper edge.
        radius: (B, POINTS), pixels.
        flat: (B,), what a chisel's longer axis is multiplied and its shorter one divided by; 1 is round.
        angle: (B,), radians of the chisel.

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
    metric = (cos**2 / flat + sin**2 * flat, cos * sin * (1 / flat - flat), sin**2 / flat + cos**2 * flat)
    xx, xy, yy = (each[:, None, None, None] for each in metric)
    distance = (xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy).clamp_(min=0).sqrt_()  # (B, POINTS, K, K)
    ink = ((radius + 0.5)[..., None, None] - distance).flatten(1)
    corner = (cell[..., 1] + _REACH + 1) * _PAGE + cell[..., 0] + _REACH + 1
    around = offsets.long()[:, None] * _PAGE + offsets.long()
    index = (corner.long()[..., None, None] + around).flatten(1)
    page = torch.zeros(count, _PAGE**2).scatter_reduce_(1, index, ink, "amax")
    inner = slice(_REACH + 1, _REACH + 1 + SIDE)
    return page.view(count, _PAGE, _PAGE)[:, inner, inner].clamp(0, 1)
