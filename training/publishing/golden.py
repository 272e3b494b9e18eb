"""Images that every network must be able to answer for, made up by rule.

They go into published folders, so none of them comes from a data set.
"""

import numpy as np
from numpy.typing import NDArray

CURVES = 4
"""Of the images, how many are strokes of a pen."""

_PEN_RADIUS = 0.045
"""Of the image's shorter side: about the pen of an MNIST digit."""


def images(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    """Make a handful of images: blank, full, two gradients, and some strokes of a pen.

    Args:
        shape: Of one image, (H, W) or (H, W, channels).
        seed: Of the strokes.

    Returns:
        (8, *shape) uint8.
    """
    height, width = shape[:2]
    down = np.linspace(0, 1, height)[:, None] * np.ones((1, width))
    across = np.ones((height, 1)) * np.linspace(0, 1, width)
    generator = np.random.default_rng(seed)
    inks = [np.zeros_like(down), np.ones_like(down), down, across]
    inks += [_curve(height, width, generator) for _ in range(CURVES)]
    gray = np.rint(np.stack(inks) * 255).astype(np.uint8)  # (8, H, W)
    channels = gray.reshape((*gray.shape, *(1 for _ in shape[2:])))
    return np.ascontiguousarray(np.broadcast_to(channels, (len(gray), *shape)))


def _curve(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw one smooth stroke with soft edges; (H, W), 0 to 1."""
    time = np.linspace(0, 1, 200)
    waves = generator.uniform(0.5, 1.5, (2, 2)), generator.uniform(0, 2 * np.pi, (2, 2))
    angle = 2 * np.pi * waves[0][..., None] * time + waves[1][..., None]  # (axis, wave, time)
    path = 0.5 + (np.sin(angle) * np.array([0.2, 0.12])[None, :, None]).sum(axis=1)  # (axis, time)
    rows = path[0] * height - np.arange(height)[:, None, None]  # (H, 1, time)
    columns = path[1] * width - np.arange(width)[None, :, None]  # (1, W, time)
    distance = np.sqrt(rows**2 + columns**2).min(axis=2)  # (H, W), pixels
    ink: NDArray[np.float64] = np.clip(_PEN_RADIUS * min(height, width) - distance + 0.5, 0, 1)
    return ink
