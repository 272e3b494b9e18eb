"""Segmentation of pictures that show more than a sheet of paper and one digit.

The background is estimated by a morphological closing (opening for light ink): it removes what is thin, such
as strokes, and keeps what is wide, such as a table beside the sheet or a shadow across it. Ink is what
differs from the background. Of its connected components those of the digit are kept.

Source of the operators: Serra, "Image Analysis and Mathematical Morphology", 1982.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import components
from service.core.drawing.components import Components

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE = 112
"""Larger side of the reduced picture that is segmented, in pixels."""

_WINDOW = 0.34
"""Side of the square of the closing, relative to the smaller side: wider than a stroke, and than the hole of
an eight."""

_CENTRAL = 0.6
"""Share of width and height in the middle of the picture whose median is the grey of the paper."""

_FAINTEST = 6
"""Grey levels between ink and background below which nothing is drawn."""

_INK_FLOOR = 0.3
"""Share of the digit's full ink that a pixel must have to belong to a stroke."""

_SIGMA = 1.4826
"""Standard deviation over median absolute deviation, for normal noise."""

_SPECK = 0.03
"""What has less than this share of the digit's ink and lies apart from it is dirt."""

_RULED = 0.85
"""Share of a component's pixels near the edges of its box from which on it is a frame or a pair of axes."""

_FLAT = 0.22
"""Height of a horizontal line relative to its length; a line is no digit if there is anything else."""

_BEYOND = 0.08
"""How far a side of a box goes beyond the digit at both ends, relative to the digit's size."""

_FROM_OUTSIDE = 0.2
"""Weight of what reaches in from the picture's edge, and of horizontal lines, in the search for the digit."""

_UNDERLINE = 0.45
"""Length of a horizontal line below the digit, relative to the digit's size, from which on it underlines."""

_NEAR, _NEAR_EDGE = 0.3, 0.05
"""Distance from the digit's main component, relative to its size, up to which others belong to it; and the
same of those that reach in from the picture's edge."""

_EDGE = 1
"""Pixels between a component and the picture's edge up to which it reaches in from outside."""

_EVERY = 5
"""Medians of a picture's pixels are taken of one pixel in so many."""

_GROW = 2
"""Pixels around the digit's components whose ink is kept, for their soft edges."""


@dataclass(frozen=True)
class Segmentation:
    """Background and ink of a reduced picture.

    Attributes:
        background: (h, w) float32, grey levels of the picture without ink.
        sign: 1 for light ink on a dark background, -1 for dark ink.
        keep: (h, w) bool, pixels of the digit and its soft edges.
        box: Left, top, right and bottom of the digit, in pixels of the reduced picture.
        thickness: Mean stroke width, relative to the larger side of the digit.
        support: Share of the outline of the ink where the picture has a step of at least half the contrast.
    """

    background: Floats
    sign: int
    keep: Mask
    box: tuple[int, int, int, int]
    thickness: float
    support: float


