"""Preprocessing of photographs: central crop and resize, for API and trainer alike."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.core.drawing import steps
from service.core.drawing.steps import StepRecorder

SIDE = 64
"""Height and width of a photograph of the flowers network, in pixels."""

SHAPE = (SIDE, SIDE, 3)

_RESIZABLE_MODES = ("L", "RGB", "CMYK", "I", "I;16")
"""Pillow's modes that can be resized before they are converted to RGB: without palette and alpha."""


_ORIENTATION = 0x0112
"""EXIF tag."""

_TURNED = (5, 6, 7, 8)
"""Values of the tag with which width and height are exchanged."""


def prepare(
    picture: Image.Image, recorder: StepRecorder | None = None, shape: tuple[int, ...] = SHAPE
) -> NDArray[np.uint8]:
    """Crop the central part of a photograph, resize it with a box filter, and apply its EXIF orientation.

    The part is the largest one of the proportions of the result.

    Args:
        picture: Any size and mode; it is not changed. Transparent pixels become white; of 16 bits per
            channel, the upper 8 are used.
        recorder: Records the steps `drawn`, `cropped` and `taken`; only `taken` if the picture has the size
            of the result already.
        shape: Shape of the result, (H, W) or (H, W, 3).

    Returns:
        (H, W) uint8 grey, or (H, W, 3) uint8 RGB. An image of this size and mode is returned unchanged.
    """
    mode = picture.mode
    if not mode.startswith("I") and picture.has_transparency_data:
        mode = "RGBA"
    elif mode not in _RESIZABLE_MODES:
        mode = "RGB"
    picture = picture if picture.mode == mode else picture.convert(mode)  # convert() always copies
    height, width = shape[:2]
    target = "RGB" if len(shape) > 2 else "L"
    size = (height, width) if _is_turned(picture) else (width, height)  # before it is turned upright
    part = _central_part(picture.size, size)
    image = _scaled(picture, part, size, target)
    if recorder is not None:
        if picture.size != size:
            whole = (0, 0, *picture.size)
            cropped = steps.reduced(part[2] - part[0], part[3] - part[1])
            recorder.add("drawn", _scaled(picture, whole, steps.reduced(*picture.size), target))
            recorder.add("cropped", _scaled(picture, part, cropped, target))
        recorder.add("taken", image)
    return image


def _central_part(size: tuple[int, int], proportions: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of the largest central part of (width, height) that has other proportions."""
    width, height = size
    across, down = proportions
    kept_width = min(width, max(1, height * across // down))
    kept_height = min(height, max(1, width * down // across))
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return left, top, left + kept_width, top + kept_height


def _is_turned(picture: Image.Image) -> bool:
    """Return whether the EXIF orientation exchanges width and height; False if the EXIF data are invalid."""
    with suppress(Exception):  # Pillow's EXIF parser raises exceptions of many types
        return picture.getexif().get(_ORIENTATION) in _TURNED
    return False


def turn_upright(picture: Image.Image) -> None:
    """Apply the EXIF orientation to a decoded image, in place; ignore invalid EXIF data."""
    with suppress(Exception):  # Pillow's EXIF parser raises exceptions of many types
        ImageOps.exif_transpose(picture, in_place=True)


def _scaled(
    picture: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int], target: str
) -> NDArray[np.uint8]:
    """Resize the pixels within a box to (width, height), and apply the EXIF orientation.

    Args:
        picture: The whole picture.
        box: Left, upper, right and lower edge.
        size: Width and height of the result before it is turned upright.
        target: Mode of the result, `RGB` or `L`.

    Returns:
        (H, W, 3) or (H, W) uint8.
    """
    small = picture.resize(size, Image.Resampling.BOX, box=box)
    turn_upright(small)
    if small.mode.startswith("I"):
        small = Image.fromarray((np.asarray(small) >> 8).astype(np.uint8))
    elif small.mode == "RGBA":
        white = Image.new("RGBA", small.size, "white")
        white.alpha_composite(small)
        small = white
    return np.asarray(small.convert(target))
