"""The weights of a first layer as images, for a report.

The service draws the same weights on demand, in the lesson's colours; here they suit the paper.
"""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.core import insight
from training.report.charts.plot_style import DOTS_PER_INCH, Ink

_WIDTH, _WORDS, _MARGIN, _HEAD = 1090, 700, 16, 62
"""Pixels: of the picture of all weights at most, of the words at least, around the weights and above."""

_MANY = 128
"""Units; of more of them the images have fewer shades, so that the file stays small."""

_COLOUR_SHADES = 6
"""Above and below grey, for each channel of a colour image."""


def weight_grid(weights: NDArray[np.float32], shape: tuple[int, ...], who: str, ink: Ink) -> Figure:
    """Draw the weights of every unit as an image, all of them in a grid, pixel by pixel.

    Args:
        weights: [inputs, units] of the first layer.
        shape: Of an image: height, width, and channels if it has any.
        who: Name and version of the network.
        ink: The colours.
    """
    units = weights.shape[1]
    columns = insight.grid_columns(units)
    images = weights.T.reshape(units, *shape).astype(np.float64)
    is_halved = len(shape) == 3 and not any(side % 2 for side in shape[:2])  # else files grow large
    if is_halved:
        images = images.reshape(units, shape[0] // 2, 2, shape[1] // 2, 2, -1).mean(axis=(2, 4))
        images = images.reshape(*images.shape[:3], *shape[2:])
    height, width = images.shape[1:3]
    grid = np.empty((*insight.grid_size(units, height, width), 3))
    grid[:] = to_rgb(ink.paper)
    for unit, image in enumerate(images):
        top, left = (unit // columns) * (height + 1), (unit % columns) * (width + 1)
        grid[top : top + height, left : left + width] = _weight_image(image, 9 if units > _MANY else 24, ink)
    scale = max(1, (_WIDTH - 2 * _MARGIN) // grid.shape[1])
    pixels = insight.enlarge(np.round(grid * 255).astype(np.uint8), scale)
    tall, wide = pixels.shape[0] + _HEAD + _MARGIN, max(pixels.shape[1] + 2 * _MARGIN, _WORDS)
    made = Figure(figsize=(wide / DOTS_PER_INCH, tall / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    made.figimage(pixels, _MARGIN, _MARGIN, origin="upper")
    made.text(
        _MARGIN / wide, 1 - 22 / tall, f"{who}: first layer", fontsize=13, fontweight="bold", va="center"
    )
    if len(shape) == 2:
        words = "blue: ink there speaks for the unit;  orange: against it"
    else:
        words = "grey: no weight;  lighter: that colour speaks for the unit;  darker: against it"
    words += ";  each to its own scale" + (";  2 x 2 weights averaged" if is_halved else "")
    made.text(_MARGIN / wide, 1 - 45 / tall, words, fontsize=9, va="center")
    return made


def _weight_image(weights: NDArray[np.float64], shades: int, ink: Ink) -> NDArray[np.float64]:
    """Colour one unit's weights: (H, W) or (H, W, 3) to (H, W, 3) of 0 to 1.

    Grey images get so many shades of each of their two colours, few enough that a file keeps them.
    """
    v = weights / (np.abs(weights).max() or 1.0)
    if v.ndim == 3:
        return np.asarray((1 + np.round(v * _COLOUR_SHADES) / _COLOUR_SHADES) / 2)
    v = np.round(v * shades) / shades
    paper, plus, minus = (np.array(to_rgb(colour)) for colour in (ink.paper, ink.first, ink.second))
    away = np.maximum(v, 0)[..., None] * (plus - paper) + np.maximum(-v, 0)[..., None] * (minus - paper)
    return np.asarray(paper + away)
