"""Drawings, pictures and strokes to the 28 x 28 that the networks were trained on.

The one preparation for the interface, the page and the trainer. It does what was done to the MNIST
images: ink and paper told apart, cropped, fitted into 20 x 20, centred by mass in 28 x 28; and what they
did not need: strokes far thinner or thicker than theirs become about as wide. Reading picture files is the
edge's work, finding the digit on a picture is `paper`'s.

Source of the geometry: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import steps
from service.core.drawing.steps import LARGEST, StepRecorder
from service.core.errors import BlankImage
from service.core.segmentation import cutting
from service.core.segmentation.crowded import Doubt
from service.core.segmentation.paper import Blank

SIDE = 28
"""Height and width of a prepared image, in pixels."""

FIT = 20
"""The larger side of the drawn digit, in pixels of the prepared image."""

CENTRE = 14.5
"""Where the centre of mass goes, in pixels from the image's left and upper edge: the middle of pixel 14,
where that of the MNIST images lies on average."""

PEN = 2.4
"""Width of the pen that strokes are drawn with, in pixels of the prepared image."""

_WORK = 4
"""A digit on a picture is worked on at this many times its final size."""

_MARGIN = 6
"""Work pixels round the digit, so that its strokes can grow."""

_PAPER, _INK = 0.15, 0.80
"""Shares of full ink that become 0 and 255: the edge of a stroke, as wide as a pixel of MNIST's."""

_THINNEST, _THICKEST = 2.1, 3.4
"""Strokes between these widths, in pixels of the prepared image, stay as they are; nine tenths of MNIST's
lie between 2.0 and 3.9, and a thin pen on a large canvas would vanish."""

_FAINTEST = 40
"""Of 255: less is not counted when the digit is cropped."""

_MOST_THINNING = 6
"""Work pixels: what is thicker than that is a blot, and thinning would leave nothing."""

_STEP = 0.5
"""Distance between neighbouring prints of the pen, in pixels; closer ones change no pixel by 1 %."""

_MOST_PRINTS = 1500
"""Prints of the pen on one image: ten times what a digit takes, so that a scribble costs no more."""

_DOT = 1e-6
"""A drawing smaller than this, in its own units, is a dot: strokes come with a resolution of about 1e-7."""

_ONES = np.ones(512)
_MIDDLES = np.arange(512) + 0.5
"""Of work pixels, more than a digit and what lies round it has."""

_SHOWN = LARGEST // SIDE
"""Strokes are shown as they were drawn at this many times their final size."""

_ROUND = (SIDE - FIT) // 2 * _SHOWN
"""Pixels round strokes that are shown as they were drawn."""


