"""Segmentation of pictures that show more than a sheet of paper and one digit.

The background is estimated by a morphological closing (opening for light ink): it removes what is thin, such
as strokes, and keeps what is wide, such as a table beside the sheet or a shadow across it. Ink is what
differs from the background. Of its connected components those of the digit are kept.

Source of the operators: Serra, "Image Analysis and Mathematical Morphology", 1982.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.core.segmentation import components, digit, levels, morphology

Floats = NDArray[np.float32]

Mask = NDArray[np.bool_]

SIDE = 112
"""Larger side of the reduced picture that is segmented, in pixels."""

_WINDOW = 0.34
"""Side of the square of the closing, relative to the smaller side: wider than a stroke, and than the hole of
an eight."""

_FAINTEST = 6
"""Grey levels between ink and background below which nothing is drawn."""

_INK_FLOOR = 0.3
"""Share of the digit's full ink that a pixel must have to belong to a stroke."""


_RIVAL, _SUPPORT, _CLEAR, _DROPPED, _MOST_EDGES = 0.7, 0.98, 12, 0.8, 1
"""Limits beyond which the segmentation is not clear: weight of the other polarity's ink, sharp share of the
outline, contrast over noise, ink of another component, and edges of the picture that the digit reaches.
docs/decisions/0045-unclear-pictures-are-not-sure.md."""

_GROW = 2
"""Pixels around the digit's components whose ink is kept, for their soft edges."""


Doubt = Literal["other", "background", "contrast", "edge"]
"""Why ink may not be the digit's. `other`: other ink may be the digit. `background`: light and dark ink are
nearly equally likely, or the outline is not sharp. `contrast`: the ink is hardly stronger than the noise.
`edge`: it reaches several edges of the picture."""


@dataclass(frozen=True)
class Segmentation:
    """Background and ink of a reduced picture.

    Attributes:
        background: (h, w) float32, grey levels of the picture without ink.
        sign: 1 for light ink on a dark background, -1 for dark ink.
        mask: (h, w) bool, pixels of the digit.
        keep: (h, w) bool, pixels of the digit and its soft edges.
        box: Left, top, right and bottom of the digit, in pixels of the reduced picture.
        thickness: Mean stroke width, relative to the larger side of the digit.
        contrast: Grey levels between the strongest ink and the background.
        noise: Standard deviation of the picture's noise.
        dropped: Ink of the largest component that was left out and may be a digit, relative to the digit's.
        rival: Weight of the other polarity's ink relative to this one's.
        support: Share of the outline of the ink where the picture has a step of at least half the contrast.
    """

    background: Floats
    sign: int
    mask: Mask
    keep: Mask
    box: tuple[int, int, int, int]
    thickness: float
    support: float
    contrast: float
    noise: float
    dropped: float
    rival: float = 0.0

    @property
    def doubt(self) -> Doubt | None:
        """Why the ink may not be the digit; None if that is clear."""
        if self.rival > _RIVAL or self.support < _SUPPORT:
            return "background"
        if self.contrast < _CLEAR * self.noise:
            return "contrast"
        if self.dropped > _DROPPED:
            return "other"
        return "edge" if _edges(self.box, self.mask.shape) > _MOST_EDGES else None


def segment(grey: NDArray[np.uint8], signs: Sequence[int] = (-1, 1)) -> Segmentation | None:
    """Segment a reduced picture.

    Args:
        grey: (h, w) uint8, about `SIDE` pixels large.
        signs: Signs of ink that are possible, as `Segmentation.sign`.

    Returns:
        None if there is no ink.
    """
    closed, opened = _background(grey, -1), _background(grey, 1)
    away = grey - levels.paper(grey)
    found = []
    for sign, background in ((-1, closed), (1, opened)):
        if sign not in signs:
            continue
        segmentation = _with_sign(grey, background, sign)
        if segmentation is not None:
            evidence = _evidence(grey, background, sign, away)
            weight = evidence**0.4 * segmentation.support**16 / segmentation.thickness**0.5
            if _edges(segmentation.box, grey.shape) > 1:
                weight *= digit.FROM_OUTSIDE  # more likely a strip of light between two shadows
            found.append((weight, segmentation))
    if not found:
        return None
    found.sort(key=lambda pair: -pair[0])
    best = found[0][1]
    return replace(best, rival=found[1][0] / found[0][0]) if len(found) > 1 else best