def segment(grey: NDArray[np.uint8]) -> Segmentation | None:
    """Segment a reduced picture.

    Args:
        grey: (h, w) uint8, about `SIDE` pixels large.

    Returns:
        None if there is no ink.
    """
    closed, opened = _background(grey, -1), _background(grey, 1)
    away = grey - paper(grey)
    found = []
    for sign, background in ((-1, closed), (1, opened)):
        segmentation = _with_sign(grey, background, sign)
        if segmentation is not None:
            evidence = _evidence(grey, background, sign, away)
            weight = evidence**0.4 * segmentation.support**16 / segmentation.thickness**0.5
            if _edges(segmentation.box, grey.shape) > 1:
                weight *= _FROM_OUTSIDE  # more likely a strip of light between two shadows
            found.append((weight, segmentation))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _edges(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> int:
    """Return how many of a picture's edges a box reaches."""
    left, top, right, bottom = box
    return sum(margin <= _EDGE for margin in (left, top, shape[1] - right, shape[0] - bottom))


def _with_sign(grey: NDArray[np.uint8], background: Floats, sign: int) -> Segmentation | None:
    """Segment a reduced picture whose ink is lighter (1) or darker (-1) than the background."""
    ink = (grey - background) * np.float32(sign)
    sample = ink.ravel()[::_EVERY]
    ink -= np.float32(_median(sample))
    noise = _SIGMA * _median(np.abs(sample))
    full = strongest(ink)
    if full < max(_FAINTEST, 3 * noise):
        return None
    found = components.connected(ink > max(_INK_FLOOR * full, min(4 * noise, 0.6 * full)))
    if not found.count:
        return None
    kept = _digit(found, ink)
    mask = np.isin(found.labels, kept + 1)
    boxes = found.boxes[kept]
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    thickness = stroke_width(mask) / max(right - left, bottom - top)
    keep = grown(mask, _GROW, np.maximum)
    support = _support(grey, mask, _median(ink[mask]))
    box = (left, top, right, bottom)
    return Segmentation(_smooth(grey, background, mask), sign, keep, box, thickness, support)


def _support(grey: NDArray[np.uint8], mask: Mask, contrast: float) -> float:
    """Return the share of a mask's outline where the picture has a step of at least half the contrast."""
    outline = mask & ~grown(mask, 1, np.minimum)
    high, low = _windowed(grey, 5, np.maximum), _windowed(grey, 5, np.minimum)
    return float(np.mean((high - low)[outline] >= 0.5 * contrast))


def stroke_width(mask: Mask) -> float:
    """Return the mean width of strokes in pixels: twice the area over the length of the outline."""
    steps = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    return 2 * np.count_nonzero(mask) / max(steps * np.pi / 4, 1.0)


def _evidence(grey: NDArray[np.uint8], background: Floats, sign: int, away: Floats) -> float:
    """Return how much of the picture looks like ink of a polarity.

    Not only strokes are thin: the hole of an eight is as well. It has the grey of the paper, however.

    Args:
        grey: (h, w) uint8.
        background: Its closing or opening.
        sign: 1 for light ink, -1 for dark ink.
        away: (h, w) float32, the picture less the grey of the paper.
    """
    ink = (grey - background) * np.float32(sign)
    return 1.0 + float(ink[away * np.float32(sign) > 0.5 * ink].sum())


def paper(grey: NDArray[np.uint8]) -> Floats:
    """Return the grey of the paper as a plane, fitted to what is near the median of the picture's middle."""
    height, width = grey.shape
    top, left = round(height * (1 - _CENTRAL) / 2), round(width * (1 - _CENTRAL) / 2)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    terms = _terms(height, width)
    values = grey.reshape(-1)[::_EVERY].astype(np.float32)
    middle = grey[top : height - top : 2, left : width - left : 2]
    fit = np.array([_median(middle.ravel()), 0, 0], np.float32)
    reach = max(24.0, 3 * _SIGMA * _median(np.abs(middle - fit[0]).ravel()))
    for _ in range(3):
        near = np.abs(values - terms @ fit) < reach
        chosen = terms[near]
        fit = np.linalg.solve(chosen.T @ chosen + np.eye(3, dtype=np.float32), chosen.T @ values[near])
    return np.asarray(fit[0] + fit[1] * x + fit[2] * y, np.float32)


@lru_cache(maxsize=64)
def _terms(height: int, width: int) -> Floats:
    """Return 1, x and y of one pixel in `_EVERY`, from -1 to 1: (pixels, 3)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.stack((np.ones_like(x), x, y), axis=-1).reshape(-1, 3)[::_EVERY]


def strongest(values: Floats) -> float:
    """Return about the seventh largest value: a few wild pixels are not what the pen did."""
    largest = float(values.max())
    strong = np.sort(values[values > 0.25 * largest])  # np.partition is slow where most values are equal
    return float(strong[max(len(strong) - 7, 0)]) if len(strong) else largest


def _median(values: NDArray[Any]) -> float:
    """Return the upper median of (n,) values; np.median is slow where most values are equal."""
    return float(np.sort(values)[len(values) // 2])


def _background(grey: NDArray[np.uint8], sign: int) -> Floats:
    """Return the closing of a picture (sign -1: dark structures are filled) or its opening (1), float32.

    Beyond its edges the picture goes on as it ends, so that what lies along an edge is wide and is kept.
    """
    side = max(3, round(_WINDOW * min(grey.shape)) | 1)
    padded = np.pad(grey, side, mode="edge")
    first, second = (np.minimum, np.maximum) if sign > 0 else (np.maximum, np.minimum)
    done = _windowed(_windowed(padded, side, first), side, second)
    return np.asarray(done[side:-side, side:-side], np.float32)


def _windowed(
    grey: NDArray[np.uint8], side: int, choose: Callable[..., NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the maximum or minimum in a square window around each pixel; edge pixels are repeated."""
    for _ in range(2):
        grey = np.ascontiguousarray(_along_rows(grey, side // 2, choose).T)
    return grey


def _along_rows(
    grey: NDArray[np.uint8], reach: int, choose: Callable[..., NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the maximum or minimum of the rows within `reach` of each row, by doubling the window."""
    window = 2 * reach + 1
    padded = np.empty((len(grey) + 2 * reach, grey.shape[1]), np.uint8)
    padded[:reach], padded[reach:-reach], padded[-reach:] = grey[0], grey, grey[-1]
    covered = 1
    while covered < window:
        step = min(covered, window - covered)
        padded = choose(padded[:-step], padded[step:])
        covered += step
    return padded


def _digit(found: Components, ink: Floats) -> NDArray[np.intp]:
    """Return the indices of the digit's components."""
    height, width = ink.shape
    mass = found.sums(np.maximum(ink, 0))
    boxes = found.boxes
    margins = np.minimum(boxes[:, :2], [width, height] - boxes[:, 2:]).min(axis=1)
    at_edge = np.asarray(margins <= _EDGE, np.bool_)
    ruled = np.array([_is_ruled(found, index) for index in range(found.count)])
    middle = np.stack((boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]), axis=1) / 2
    away = np.abs(middle / [width, height] - 0.5).max(axis=1)
    flat = boxes[:, 3] - boxes[:, 1] <= _FLAT * (boxes[:, 2] - boxes[:, 0])
    score = mass * np.where(at_edge | flat, _FROM_OUTSIDE, 1) * np.where(ruled, 0.05, 1) * (1.2 - away)
    main = int(score.argmax())
    left, top, right, bottom = boxes[main].tolist()
    size = max(right - left, bottom - top)
    x0, y0, x1, y1 = boxes.T
    gap = np.maximum(np.maximum(x0 - right, left - x1), np.maximum(y0 - bottom, top - y1))
    is_near = gap <= np.where(at_edge & ~at_edge[main], _NEAR_EDGE, _NEAR) * size
    is_underline = flat & (y0 + y1 >= 2 * bottom) & (x1 - x0 > _UNDERLINE * size)
    beyond = _BEYOND * size
    is_side = (flat & (x0 < left - beyond) & (x1 > right + beyond)) | (
        (x1 - x0 <= _FLAT * (y1 - y0)) & (y0 < top - beyond) & (y1 > bottom + beyond)
    )  # of a box whose other sides were not found; the stem of a four begins where its angle does
    kept = is_near & ~is_underline & ~is_side & ~ruled & (mass >= _SPECK * mass[main])
    kept[main] = True
    return np.flatnonzero(kept)


def _is_ruled(found: Components, index: int) -> bool:
    """Return whether a component is a frame, or a pair of axes, with another component inside its box."""
    left, top, right, bottom = found.boxes[index].tolist()
    width, height = right - left, bottom - top
    if min(width, height) < 12:
        return False
    own = found.labels[top:bottom, left:right] == index + 1
    x, y = max(2, round(0.1 * width)), max(2, round(0.1 * height))
    inner = own[y:-y, x:-x]
    if np.count_nonzero(inner) > (1 - _RULED) * np.count_nonzero(own):
        return False
    others = found.labels[top + y : bottom - y, left + x : right - x]
    return bool(((others > 0) & (others != index + 1)).sum() > 8)


def _smooth(grey: NDArray[np.uint8], background: Floats, mask: Mask) -> Floats:
    """Return the picture with the ink replaced by the background, without the closing's bias by noise."""
    around = grown(mask, 2, np.maximum)
    outside = ~around
    sample = (grey - background)[outside][::_EVERY]
    bias = _median(sample) if len(sample) else 0.0
    return np.where(around, background + np.float32(bias), grey).astype(np.float32)


def grown(mask: Mask, steps: int, choose: Callable[..., NDArray[np.uint8]]) -> Mask:
    """Return a mask grown (np.maximum) or shrunk (np.minimum) by so many pixels to every side."""
    grey = mask.astype(np.uint8)
    for _ in range(2):
        grey = np.ascontiguousarray(_along_rows(grey, steps, choose).T)
    return grey > 0


def enlarged(values: Floats | Mask, box: tuple[float, float, float, float], wide: int, tall: int) -> Floats:
    """Return a part of a reduced picture in another size, interpolated: (tall, wide) float32.

    Args:
        values: (h, w).
        box: Left, top, right and bottom, in pixels of `values`.
        wide: Width of the answer.
        tall: Height of the answer.
    """
    picture = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(picture.resize((wide, tall), Image.Resampling.BILINEAR, box=box), np.float32)
