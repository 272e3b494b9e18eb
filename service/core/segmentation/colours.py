"""Choice of the grey that a colour picture is converted to.

Brightness is what most drawings differ in. Ink and paper of one brightness differ in hue alone, and ink on a
background from black to white is darker than it in one place and lighter in another: such a picture is
converted by the axis from the paper's hue to the ink's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from service.core.segmentation import components, levels

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

Weights = tuple[float, float, float, float]
"""Factors of red, green and blue, and what is added; as Pillow's `convert("L", weights)` takes them."""

_SAMPLE = 64
"""Larger side of the reduced picture that the choice is made on, in pixels."""

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""ITU-R BT.601, as Pillow converts."""

_COLOURED = 40.0
"""Distance of hues, of 255, below which a picture is grey; JPEG and a sensor's noise differ by less."""

_STRONGER = 2.0
"""How many times the contrast of brightness the contrast of hue must be to replace it."""

_UNEVEN, _VIVID = 60.0, 100.0
"""Range of the paper's brightness from which on it is uneven, and distance of hues from which on ink is
vivid: vivid ink on uneven paper is seen by its hue."""

_LOST, _MANY = 0.3, 0.15
"""Brightness loses ink if more than 0.15 of the ink has less than 0.3 of the contrast."""

_CLEARLY = 1.5
"""How many times as much ink without colour as coloured ink a picture has whose colours are lines over it."""

_HUES, _ONE_HUE, _LINE = 3, 0.85, 108
"""Hues of lines that are looked for, the cosine from which on two hues are one, and the least level of a line
in the picture that shows its hue, where lines are 192 and paper is 64."""

_FILTERED = 400
"""Larger side in pixels of the picture from which lines are removed; up to twice as much."""

_STROKES = 0.45
"""Share of the picture that differs in hue above which it is no ink but, for example, a table."""


def grey(picture: Image.Image) -> Image.Image:
    """Convert a colour picture to the greys in which ink and paper differ most.

    Args:
        picture: Of mode RGB, or RGBA without transparent pixels.

    Returns:
        Of mode L.
    """
    chosen = _choose(picture)
    if chosen.weights is not None:
        return picture.convert("RGB").convert("L", chosen.weights)
    return _without_lines(picture, chosen.lines) if chosen.lines else picture.convert("L")


class _Choice(NamedTuple):
    """How a colour picture is converted.

    Attributes:
        weights: None for brightness.
        lines: Weights that make coloured lines light and everything else dark; the lines are removed.
    """

    weights: Weights | None = None
    lines: tuple[Weights, ...] = ()


def weights(picture: Image.Image) -> Weights | None:
    """Return how a colour picture should be converted to grey; None for brightness, as most are.

    Args:
        picture: Of mode RGB, or RGBA without transparent pixels.
    """
    return _choose(picture).weights


