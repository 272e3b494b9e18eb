"""Photographs of any size to the 64 x 64 x 3 that the flowers' network was trained on.

The one preparation for the interface and the trainer. Reading picture files is the edge's work.
"""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.core.drawing import steps as trace
from service.core.drawing.steps import Trace

SIDE = 64
"""Height and width of a prepared photograph, in pixels."""

SHAPE = (SIDE, SIDE, 3)

_SCALED = ("L", "RGB", "CMYK", "I", "I;16")
"""Pillow's modes that mean the same scaled before they are converted: without palette or transparency."""


def prepare(picture: Image.Image, steps: Trace | None = None) -> NDArray[np.uint8]:
    """Cut out a photograph's middle square, scale it down by a box filter, and turn it upright.

    Args:
        picture: Of any size and mode, upright as its EXIF data say; it is left as it is. What is transparent
            becomes white; of 16 bits a pixel the upper 8 are taken.
        steps: Where to show the steps: `drawn`, `cropped` and `taken`, or `taken` alone where a picture has
            the size already.

    Returns:
        (64, 64, 3) uint8, red, green, blue; a picture that has this shape already, unchanged.
    """
    mode = picture.mode
    if not mode.startswith("I") and picture.has_transparency_data:
        mode = "RGBA"
    elif mode not in _SCALED:
        mode = "RGB"
    picture = picture if picture.mode == mode else picture.convert(mode)  # which would copy
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = (left, top, left + side, top + side)
    image = _scaled(picture, square, (SIDE, SIDE))
    if steps is not None:
        if picture.size != (SIDE, SIDE):
            everything = (0, 0, *picture.size)
            steps.add("drawn", _scaled(picture, everything, trace.reduced(*picture.size)))
            steps.add("cropped", _scaled(picture, square, trace.reduced(side, side)))
        steps.add("taken", image)
    return image


def turn_upright(picture: Image.Image) -> None:
    """Turn a decoded picture as its EXIF data say, in place; data that cannot be read say nothing."""
    with suppress(Exception):  # Pillow's reader raises whatever its parsing runs into
        ImageOps.exif_transpose(picture, in_place=True)


def _scaled(picture: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale what is within a box down to (width, height), upright: (H, W, 3) uint8."""
    small = picture.resize(size, Image.Resampling.BOX, box=box)
    turn_upright(small)
    if small.mode.startswith("I"):
        small = Image.fromarray((np.asarray(small) >> 8).astype(np.uint8))
    elif small.mode == "RGBA":
        white = Image.new("RGBA", small.size, "white")
        white.alpha_composite(small)
        small = white
    return np.asarray(small.convert("RGB"))