def from_picture(
    picture: Image.Image | NDArray[np.uint8],
    name: str = "Picture",
    trace: StepRecorder | None = None,
    doubts: list[Doubt] | None = None,
) -> NDArray[np.uint8]:
    """Prepare a picture of one drawn digit.

    Args:
        picture: Of mode L, or (H, W) uint8; any size, dark on light or light on dark.
        name: What to call it in an error.
        trace: Where to show the steps: `drawn`, `ink`, `cropped`, `pen` if that changed anything, `fitted`
            and `centred`.
        doubts: List to which the reason is added if it is not clear which ink is the digit's; None if not
            needed.

    Returns:
        (28, 28) uint8, 0 background to 255 ink.

    Raises:
        BlankImage: There is no ink on the paper.
    """
    try:
        cut = cutting.cut_out(picture, FIT * _WORK, _MARGIN)
    except Blank as error:
        raise BlankImage(name) from error
    if doubts is not None and cut.doubt is not None:
        doubts.append(cut.doubt)
    cropped = _levels(cut.ink)
    height, width = cropped.shape  # a stroke may run along the picture's edge, and may have to grow
    before = np.zeros((height + 2 * _MARGIN, width + 2 * _MARGIN), np.uint8)
    before[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = cropped
    ink = _with_usual_pen(before)
    if not ink.any():
        raise BlankImage(name)
    if trace is not None:
        trace.add("drawn", np.asarray(picture))
        trace.add("ink", _levels(cut.whole(*steps.reduced(*cut.picture.size))))
        trace.add("cropped", cropped)
        if not np.array_equal(ink, before):
            trace.add("pen", ink)
    return _placed(ink, trace)


def from_ink(ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Prepare ink that is already cropped.

    Args:
        ink: (h, w) float32, 0 paper and 1 the middle of the strokes, some of it above one half.

    Returns:
        (28, 28) uint8, 0 background to 255 ink.
    """
    height, width = ink.shape
    scale = FIT * _WORK / max(height, width)
    levels = _levels(ink.astype(np.float32))
    sizes = max(1, round(width * scale)), max(1, round(height * scale))
    if sizes != (width, height):
        levels = np.asarray(Image.fromarray(levels).resize(sizes, Image.Resampling.BILINEAR))
    before = np.zeros((sizes[1] + 2 * _MARGIN, sizes[0] + 2 * _MARGIN), np.uint8)
    before[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = levels
    after = _with_usual_pen(before)
    return _placed(after if after.max() > _FAINTEST else before, None)  # thinning may leave nothing


def from_strokes(
    strokes: Sequence[NDArray[np.float64]], name: str = "Drawing", trace: StepRecorder | None = None
) -> NDArray[np.uint8]:
    """Draw strokes with a round pen whose width is relative to the digit's size.

    Args:
        strokes: One (points, 2) array a stroke: x to the right and y downwards, within ±1e9 in any unit.
        name: What to call the drawing in an error.
        trace: Where to show the steps: `drawn`, `cropped`, `fitted` and `centred`.

    Returns:
        (28, 28) uint8, 0 background to 255 ink.

    Raises:
        BlankImage: There is not one point.
    """
    strokes = [stroke for stroke in strokes if len(stroke)]
    if not strokes:
        raise BlankImage(name, "no points")
    points = np.concatenate(strokes)
    low = points.min(axis=0)
    extent = points.max(axis=0) - low
    side = float(extent.max())
    scale = (FIT - PEN) / side if side > _DOT else 0.0
    trail = _trail((points - low) * scale, [len(stroke) for stroke in strokes])
    outline = (extent * scale)[:, None]
    # The prints are evenly spaced, so their mean is the drawn digit's centre of mass.
    off_centre = CENTRE - trail.sum(axis=1, keepdims=True) / trail.shape[1]
    shift = np.minimum(np.maximum(off_centre, PEN / 2), SIDE - PEN / 2 - outline)
    image = _bytes(_SQUARE.printed(trail + shift))
    if trace is not None:
        drawn = _shown(trail, outline)
        trace.add("drawn", drawn)
        trace.add("cropped", drawn[_ROUND:-_ROUND, _ROUND:-_ROUND])
        trace.add("fitted", _bytes(_Page(FIT, FIT, PEN).printed(trail + (FIT - outline) / 2)))
        trace.add("centred", image)
    return image


def _shown(trail: NDArray[np.float64], outline: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Draw strokes large, with paper round them, whatever their proportions: (H, W) uint8."""
    width, height = (round(float(side + PEN) * _SHOWN) + 2 * _ROUND for side in outline[:, 0])
    page = _Page(height, width, PEN * _SHOWN)
    return _bytes(page.printed((trail + PEN / 2) * _SHOWN + _ROUND))


def _trail(points: NDArray[np.float64], lengths: list[int]) -> NDArray[np.float64]:
    """Return points along all strokes, evenly spaced however slow the hand was.

    Args:
        points: Of all strokes, one after the other: (points, 2).
        lengths: Points of each stroke, at least 1.

    Returns:
        (2, many), x and y.
    """
    steps = points[1:] - points[:-1]
    along = np.zeros(len(points))  # how far the pen has come at each point
    legs = np.hypot(steps[:, 0], steps[:, 1], out=along[1:])
    ends = np.cumsum(lengths)
    legs[ends[:-1] - 1] = 0  # the pen is lifted from one stroke to the next
    legs.cumsum(out=legs)
    length = float(along[-1])
    prints = min(math.ceil(length / _STEP) + 1, _MOST_PRINTS)
    at = np.arange(prints) * (length / max(prints - 1, 1))  # np.linspace takes longer
    at[-1] = length
    trail = np.empty((2, prints))
    trail[0] = np.interp(at, along, points[:, 0])
    trail[1] = np.interp(at, along, points[:, 1])
    if 1 not in lengths:
        return trail
    dots = points[ends[np.equal(lengths, 1)] - 1]  # without length, and drawn all the same
    return np.concatenate((trail, dots[:_MOST_PRINTS].T), axis=1)


class _Page:
    """Paper of a size, to be printed on by a round antialiased pen of a width; both in pixels."""

    def __init__(self, height: int, width: int, pen: float) -> None:
        reach = math.ceil(pen / 2)  # pixels to every side of the one it stands in that a print can touch
        self._edge = np.float32(pen / 2 + 0.5)
        self._padded = height + 2 * reach + 1, width + 2 * reach + 1
        self._inside = slice(reach, reach + height), slice(reach, reach + width)
        self._offsets = np.arange(-reach, reach + 1, dtype=np.float32)[:, None]
        beside = np.arange(2 * reach + 1)
        self._around = np.add.outer(beside * self._padded[1], beside)[:, :, None]

    def printed(self, trail: NDArray[np.float64]) -> NDArray[np.float32]:
        """Print the pen at every point of (2, points): (height, width) float32, 0 to 1; the most where many.

        The points stand last everywhere, as numpy is quick along the last axis alone.
        """
        cell = np.floor(trail)
        inside = (trail - cell).astype(np.float32) - 0.5
        squares = (self._offsets - inside[:, None]) ** 2  # (2, 5, points)
        away = squares[1, :, None] + squares[0]  # (5, 5, points)
        corner = (cell[1] * self._padded[1] + cell[0]).astype(np.intp)
        where = self._around + corner  # (5, 5, points)
        nearest = np.full(self._padded, np.inf, np.float32)  # squares of distances to the next print
        np.minimum.at(nearest.reshape(-1), where.reshape(-1), away.reshape(-1))
        ink = self._edge - np.sqrt(nearest[self._inside])
        return np.asarray(np.minimum(np.maximum(ink, 0), 1))


_SQUARE = _Page(SIDE, SIDE, PEN)


def _with_usual_pen(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thicken thin strokes and thin thick ones until they are about as wide as MNIST's.

    Args:
        ink: (h, w) uint8, its outermost pixels paper for a few more steps than it can grow.

    Returns:
        (h, w) uint8.
    """
    width = _stroke_width(ink) / _WORK
    if width < _THINNEST:
        return _grown(ink, round((_THINNEST - width) * _WORK / 2), np.maximum)
    thinning = min(round((width - _THICKEST) * _WORK / 2), _MOST_THINNING)
    return _grown(ink, max(thinning, 0), np.minimum)


def _stroke_width(ink: NDArray[np.uint8]) -> float:
    """Return the mean width of strokes in pixels: twice the area over the length of the outline.

    Steps along x and y are 4 / pi times as long as the outline that they follow.
    """
    levels = ink.astype(np.float32).reshape(-1)  # as whole numbers below 2 ** 24, and so are their sums
    steps = _total(levels[1:] - levels[:-1]) + _total(levels[ink.shape[1] :] - levels[: -ink.shape[1]])
    return float(2 * levels.sum() / max(steps * np.pi / 4, 1))


def _total(steps: NDArray[np.float32]) -> float:
    """Return the sum of absolute values, which are lost."""
    return float(np.abs(steps, out=steps).sum())


def _grown(ink: NDArray[np.uint8], steps: int, choose: np.ufunc) -> NDArray[np.uint8]:
    """Grow strokes (choose = np.maximum) or shrink them (np.minimum) by a pixel a step to every side.

    Crosses and squares in turn, so that what grows stays nearly round. Rows are worked on as one, the next
    beginning where one ends: there is paper between them.
    """
    row = ink.shape[1]
    for step in range(steps):
        flat = ink.reshape(-1)
        beside = flat.copy()
        choose(choose(flat[:-2], flat[2:]), flat[1:-1], out=beside[1:-1])
        columns = beside if step % 2 else flat
        grown = beside.copy()
        choose(choose(columns[: -2 * row], columns[2 * row :]), beside[row:-row], out=grown[row:-row])
        ink = grown.reshape(ink.shape)
    return ink


def _placed(ink: NDArray[np.uint8], trace: StepRecorder | None) -> NDArray[np.uint8]:
    """Fit ink of any size into 28 x 28: the larger side 20, the centre of mass in the middle."""
    drawn = ink > _FAINTEST
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = ink.shape
    unit = max(height, width) / FIT  # of its pixels for one of the answer's
    side = SIDE * unit
    x, y = _centre_of_mass(ink)
    left = min(max(x - CENTRE * unit, width - side), 0.0)  # nothing is cut off
    top = min(max(y - CENTRE * unit, height - side), 0.0)
    image = _window(ink, left, top, SIDE, unit)
    if trace is not None:
        box = FIT * unit
        trace.add("fitted", _window(ink, (width - box) / 2, (height - box) / 2, FIT, unit))
        trace.add("centred", image)
    return image


def _window(ink: NDArray[np.uint8], left: float, top: float, pixels: int, unit: float) -> NDArray[np.uint8]:
    """Return what is seen of ink through a square window, scaled down.

    Args:
        ink: (H, W) uint8.
        left: Of the window's corner, in pixels of the ink; at most 0.
        top: The same.
        pixels: Side of the answer.
        unit: Pixels of the ink for one of the answer.

    Returns:
        (pixels, pixels) uint8, its strongest ink at 255.
    """
    height, width = ink.shape
    side = pixels * unit
    at_x, at_y = math.ceil(-left), math.ceil(-top)
    room = math.ceil(side + unit) + 2  # the scaling looks a unit further
    page = np.zeros((room, room), np.uint8)
    page[at_y : at_y + height, at_x : at_x + width] = ink
    box = (at_x + left, at_y + top, at_x + left + side, at_y + top + side)
    picture = Image.frombuffer("L", (room, room), page, "raw", "L", 0, 1)
    small = picture.resize((pixels, pixels), Image.Resampling.BILINEAR, box=box)
    return _bytes(np.frombuffer(small.tobytes(), np.uint8).reshape(pixels, pixels).astype(np.float32))


def _centre_of_mass(ink: NDArray[np.uint8]) -> tuple[float, float]:
    """Return x and y in pixels from the upper left corner."""
    height, width = ink.shape
    levels = ink.astype(np.float64)
    columns, rows = _ONES[:height] @ levels, levels @ _ONES[:width]
    total = rows.sum()
    return float(columns @ _MIDDLES[:width] / total), float(rows @ _MIDDLES[:height] / total)


def _levels(ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return amounts of ink as 0..255."""
    levels = ink - _PAPER
    levels *= 255 / (_INK - _PAPER)
    np.minimum(np.maximum(levels, 0, out=levels), 255, out=levels)  # np.clip takes longer
    return levels.astype(np.uint8)


def _bytes(page: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the page as 0..255, its strongest ink at 255."""
    return np.asarray(np.rint(page * (255 / page.max())), np.uint8)
