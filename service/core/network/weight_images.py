"""Pictures of what a network has learnt.

Pure functions of arrays. Turning a picture into a file is the edge's work.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Palette = Literal["lesson", "safe", "colour"]
"""`lesson` is green for positive and purple for negative weights; `safe` is blue and orange, which
people with any of the common colour-blindnesses can tell apart. `colour` is for weights of red, green and
blue alone, and shows each pixel in the colour that speaks for the unit."""

_INKS: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "lesson": ((0, 255, 0), (255, 0, 255)),
    "safe": ((0, 114, 178), (213, 94, 0)),
}
"""The colours of +1 and of -1. Those of `safe` are blue and vermilion of Okabe and Ito, "Color
Universal Design", 2008."""

_BLOCK = 16_384
"""Weights that are coloured at a time."""

_GAP = 1
"""Transparent pixels between the images of a grid."""


def weight_image(weights: NDArray[np.float32], palette: Palette = "lesson") -> NDArray[np.uint8]:
    """Colour weights: one colour for positive, another for negative, white for nearly none.

    With v = weight / max|weight|, palette `lesson` gives red = blue = 1 - max(v, 0),
    green = 1 - max(-v, 0), and alpha 0 where v = 0, else 1. Other palettes fade from white to their
    own two colours in the same way.

    Weights of a colour image have one such plane for red, one for green and one for blue, in this order
    from top to bottom, all three on one scale. Palette `colour` makes one image of the three instead, whose
    red, green and blue are (1 + v) / 2: grey where the unit does not mind.

    Args:
        weights: (H, W) float32, or (H, W, 3) for red, green and blue; any range; all zero gives an all
            transparent image.
        palette: Which colours; `colour` needs (H, W, 3).

    Returns:
        Of `image_size`, with 4 channels, uint8: red, green, blue, alpha.

    Source: the weight images of the lesson that Inkling grew out of; planes and `colour` are ours.
    """
    largest = np.max(np.abs(weights)) or 1.0
    if weights.ndim == 3 and palette != "colour":
        weights = weights.transpose(2, 0, 1).reshape(-1, weights.shape[1])
    height, width = weights.shape[:2]
    image = np.empty((height, width, 4), np.uint8)
    rows = max(1, _BLOCK // width)  # at a time: in double precision all of them take 160 bytes a number
    for top in range(0, height, rows):
        part = weights[top : top + rows].astype(np.float64) / largest
        image[top : top + rows] = np.floor(_coloured(part, palette) * 255 + 0.5)
    return image


def _coloured(v: NDArray[np.float64], palette: Palette) -> NDArray[np.float64]:
    """Return the red, green, blue and alpha, 0 to 1, of weights between -1 and 1."""
    if palette == "colour":
        return np.concatenate([(1 + v) / 2, v.any(axis=2, keepdims=True)], axis=-1)
    plus, minus = (np.asarray(ink) / 255 for ink in _INKS[palette])
    away = np.maximum(v, 0)[..., None] * (1 - plus) + np.maximum(-v, 0)[..., None] * (1 - minus)
    return np.concatenate([1 - away, (v != 0)[..., None]], axis=-1)


def share_image(shares: NDArray[np.float32], palette: Palette = "lesson") -> NDArray[np.uint8]:
    """Colour the shares of an image's pixels in a logit as `weight_image` colours weights.

    A pixel of red, green and blue has one share, the sum of the three, so that the picture can lie over the
    photograph; palette `colour` shows the three instead.

    Args:
        shares: (H, W) float32, or (H, W, 3) for red, green and blue.
        palette: Which colours; `colour` needs (H, W, 3).

    Returns:
        (H, W, 4) uint8: red, green, blue, alpha.
    """
    if shares.ndim == 3 and palette != "colour":
        shares = shares.sum(axis=2)
    return weight_image(shares, palette)


def weight_grid(
    weights: NDArray[np.float32], height: int, width: int, palette: Palette = "lesson"
) -> NDArray[np.uint8]:
    """Arrange the weight images of all units of a layer in a grid, row by row.

    Args:
        weights: [inputs, units] float32 with inputs = height * width, or three times as many for colours.
        height: Of what the network sees, in pixels.
        width: Of what the network sees, in pixels.
        palette: Which colours.

    Returns:
        Of `grid_size`, with 4 channels, uint8; one transparent pixel lies
        between neighbours, and each image has its own scale, as `weight_image` gives it.
    """
    inputs, units = weights.shape
    shape = (height, width) if inputs == height * width else (height, width, 3)
    height, width = image_size(shape, palette)
    columns = grid_columns(units)
    grid = np.zeros((*grid_size(units, height, width), 4), np.uint8)
    for unit in range(units):
        top, left = (unit // columns) * (height + _GAP), (unit % columns) * (width + _GAP)
        image = weight_image(weights[:, unit].reshape(shape), palette)
        grid[top : top + height, left : left + width] = image
    return grid


def is_picture(shape: Sequence[int]) -> bool:
    """Tell whether images of a shape can be drawn: grey, or red, green and blue."""
    return len(shape) == 2 or (len(shape), shape[-1]) == (3, 3)


def image_size(shape: Sequence[int], palette: Palette) -> tuple[int, int]:
    """Return the height and width of the weight image of a unit that sees images of a shape, in pixels."""
    height, width = shape[:2]
    planes = 1 if len(shape) == 2 or palette == "colour" else shape[2]
    return planes * height, width


def grid_size(units: int, height: int, width: int) -> tuple[int, int]:
    """Return the height and width of a grid of that many images, in pixels."""
    columns = grid_columns(units)
    rows = -(-units // columns)
    return rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP


def grid_columns(units: int) -> int:
    """Return how many columns a grid of that many images has.

    The nearest number at or above the square root that fills every row, if one lies below twice the
    root; else the root rounded up: 10 gives 5, 128 gives 16, 512 gives 32, 17 gives 5.
    """
    root = math.ceil(math.sqrt(units))
    full = [columns for columns in range(root, 2 * root) if units % columns == 0]
    return full[0] if full else root


def enlarge(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Return the image with every pixel as a square of `scale` x `scale`, scale >= 1."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)