def _edges(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> int:
    """Return how many of a picture's edges a box reaches."""
    left, top, right, bottom = box
    return sum(margin <= digit.EDGE for margin in (left, top, shape[1] - right, shape[0] - bottom))


def _with_sign(grey: NDArray[np.uint8], background: Floats, sign: int) -> Segmentation | None:
    """Segment a reduced picture whose ink is lighter (1) or darker (-1) than the background."""
    ink = (grey - background) * np.float32(sign)
    sample = ink.ravel()[:: levels.EVERY]
    ink -= np.float32(levels.median(sample))
    noise = levels.SIGMA * levels.median(np.abs(sample))
    full = levels.strongest(ink)
    if full < max(_FAINTEST, 3 * noise):
        return None
    found = components.connected(ink > max(_INK_FLOOR * full, min(4 * noise, 0.6 * full)))
    if not found.count:
        return None
    kept, dropped = digit.components_of_digit(found, ink)
    mask = np.isin(found.labels, kept + 1)
    boxes = found.boxes[kept]
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    thickness = morphology.stroke_width(mask) / max(right - left, bottom - top)
    keep = morphology.grown(mask, _GROW, np.maximum)
    support = _support(grey, mask, levels.median(ink[mask]))
    box = (left, top, right, bottom)
    return Segmentation(
        _smooth(grey, background, mask),
        sign,
        mask,
        keep,
        box,
        thickness,
        support,
        full,
        noise,
        dropped,
    )


def _support(grey: NDArray[np.uint8], mask: Mask, contrast: float) -> float:
    """Return the share of a mask's outline where the picture has a step of at least half the contrast."""
    outline = mask & ~morphology.grown(mask, 1, np.minimum)
    high, low = morphology.windowed(grey, 5, np.maximum), morphology.windowed(grey, 5, np.minimum)
    return float(np.mean((high - low)[outline] >= 0.5 * contrast))


def _evidence(grey: NDArray[np.uint8], background: Floats, sign: int, away: Floats) -> float:
    """Return how much of the picture looks like ink of a polarity.

    Not only strokes are thin: the hole of an eight is as well. It has the grey of the paper, however.

    Args:
        grey: (h, w) uint8.
        background: Its closing or opening.
        sign: 1 for light ink, -1 for dark ink.
        away: (h, w) float32, the picture less the grey of the paper.
    """
    ink = (grey - background) * np.float32(sign)
    return 1.0 + float(ink[away * np.float32(sign) > 0.5 * ink].sum())


def _background(grey: NDArray[np.uint8], sign: int) -> Floats:
    """Return the closing of a picture (sign -1: dark structures are filled) or its opening (1), float32.

    Beyond its edges the picture goes on as it ends, so that what lies along an edge is wide and is kept.
    """
    side = max(3, round(_WINDOW * min(grey.shape)) | 1)
    padded = np.pad(grey, side, mode="edge")
    first, second = (np.minimum, np.maximum) if sign > 0 else (np.maximum, np.minimum)
    done = morphology.windowed(morphology.windowed(padded, side, first), side, second)
    return np.asarray(done[side:-side, side:-side], np.float32)


def _smooth(grey: NDArray[np.uint8], background: Floats, mask: Mask) -> Floats:
    """Return the picture with the ink replaced by the background, without the closing's bias by noise."""
    around = morphology.grown(mask, 2, np.maximum)
    outside = ~around
    sample = (grey - background)[outside][:: levels.EVERY]
    bias = levels.median(sample) if len(sample) else 0.0
    return np.where(around, background + np.float32(bias), grey).astype(np.float32)
