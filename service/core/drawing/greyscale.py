"""Conversion of decoded images to greyscale: no alpha, large images reduced, EXIF orientation applied."""

import numpy as np
from PIL import Image, ImageChops

from service.core.drawing import photo
from service.core.segmentation import colours

MAX_SIDE = 1024
"""Images with a longer side, in pixels, are reduced: digits on them are far larger than 20 x 20."""

_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "F")

_BAND_PIXELS = 2**18
"""Pixels converted and reduced at once."""


def to_grey(picture: Image.Image) -> Image.Image:
    """Convert a decoded image to greyscale.

    Args:
        picture: Any size and mode.

    Returns:
        Mode L, upright. If the longest side is n * `MAX_SIDE` or longer, n >= 2, each pixel is the mean of
        n x n. Transparent pixels have the background's grey.
    """
    times = max(1, max(picture.size) // MAX_SIDE)
    if picture.has_transparency_data:
        grey = _without_alpha(_reduced(picture, "RGBA", times))
    elif picture.mode in _GREY_MODES:
        grey = _reduced(picture, "L", times)
    else:
        grey = colours.grey(_reduced(picture, "RGB", times))
    if picture.info:  # it may contain EXIF data
        grey.info = picture.info
        photo.turn_upright(grey)
    return grey


def _reduced(picture: Image.Image, mode: str, times: int) -> Image.Image:
    """Convert an image to a mode and reduce it: each pixel becomes the mean of `times` x `times`.

    Works in bands of rows: converting and reducing the whole image takes up to twice its memory.
    """
    if picture.mode == mode and times == 1:
        return picture
    width, height = picture.size
    small = Image.new(mode, (-(-width // times), -(-height // times)))
    rows = max(1, _BAND_PIXELS // (width * times)) * times
    for top in range(0, height, rows):
        band = picture.crop((0, top, width, min(top + rows, height)))
        if band.mode.startswith("I"):  # 16 bits per pixel: Pillow would clip instead of scaling
            band = Image.fromarray((np.asarray(band) >> 8).astype(np.uint8))
        band = band if band.mode == mode else band.convert(mode)
        small.paste(band.reduce(times) if times > 1 else band, (0, top // times))
    return small


def _without_alpha(picture: Image.Image) -> Image.Image:
    """Return the greys of an RGBA image, with transparent pixels as background.

    The result is light on black, as the networks expect: greys are inverted if the opaque pixels are dark.
    """
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return colours.grey(picture)
    grey = picture.convert("L")
    levels, weights = (np.asarray(band).ravel() for band in (grey, alpha))
    excess = 0.0
    for start in range(0, len(levels), _BAND_PIXELS):
        part = slice(start, start + _BAND_PIXELS)
        excess += float((levels[part].astype(np.float32) - 128) @ weights[part].astype(np.float32))
    if excess < 0:
        grey = ImageChops.invert(grey)
    return ImageChops.multiply(grey, alpha)
