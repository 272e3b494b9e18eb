"""Photographs of any size to the 64 x 64 x 3 that the flowers' network was trained on.

The one preparation for the interface and the trainer. Reading picture files is the edge's work.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 64
"""Height and width of a prepared photograph, in pixels."""

SHAPE = (SIDE, SIDE, 3)

_SCALED = ("L", "RGB", "CMYK", "I", "I;16")
"""Pillow's modes that mean the same scaled before they are converted: without palette or transparency."""


def prepare(picture: Image.Image) -> NDArray[np.uint8]:
    """Cut out a photograph's middle square, scale it down by a box filter, and turn it upright.

    Args:
        picture: Of any size and mode, upright as its EXIF data say; it is left as it is. What is transparent
            becomes white; of 16 bits a pixel the upper 8 are taken.

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
    box = (left, top, left + side, top + side)
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)
    small = ImageOps.exif_transpose(small)
    if mode.startswith("I"):
        small = Image.fromarray((np.asarray(small) >> 8).astype(np.uint8))
    elif mode == "RGBA":
        white = Image.new("RGBA", small.size, "white")
        white.alpha_composite(small)
        small = white
    return np.asarray(small.convert("RGB"))
