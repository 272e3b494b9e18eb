"""Weight images: the weights of a unit, or the attribution of an input image, drawn as RGBA images."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Palette = Literal["lesson", "safe", "colour"]
"""`lesson`: green for positive and purple for negative weights. `safe`: blue and orange, which remain
distinct with all common forms of colour blindness. `colour`: only for weights of RGB images; each pixel has
the colour that activates the unit most."""

_COLOURS: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "lesson": ((0, 255, 0), (255, 0, 255)),
    "safe": ((0, 114, 178), (213, 94, 0)),
}
"""RGB of +1 and of -1. `safe` has blue and vermilion of Okabe and Ito, "Color Universal Design", 2008."""

_BLOCK = 16_384
"""Weights coloured at once: in float64, intermediate arrays take 160 bytes per weight."""

_GAP = 1
"""Transparent pixels between the images of a grid."""


def weight_image(weights: NDArray[np.float32], palette: Palette = "lesson") -> NDArray[np.uint8]:
    """Draw weights: one colour for positive weights, another for negative ones, white for weights near zero.

    With v = weight / max|weight|, palette `lesson` has red = blue = 1 - max(v, 0), green = 1 - max(-v, 0),
    and alpha 0 where v = 0, else 1. Palette `safe` fades from white to its two colours in the same way.

    Weights of an RGB image are drawn as three such planes from top to bottom, red, green and blue, on one
    scale. Palette `colour` draws one image instead, with RGB (1 + v) / 2: grey where the weight is zero.

    Args:
        weights: (H, W) or (H, W, 3) float32, any range; if all are zero, the image is transparent.
        palette: Colours; `colour` requires (H, W, 3).

    Returns:
        RGBA, uint8; height and width as `image_size`.

    Source: the weight images of the lesson that Inkling is based on, without planes and `colour`.
    """
    largest = np.max(np.abs(weights)) or 1.0
    if weights.ndim == 3 and palette != "colour":
        weights = weights.transpose(2, 0, 1).reshape(-1, weights.shape[1])
    height, width = weights.shape[:2]
    image = np.empty((height, width, 4), np.uint8)
    rows = max(1, _BLOCK // width)
    for top in range(0, height, rows):
        part = weights[top : top + rows].astype(np.float64) / largest
        image[top : top + rows] = np.floor(_coloured(part, palette) * 255 + 0.5)
    return image


def _coloured(v: NDArray[np.float64], palette: Palette) -> NDArray[np.float64]:
    """Return RGBA, 0 to 1, of weights between -1 and 1."""
    if palette == "colour":
        return np.concatenate([(1 + v) / 2, v.any(axis=2, keepdims=True)], axis=-1)
    plus, minus = (np.asarray(colour) / 255 for colour in _COLOURS[palette])
    away = np.maximum(v, 0)[..., None] * (1 - plus) + np.maximum(-v, 0)[..., None] * (1 - minus)
    return np.concatenate([1 - away, (v != 0)[..., None]], axis=-1)


def share_image(shares: NDArray[np.float32], palette: Palette = "lesson") -> NDArray[np.uint8]:
    """Draw the attribution of an image with the colours of `weight_image`, as an overlay of the image.

    The three shares of an RGB pixel are added; palette `colour` draws them separately.

    Args:
        shares: (H, W) or (H, W, 3) float32, as in `attribution.Explanation`.
        palette: Colours; `colour` requires (H, W, 3).

    Returns:
        (H, W, 4) uint8 RGBA.
    """
    if shares.ndim == 3 and palette != "colour":
        shares = shares.sum(axis=2)
    return weight_image(shares, palette)


def weight_grid(
    weights: NDArray[np.float32], height: int, width: int, palette: Palette = "lesson"
) -> NDArray[np.uint8]:
    """Draw the weight images of all units of a layer in a grid, row by row.

    Args:
        weights: [inputs, units] float32 with inputs = height * width, or 3 * height * width for RGB.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        palette: Colours.

    Returns:
        RGBA, uint8; height and width as `grid_size`. One transparent pixel separates neighbours, and each
        image has a scale of its own.
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
    """Return whether a shape is that of a greyscale or RGB image: (H, W) or (H, W, 3)."""
    return len(shape) == 2 or (len(shape), shape[-1]) == (3, 3)


def image_size(shape: Sequence[int], palette: Palette) -> tuple[int, int]:
    """Return the height and width in pixels of a weight image, for an input image of a shape."""
    height, width = shape[:2]
    planes = 1 if len(shape) == 2 or palette == "colour" else shape[2]
    return planes * height, width


def grid_size(units: int, height: int, width: int) -> tuple[int, int]:
    """Return the height and width in pixels of a grid of images of one size, one per unit."""
    columns = grid_columns(units)
    rows = -(-units // columns)
    return rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP


def grid_columns(units: int) -> int:
    """Return the number of columns of a grid.

    The smallest number, from the square root to twice the root, that fills every row; otherwise the root,
    rounded up: 10 gives 5, 128 gives 16, 512 gives 32, 17 gives 5.
    """
    root = math.ceil(math.sqrt(units))
    full = [columns for columns in range(root, 2 * root) if units % columns == 0]
    return full[0] if full else root


def enlarge(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Return the image with each pixel repeated as a square of `scale` x `scale`, scale >= 1."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)
