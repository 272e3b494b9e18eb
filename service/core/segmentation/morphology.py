"""Morphology of small pictures: maxima and minima in windows, and the width of strokes.

Source of the operators: Serra, "Image Analysis and Mathematical Morphology", 1982.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def stroke_width(mask: Mask) -> float:
    """Return the mean width of strokes in pixels: twice the area over the length of the outline."""
    steps = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    return 2 * np.count_nonzero(mask) / max(steps * np.pi / 4, 1.0)


def grown(mask: Mask, steps: int, choose: Callable[..., NDArray[np.uint8]]) -> Mask:
    """Return a mask grown (np.maximum) or shrunk (np.minimum) by so many pixels to every side."""
    grey = mask.astype(np.uint8)
    for _ in range(2):
        grey = np.ascontiguousarray(_along_rows(grey, steps, choose).T)
    return grey > 0


def enlarged(values: Floats | Mask, box: tuple[float, float, float, float], wide: int, tall: int) -> Floats:
    """Return a part of a reduced picture in another size, interpolated: (tall, wide) float32.

    Args:
        values: (h, w).
        box: Left, top, right and bottom, in pixels of `values`.
        wide: Width of the answer.
        tall: Height of the answer.
    """
    picture = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(picture.resize((wide, tall), Image.Resampling.BILINEAR, box=box), np.float32)


def windowed(
    grey: NDArray[np.uint8], side: int, choose: Callable[..., NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the maximum or minimum in a square window around each pixel; edge pixels are repeated."""
    for _ in range(2):
        grey = np.ascontiguousarray(_along_rows(grey, side // 2, choose).T)
    return grey


def _along_rows(
    grey: NDArray[np.uint8], reach: int, choose: Callable[..., NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return the maximum or minimum of the rows within `reach` of each row, by doubling the window."""
    window = 2 * reach + 1
    padded = np.empty((len(grey) + 2 * reach, grey.shape[1]), np.uint8)
    padded[:reach], padded[reach:-reach], padded[-reach:] = grey[0], grey, grey[-1]
    covered = 1
    while covered < window:
        step = min(covered, window - covered)
        padded = choose(padded[:-step], padded[step:])
        covered += step
    return padded
