"""Chart of the first layer's weights, one image per unit.

The service draws the same weights on request, in the lesson's colours; here the theme's palette is used.
"""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.core.network import weight_images
from training.report.charts.plot_style import DOTS_PER_INCH, Palette

_MAX_WIDTH, _MIN_WIDTH, _MARGIN, _HEAD = 1090, 700, 16, 62
"""In pixels: largest width, smallest width, margin around the images, space for the title."""

_MANY = 128
"""Number of units above which the images have fewer shades, to limit the size of the file."""

_COLOUR_SHADES = 6
"""Shades above and below grey, per channel of a colour image."""


def weight_grid(weights: NDArray[np.float32], shape: tuple[int, ...], model: str, palette: Palette) -> Figure:
    """Draw the weights of every unit as an image in a grid.

    Args:
        weights: [inputs, units] of the first layer.
        shape: Shape of an image: height, width, and channels if it has any.
        model: Name and version of the network.
        palette: Colours of the theme.
    """
    units = weights.shape[1]
    columns = weight_images.grid_columns(units)
    images = weights.T.reshape(units, *shape).astype(np.float64)
    is_halved = len(shape) == 3 and not any(side % 2 for side in shape[:2])  # limits the size of the file
    if is_halved:
        images = images.reshape(units, shape[0] // 2, 2, shape[1] // 2, 2, -1).mean(axis=(2, 4))
        images = images.reshape(*images.shape[:3], *shape[2:])
    height, width = images.shape[1:3]
    grid = np.empty((*weight_images.grid_size(units, height, width), 3))
    grid[:] = to_rgb(palette.background)
    for unit, image in enumerate(images):
        top, left = (unit // columns) * (height + 1), (unit % columns) * (width + 1)
        grid[top : top + height, left : left + width] = _weight_image(
            image, 9 if units > _MANY else 24, palette
        )
    scale = max(1, (_MAX_WIDTH - 2 * _MARGIN) // grid.shape[1])
    pixels = weight_images.enlarge(np.round(grid * 255).astype(np.uint8), scale)
    tall, wide = pixels.shape[0] + _HEAD + _MARGIN, max(pixels.shape[1] + 2 * _MARGIN, _MIN_WIDTH)
    chart = Figure(figsize=(wide / DOTS_PER_INCH, tall / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    chart.figimage(pixels, _MARGIN, _MARGIN, origin="upper")
    chart.text(
        _MARGIN / wide, 1 - 22 / tall, f"{model}: first layer", fontsize=13, fontweight="bold", va="center"
    )
    if len(shape) == 2:
        caption = "blue: ink raises the activation;  orange: lowers it"
    else:
        caption = "grey: weight 0;  lighter: the channel raises the activation;  darker: lowers it"
    caption += ";  scaled per image" + (";  2 x 2 weights averaged" if is_halved else "")
    chart.text(_MARGIN / wide, 1 - 45 / tall, caption, fontsize=9, va="center")
    return chart


def _weight_image(weights: NDArray[np.float64], shades: int, palette: Palette) -> NDArray[np.float64]:
    """Map one unit's weights, (H, W) or (H, W, 3), to colours, (H, W, 3) from 0 to 1.

    Greyscale weights get `shades` shades of each of two colours, few enough for the file's palette.
    """
    v = weights / (np.abs(weights).max() or 1.0)
    if v.ndim == 3:
        return np.asarray((1 + np.round(v * _COLOUR_SHADES) / _COLOUR_SHADES) / 2)
    v = np.round(v * shades) / shades
    background, plus, minus = (
        np.array(to_rgb(colour)) for colour in (palette.background, palette.first, palette.second)
    )
    away = np.maximum(v, 0)[..., None] * (plus - background) + np.maximum(-v, 0)[..., None] * (
        minus - background
    )
    return np.asarray(background + away)
