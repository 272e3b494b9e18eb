"""Choice of the grey that a colour picture is converted to.

Brightness is what most drawings differ in. Ink and paper of one brightness differ in hue alone, and ink on a
background from black to white is darker than it in one place and lighter in another: such a picture is
converted by the axis from the paper's hue to the ink's.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core import sheet

Floats = NDArray[np.float32]

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

_STROKES = 0.45
"""Share of the picture that differs in hue above which it is no ink but, for example, a table."""


def grey(picture: Image.Image) -> Image.Image:
    """Convert a colour picture to the greys in which ink and paper differ most.

    Args:
        picture: Of mode RGB, or RGBA without transparent pixels.

    Returns:
        Of mode L.
    """
    chosen = weights(picture)
    return picture.convert("L") if chosen is None else picture.convert("RGB").convert("L", chosen)


def weights(picture: Image.Image) -> Weights | None:
    """Return how a colour picture should be converted to grey; None for brightness, as most are.

    Args:
        picture: Of mode RGB, or RGBA without transparent pixels.
    """
    times = max(1, max(picture.size) // _SAMPLE)
    small = _reduced(picture, times)
    highest = np.maximum(np.maximum(small[:, :, 0], small[:, :, 1]), small[:, :, 2])
    lowest = np.minimum(np.minimum(small[:, :, 0], small[:, :, 1]), small[:, :, 2])
    if int((highest - lowest).max()) < _COLOURED:
        return None
    pixels = small.astype(np.float32)
    brightness = pixels @ _LUMA
    hue = pixels - brightness[:, :, None]
    paper = np.median(hue.reshape(-1, 3), axis=0)
    distance = np.linalg.norm(hue - paper, axis=2)
    contrast = sheet.strongest(distance)
    ink = distance > 0.5 * contrast
    if contrast < _COLOURED or np.count_nonzero(ink) > _STROKES * ink.size:
        return None
    away = brightness - sheet.paper(np.rint(brightness).astype(np.uint8))
    bright = max(sheet.strongest(away), sheet.strongest(-away))
    grey_ink = (np.abs(away) > 0.5 * bright) & (distance < _LOST * contrast)
    if bright > _COLOURED and np.count_nonzero(grey_ink) > _MANY * np.count_nonzero(ink):
        return None  # what is coloured is a line, a stamp or a table
    is_even = float(np.ptp(np.percentile(brightness[~ink], (5, 95)))) < _UNEVEN
    if contrast < _STRONGER * bright and not _is_lost(away[ink]) and (is_even or contrast < _VIVID):
        return None
    axis = np.median(hue[ink], axis=0) - paper
    axis -= axis @ np.ones(3, np.float32) / 3  # brightness has no part in it
    length = float(axis @ axis)
    if length == 0:
        return None
    # Paper becomes 64 and ink 192, whatever their hues.
    axis *= 128 / float(axis @ (np.median(hue[ink], axis=0) - paper))
    red, green, blue = axis.tolist()
    return red, green, blue, 64 - float(axis @ paper)


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
