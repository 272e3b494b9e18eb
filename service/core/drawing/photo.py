"""Preprocessing of photographs: central crop and resize to 64 x 64 RGB, for API and trainer alike."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.core.drawing import steps
from service.core.drawing.steps import StepRecorder

SIDE = 64
"""Height and width of a preprocessed photograph, in pixels."""

SHAPE = (SIDE, SIDE, 3)

_RESIZABLE_MODES = ("L", "RGB", "CMYK", "I", "I;16")
"""Pillow's modes that can be resized before they are converted to RGB: without palette and alpha."""


def prepare(picture: Image.Image, recorder: StepRecorder | None = None) -> NDArray[np.uint8]:
    """Crop the central square of a photograph, resize it with a box filter, and apply its EXIF orientation.

    Args:
        picture: Any size and mode; it is not changed. Transparent pixels become white; of 16 bits per
            channel, the upper 8 are used.
        recorder: Records the steps `drawn`, `cropped` and `taken`; only `taken` if the size is 64 x 64
            already.

    Returns:
        (64, 64, 3) uint8 RGB. An RGB image of 64 x 64 is returned unchanged.
    """
    mode = picture.mode
    if not mode.startswith("I") and picture.has_transparency_data:
        mode = "RGBA"
    elif mode not in _RESIZABLE_MODES:
        mode = "RGB"
    picture = picture if picture.mode == mode else picture.convert(mode)  # convert() always copies
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = (left, top, left + side, top + side)
    image = _scaled(picture, square, (SIDE, SIDE))
    if recorder is not None:
        if picture.size != (SIDE, SIDE):
            whole = (0, 0, *picture.size)
            recorder.add("drawn", _scaled(picture, whole, steps.reduced(*picture.size)))
            recorder.add("cropped", _scaled(picture, square, steps.reduced(side, side)))
        recorder.add("taken", image)
    return image


def turn_upright(picture: Image.Image) -> None:
    """Apply the EXIF orientation to a decoded image, in place; ignore invalid EXIF data."""
    with suppress(Exception):  # Pillow's EXIF parser raises exceptions of many types
        ImageOps.exif_transpose(picture, in_place=True)


def _scaled(picture: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize the pixels within a box to (width, height), and apply the EXIF orientation: (H, W, 3) uint8."""
    small = picture.resize(size, Image.Resampling.BOX, box=box)
    turn_upright(small)
    if small.mode.startswith("I"):
        small = Image.fromarray((np.asarray(small) >> 8).astype(np.uint8))
    elif small.mode == "RGBA":
        white = Image.new("RGBA", small.size, "white")
        white.alpha_composite(small)
        small = white
    return np.asarray(small.convert("RGB"))
