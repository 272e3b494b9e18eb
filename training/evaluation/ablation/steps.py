"""Preprocessing steps of the ablation: from scaling alone to the service's full preprocessing.

The service itself uses `service.core.drawing.mnist` only.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import mnist, mnist_rule
from service.core.errors import BlankImage
from service.core.segmentation import colours, cutting
from service.core.segmentation.crowded import Doubt
from service.core.segmentation.paper import Blank

Grey = NDArray[np.uint8]

SCALED = "scaled down"
INVERTED = "+ inverted"
CROPPED = "+ cropped"
FITTED = "+ fitted into 20 x 20"
CENTRED = "+ centred by mass"
FOUND = "+ paper and ink found"
FULL = "+ usual stroke width"
DRAWN = "drawn from the strokes"

SENT = "as the client sent it"
AUTO = "+ prepared by the service"

STEPS = (SCALED, INVERTED, CROPPED, FITTED, CENTRED, FOUND, FULL)
"""In order; each includes the steps before it. The last is the service's full preprocessing."""

_EMPTY: Grey = np.zeros((mnist.SIDE, mnist.SIDE), np.uint8)


def preprocess(grey: Grey) -> Mapping[str, Grey]:
    """Preprocess a greyscale image up to every step.

    Args:
        grey: (H, W) uint8, any size, dark on light or light on dark.

    Returns:
        By step: (28, 28) uint8, 0 background to 255 ink; empty if the step finds no ink.
    """
    light_on_dark = 255 - grey if np.median(grey) > 127 else grey
    box = _crop(light_on_dark)
    fitted = _fit(box)
    return {
        SCALED: scale(grey),
        INVERTED: scale(light_on_dark),
        CROPPED: scale(_pad_to_square(box)),
        FITTED: fitted,
        CENTRED: _centre_by_mass(fitted),
        FOUND: _segment(grey),
        FULL: _full(grey),
    }


def scale(grey: Grey) -> Grey:
    """Scale an image to 28 x 28: (28, 28) uint8."""
    return _resize(grey, mnist.SIDE, mnist.SIDE)


def render_strokes(strokes: Sequence[NDArray[np.float64]]) -> Grey:
    """Render strokes as the service does: (28, 28) uint8."""
    return mnist.from_strokes(strokes)


def prepare_small(images: Grey) -> Grey:
    """Preprocess 28 x 28 images as `prepare=auto` does: (N, 28, 28) uint8; empty where there is no ink."""
    prepared = np.zeros_like(images)
    for row, image in enumerate(images):
        with suppress(BlankImage):
            prepared[row] = mnist_rule.prepare_batch(image[None]).images[0]
    return prepared


def prepare_picture(picture: Image.Image) -> tuple[Grey, bool]:
    """Preprocess a colour picture ("RGB") as the service does the file of one.

    Returns:
        (28, 28) uint8, empty if no ink is found, and whether it is clear which ink is the digit's.
    """
    doubts: list[Doubt] = []
    try:
        return mnist.from_picture(colours.grey(picture), doubts=doubts), not doubts
    except BlankImage:
        return _EMPTY, False


def _crop(light_on_dark: Grey) -> Grey:
    """Crop to the pixels above the mean of minimum and maximum, and stretch the contrast."""
    low, high = int(light_on_dark.min()), int(light_on_dark.max())
    is_ink = light_on_dark > (low + high) / 2
    if not is_ink.any():
        return _EMPTY
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    box = light_on_dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    return np.asarray((box - low) * (255 / (high - low)), np.uint8)


def _pad_to_square(box: Grey) -> Grey:
    height, width = box.shape
    side = max(height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = box
    return square


def _fit(box: Grey) -> Grey:
    """Scale a crop into 20 x 20, in the middle of 28 x 28."""
    unit = mnist.FIT / max(box.shape)
    height, width = (max(1, round(side * unit)) for side in box.shape)
    page = _EMPTY.copy()
    top, left = (mnist.SIDE - height) // 2, (mnist.SIDE - width) // 2
    page[top : top + height, left : left + width] = _resize(box, width, height)
    return page


def _centre_by_mass(page: Grey) -> Grey:
    """Move the centre of mass to the middle, by whole pixels and without cutting ink off."""
    if not page.any():
        return page
    moved = page
    for axis in (0, 1):
        mass = moved.sum(axis=1 - axis, dtype=np.float64)
        occupied = np.flatnonzero(mass)
        centre = mass @ (np.arange(mnist.SIDE) + 0.5) / mass.sum()
        distance = int(np.clip(round(mnist.CENTRE - centre), -occupied[0], mnist.SIDE - 1 - occupied[-1]))
        moved = np.roll(moved, distance, axis)
    return moved


def _segment(grey: Grey) -> Grey:
    """Segment background, ink and specks as the service does; crop, fit and centre as above."""
    try:
        found = cutting.cut_out(grey, 4 * mnist.FIT, 0).ink
    except Blank:
        return _EMPTY
    return _centre_by_mass(_fit(_crop(np.asarray(np.clip(found, 0, 1) * 255, np.uint8))))


def _full(grey: Grey) -> Grey:
    try:
        return mnist.from_picture(grey)
    except BlankImage:
        return _EMPTY


def _resize(grey: Grey, width: int, height: int) -> Grey:
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))