def _choose(picture: Image.Image) -> _Choice:
    times = max(1, max(picture.size) // _SAMPLE)
    small = _reduced(picture, times)
    highest = np.maximum(np.maximum(small[:, :, 0], small[:, :, 1]), small[:, :, 2])
    lowest = np.minimum(np.minimum(small[:, :, 0], small[:, :, 1]), small[:, :, 2])
    if int((highest - lowest).max()) < _COLOURED:
        return _Choice()
    pixels = small.astype(np.float32)
    brightness = pixels @ _LUMA
    hue = pixels - brightness[:, :, None]
    paper = np.median(hue.reshape(-1, 3), axis=0)
    distance = np.linalg.norm(hue - paper, axis=2)
    contrast = levels.strongest(distance)
    ink = distance > 0.5 * contrast
    if contrast < _COLOURED or np.count_nonzero(ink) > _STROKES * ink.size:
        return _Choice()
    away = brightness - levels.paper(np.rint(brightness).astype(np.uint8))
    bright = max(levels.strongest(away), levels.strongest(-away))
    grey_ink = (np.abs(away) > 0.5 * bright) & (distance < _LOST * contrast)
    if bright > _COLOURED and np.count_nonzero(grey_ink) > _MANY * np.count_nonzero(ink):
        # What is coloured is a line, a stamp or a table.
        return _Choice(lines=_lines(np.abs(away), grey_ink, hue - paper, distance))
    is_even = float(np.ptp(np.percentile(brightness[~ink], (5, 95)))) < _UNEVEN
    if contrast < _STRONGER * bright and not _is_lost(away[ink]) and (is_even or contrast < _VIVID):
        return _Choice()
    return _Choice(_along(np.median(hue[ink], axis=0) - paper, paper))


def _along(axis: Floats, paper: Floats) -> Weights | None:
    """Return the weights by which a hue becomes 192 and the paper 64.

    Args:
        axis: The hue less the paper's, (3,).
        paper: The hue of the paper.
    """
    direction = axis - axis.mean()  # brightness has no part in it
    length = float(direction @ axis)
    if length <= 0:
        return None
    direction = direction * (128 / length)
    red, green, blue = direction.tolist()
    return red, green, blue, 64 - float(direction @ paper)


def _lines(away: Floats, grey_ink: Mask, hues: Floats, distance: Floats) -> tuple[Weights, ...]:
    """Return how to find coloured lines that cross a digit in black or grey ink.

    Args:
        away: (h, w) brightness less that of the paper, without sign.
        grey_ink: (h, w) pixels of ink without colour.
        hues: (h, w, 3) hue less that of the paper.
        distance: Their lengths.

    Returns:
        None if the colour may be the digit's: where the ink without colour reaches the picture's edge, or is
        not clearly more than the coloured.
    """
    found = components.connected(grey_ink)
    main = found.boxes[int(found.sums(away).argmax())]
    height, width = grey_ink.shape
    coloured = distance > _COLOURED
    if min(*main[:2], width - main[2], height - main[3]) < 1:
        return ()
    if away[grey_ink].sum() < _CLEARLY * away[coloured & ~grey_ink].sum():
        return ()
    lines = []
    for _ in range(_HUES):
        if not coloured.any():
            break
        axis = hues[np.unravel_index(int((distance * coloured).argmax()), distance.shape)]
        likeness = hues @ axis / (np.linalg.norm(axis) * np.maximum(distance, 1))
        coloured &= likeness < _ONE_HUE
        chosen = _along(axis, np.zeros(3, np.float32))
        if chosen is not None:
            lines.append(chosen)
    return tuple(lines)


def _without_lines(picture: Image.Image, lines: Sequence[Weights]) -> Image.Image:
    """Return the brightness of a picture, with what lies under coloured lines filled from beside them.

    A large picture is reduced in size, as filters take long.
    """
    picture = picture.convert("RGB").reduce(max(1, max(picture.size) // _FILTERED))
    side = max(3, max(picture.size) // 150 | 1)
    mask = np.zeros((picture.height, picture.width), np.bool_)
    for line in lines:
        shown = picture.convert("L", line).filter(ImageFilter.MaxFilter(side))
        mask |= np.asarray(shown) > _LINE
    brightness = np.asarray(picture.convert("L"))
    weight = Image.fromarray(np.where(mask, 0, 255).astype(np.uint8))
    light = Image.fromarray(np.where(mask, 0, brightness).astype(np.uint8))
    blur = ImageFilter.BoxBlur(2 * side)
    around = np.asarray(weight.filter(blur), np.float32)
    filled = np.asarray(light.filter(blur), np.float32) * 255 / np.maximum(around, 1)
    return Image.fromarray(
        np.where(mask & (around > 0), np.minimum(filled, 255), brightness).astype(np.uint8)
    )


def _reduced(picture: Image.Image, times: int) -> NDArray[np.uint8]:
    """Return red, green and blue of a picture reduced in size: (h, w, 3)."""
    if picture.mode == "RGB":
        return np.asarray(picture.reduce(times))
    # With alpha, Pillow would multiply it into the colours first. Such files are seldom noisy photographs.
    size = (max(1, picture.width // times), max(1, picture.height // times))
    return np.asarray(picture.resize(size, Image.Resampling.NEAREST))[:, :, :3]


def _is_lost(away: Floats) -> bool:
    """Return whether some of the ink is as bright as the paper around it.

    Args:
        away: (pixels,) brightness of ink, less that of the paper.
    """
    contrast = float(np.percentile(np.abs(away), 90))
    sign = 1 if away.sum() > 0 else -1
    return bool(np.mean(sign * away < _LOST * contrast) > _MANY)
