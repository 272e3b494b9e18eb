"""Where the ink is on a picture: paper of any brightness, drawn on by any pen, cut out round the digit.

A drawing program's canvas has one paper colour; a scan or a photograph has light that falls unevenly,
noise and specks. The constants were chosen on pen strokes rendered as both: docs/explanation/experiments.md.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import components, sheet, steps
from service.core.drawing.sheet import Segmentation

Floats = NDArray[np.float32]

_COARSE = 72
"""The digit is looked for on the picture reduced to about this many pixels a side."""

_CELLS = 24
"""The paper's brightness is fitted to the picture reduced to about this many cells a side."""

_SPECK = 0.05
"""What lies apart from the digit and has less than this share of all ink is dirt."""

_FAINTEST = 6
"""Grey levels between ink and paper below which nothing is drawn."""

_INK_FLOOR = 0.3
"""Share of the strongest ink that a pixel must have to belong to the digit."""

_EVEN = 0.9
"""Share of equal pixels in the picture's frame from which on it counts as a canvas of one colour."""

_FRAME = 3
"""Coarse pixels that a line round the picture is at most wide."""

_SIGMA = 1.4826
"""Standard deviation over median absolute deviation, for normal noise."""


_WIDER = 1.0
"""Width over height from which on ink may be several digits that touch: 95 % of numbers of two or three
digits are wider or fall into parts, and 13 % of digits (17,265 digits of 150 writers)."""


class Blank(ValueError):
    """There is no ink on the paper."""


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class _Paper:
    """What an empty picture would look like, and how to tell ink from it.

    Attributes:
        level: A box of the picture, and into how many columns and rows it is divided, to the paper's grey
            there, (rows, columns) float32; or one grey for all.
        sign: 1 for light ink on dark paper, -1 for dark ink on light paper.
        floor: Grey levels of ink from which on a pixel belongs to the digit.
    """

    level: Callable[[Box, int, int], Floats] | float
    sign: int
    floor: float

    def ink(self, grey: NDArray[np.uint8], box: Box) -> Floats:
        """Return grey levels of ink of a box of the picture that was scaled to (tall, wide) uint8."""
        ink = grey.astype(np.float32)
        tall, wide = grey.shape
        ink -= self.level(box, wide, tall) if callable(self.level) else self.level
        return ink if self.sign > 0 else np.negative(ink, out=ink)


_CROWDED = 56
"""Smaller side in pixels from which on a picture may show more than paper and a digit."""

_SMALLEST, _TIMES = 24, 4
"""Smaller side in pixels from which on a picture may show a table, and how many times it is enlarged then."""

_TABLE = 0.15
"""Share of ink along a small picture's edge from which on it is a table."""

_THICK = 0.3
"""Mean stroke width relative to the digit's larger side from which on the ink is no digit's: a sheet on a
table."""

_THINNEST_FRAME = 12
"""Smaller side in reduced pixels from which on a box is examined for being a frame."""

_ENLARGED = 1.7
"""How many times a small digit is enlarged from which on Lanczos' filter interpolates it, which keeps loops
open: 1 to 3 % more of digits of 6 to 10 pixels are recognised."""

_OFF, _BENT = 0.4, 0.1
"""Distance from the paper, relative to the least ink, and share of pixels beyond it from which on the paper
is not flat."""

_DEEP, _RULED = 4, 0.45
"""Depth of a side of the digit's box, in reduced pixels, and share of ink along it from which on it may be a
side of a frame or an axis, if another side has as much."""

_SOLID = 0.5
"""Share of ink in the digit's box from which on it may be a sheet on a table."""


@dataclass(frozen=True)
class _Crowded:
    """What a picture of more than paper and a digit would look like without ink.

    Attributes:
        segmentation: Of the reduced picture.
        step: Picture pixels for one of the reduced picture.
    """

    segmentation: Segmentation
    step: int
    floor: float = 0.0

    @classmethod
    def of(cls, picture: Image.Image) -> "_Crowded | None":
        """Segment a picture of mode L; None if there is no ink."""
        step = max(1, round(max(picture.size) / sheet.SIDE))
        segmentation = sheet.segment(_greys(picture.reduce(step)))
        return None if segmentation is None else cls(segmentation, step)

    def ink(self, grey: NDArray[np.uint8], box: Box) -> Floats:
        """Return grey levels of the digit's ink, as `_Paper.ink` does."""
        tall, wide = grey.shape
        height, width = self.segmentation.background.shape
        left, top, right, bottom = (side / self.step for side in box)
        where = (left, top, min(right, width), min(bottom, height))
        background = sheet.enlarged(self.segmentation.background, where, wide, tall)
        keep = sheet.enlarged(self.segmentation.keep, where, wide, tall)
        ink = (grey - background) * np.float32(self.segmentation.sign)
        return np.asarray(ink * np.minimum(2 * keep, 1), np.float32)


@dataclass(frozen=True)
class Cut:
    """A digit cut out of a picture.

    Attributes:
        ink: (h, w) float32: 0 is paper, 1 is what the middle of the strokes has; may lie outside 0..1.
    """

    ink: Floats
    _picture: Image.Image
    _paper: "_Paper | _Crowded"
    _full: float

    def whole(self) -> Floats:
        """Return the ink of the whole picture, as `ink` and reduced as a step is: (h, w) float32.

        Of a picture with a line round it, what lies within the line.
        """
        everything = (0, 0, *self._picture.size)
        wide, tall = steps.reduced(*self._picture.size)
        return _ink(self._picture, self._paper, everything, wide, tall) / np.float32(self._full)


def cut_out(picture: Image.Image | NDArray[np.uint8], side: int, margin: int) -> Cut:
    """Cut the digit out of a picture, as amounts of ink.

    Args:
        picture: Of mode L, or (H, W) uint8; any size, dark on light or light on dark.
        side: The larger side that the digit should have in the answer, in pixels.
        margin: Pixels to leave round it, where the picture has them.

    Returns:
        The digit, with as much of the margin as there is.

    Raises:
        Blank: There is no ink on the paper.
    """
    picture, coarse, step_x, step_y = _reduced(picture)
    width, height = picture.size
    is_canvas = _is_canvas(coarse)
    paper: _Paper | _Crowded = _paper(coarse, step_x, step_y, is_canvas)
    ink = paper.ink(coarse, (0, 0, coarse.shape[1] * step_x, coarse.shape[0] * step_y))
    is_flat = is_canvas or _is_flat(ink, paper.floor)
    ink *= ink > paper.floor
    found = _box(ink)
    if _SMALLEST <= min(width, height) < _CROWDED and _shows_table(ink, found):
        larger = (width * _TIMES, height * _TIMES)
        with suppress(Blank):  # then what there is may be a blot
            return cut_out(picture.resize(larger, Image.Resampling.BICUBIC), side, margin)
    is_simple = min(width, height) < _CROWDED or (is_flat and _is_alone(ink, found))
    crowded = None if is_simple else _Crowded.of(picture)
    if crowded is None and min(width, height) >= _CROWDED and _reaches_edge(ink):
        raise Blank  # nothing is left but a table or a shadow
    if crowded is not None:
        paper, step_x, step_y, found = crowded, crowded.step, crowded.step, crowded.segmentation.box
    left, top, right, bottom = found
    left, right, top, bottom = left * step_x, right * step_x, top * step_y, bottom * step_y
    unit = max(right - left, bottom - top) / side  # picture pixels for one of the answer's
    around = margin * unit + max(step_x, step_y)
    box = (
        max(left - around, 0),
        max(top - around, 0),
        min(right + around, width),
        min(bottom + around, height),
    )
    wide, tall = max(1, round((box[2] - box[0]) / unit)), max(1, round((box[3] - box[1]) / unit))
    ink = _ink(picture, paper, box, wide, tall)
    strongest = float(ink.max())
    if strongest <= 0:
        raise Blank
    full = _median(ink[ink > 0.45 * strongest])
    ink /= full
    return Cut(ink, picture, paper, full)


def may_be_several(picture: Image.Image | NDArray[np.uint8]) -> bool:
    """Return whether the ink of a picture lies as that of several digits may: in parts, or wider than high.

    Args:
        picture: As `cut_out` takes it.
    """
    picture, coarse, step_x, step_y = _reduced(picture)
    try:
        paper = _paper(coarse, step_x, step_y, _is_canvas(coarse))
        ink = paper.ink(coarse, (0, 0, coarse.shape[1] * step_x, coarse.shape[0] * step_y))
        left, top, right, bottom = _box(ink * (ink > paper.floor))
    except Blank:
        return False
    if (right - left) * step_x > _WIDER * (bottom - top) * step_y:
        return True
    digit = ink[top:bottom, left:right] > paper.floor
    return not bool(digit.any(axis=0).all() and digit.any(axis=1).all())


def ink_of(picture: Image.Image | NDArray[np.uint8], side: int) -> tuple[Floats, float]:
    """Return the ink of a whole picture.

    Args:
        picture: As `cut_out` takes it.
        side: Larger side of the result in pixels; a picture is enlarged twice at most.

    Returns:
        (h, w) float32, 0 paper and 1 the middle of the strokes; and pixels of the picture per pixel of it.

    Raises:
        Blank: There is no ink on the paper.
    """
    picture, coarse, step_x, step_y = _reduced(picture)
    paper = _paper(coarse, step_x, step_y, _is_canvas(coarse))
    width, height = picture.size
    ink = paper.ink(coarse, (0, 0, coarse.shape[1] * step_x, coarse.shape[0] * step_y))
    if not (ink > paper.floor).any():
        raise Blank
    unit = max(max(width, height) / side, 0.5)
    wide, tall = max(1, round(width / unit)), max(1, round(height / unit))
    ink = _ink(picture, paper, (0, 0, width, height), wide, tall)
    ink /= _median(ink[ink > 0.45 * ink.max()])
    return ink, unit


def _reduced(picture: Image.Image | NDArray[np.uint8]) -> tuple[Image.Image, NDArray[np.uint8], int, int]:
    """Return the picture without its frame, the same reduced, and pixels per column and row of that."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    width, height = picture.size
    step_x, step_y = max(1, round(width / _COARSE)), max(1, round(height / _COARSE))
    coarse = _greys(picture.reduce((step_x, step_y)))
    if not _has_frame(coarse):
        return picture, coarse, step_x, step_y
    wide, tall = _FRAME * step_x, _FRAME * step_y
    return _reduced(picture.crop((wide, tall, width - wide, height - tall)))


def _is_canvas(coarse: NDArray[np.uint8]) -> bool:
    """Return whether the border has one grey, as on a drawing program's canvas."""
    frame = np.concatenate((coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]))
    return bool(np.count_nonzero(frame == frame[0]) > _EVEN * len(frame))


def _paper(coarse: NDArray[np.uint8], step_x: int, step_y: int, is_canvas: bool) -> _Paper:
    """Return the background of a reduced picture; raises Blank."""
    return _canvas(coarse, int(coarse[0, 0])) if is_canvas else _sheet(coarse, step_x, step_y)


def _ink(picture: Image.Image, paper: "_Paper | _Crowded", box: Box, wide: int, tall: int) -> Floats:
    """Return grey levels of ink within a box, scaled to a size: (tall, wide) float32."""
    enlarging = wide > _ENLARGED * (box[2] - box[0])
    filtered = Image.Resampling.LANCZOS if enlarging else Image.Resampling.BILINEAR
    return paper.ink(_greys(picture.resize((wide, tall), filtered, box=box)), box)


def _greys(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a small grey picture as an array, which takes np.asarray longer: (H, W) uint8."""
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(picture.height, picture.width)


def _has_frame(coarse: NDArray[np.uint8]) -> bool:
    """Tell whether a line is drawn round the picture, as round a canvas on a screenshot.

    Its corners, a little further in, are all the same paper, and every side's edge is something else.
    """
    height, width = coarse.shape
    if min(height, width) < 6 * _FRAME:
        return False
    corners = [int(coarse[y, x]) for y in (_FRAME, -1 - _FRAME) for x in (_FRAME, -1 - _FRAME)]
    if max(corners) - min(corners) > 16:
        return False
    x, y = width // 3, height // 3
    edges = coarse[0, x], coarse[-1, x], coarse[y, 0], coarse[y, -1]
    return all(abs(int(edge) - corners[0]) > 40 for edge in edges)


def _canvas(coarse: NDArray[np.uint8], level: int) -> _Paper:
    """Return the paper of a drawing program: one grey, no noise."""
    lighter, darker = int(coarse.max()) - level, level - int(coarse.min())
    full = max(lighter, darker)
    if full < _FAINTEST:
        raise Blank
    return _Paper(level, 1 if lighter >= darker else -1, _INK_FLOOR * full)


def _sheet(coarse: NDArray[np.uint8], step_x: int, step_y: int) -> _Paper:
    """Return the paper of a scan or a photograph: a smooth surface under noise."""
    height, width = coarse.shape
    tall, wide = max(1, height // _CELLS), max(1, width // _CELLS)  # one cell
    rows, columns = height // tall, width // wide
    cells = coarse[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide)
    few = cells.mean(axis=(1, 3), dtype=np.float32)
    reach = (columns * wide * step_x, rows * tall * step_y)  # picture pixels that the cells cover
    fit = _quadratic(few)

    def level(box: Box, wide: int, tall: int) -> Floats:
        x = 2 * _middles(box[0], box[2], wide) / reach[0] - 1
        y = 2 * _middles(box[1], box[3], tall) / reach[1] - 1
        # Along x and y apart, they take a tenth of the time of all terms on a grid.
        surface = np.asarray(np.multiply.outer(y, fit[4] * x + fit[2]), np.float32)
        surface += fit[0] + (fit[1] + fit[3] * x) * x
        surface += (fit[5] * y * y)[:, None]
        return surface

    away = (coarse - level((0, 0, width * step_x, height * step_y), width, height)).ravel()
    rank = min(6, len(away) - 1)  # a few wild pixels are not what the pen did
    ranked = np.partition(away, (rank, len(away) - 1 - rank))
    lighter, darker = float(ranked[-1 - rank]), -float(ranked[rank])
    full = max(lighter, darker)
    if full < _FAINTEST:
        raise Blank
    noise = _SIGMA * _median(np.abs(away))
    floor = max(_INK_FLOOR * full, min(4 * noise, 0.6 * full))
    return _Paper(level, 1 if lighter > darker else -1, floor)


def _quadratic(cells: Floats) -> Floats:
    """Fit a quadratic surface to cells of paper, leaving out those with ink: (6,) float32.

    Three rounds of least squares on the cells within three standard deviations of the surface before,
    beginning with the level of the frame.
    """
    terms = _terms(*cells.shape)
    values = cells.ravel()
    frame = np.concatenate((cells[0], cells[-1], cells[:, 0], cells[:, -1]))
    fit = np.zeros(6, np.float32)
    fit[0] = _middle(frame)
    spread = _middle(np.abs(frame - fit[0]))
    for _ in range(3):
        away = np.abs(values - terms @ fit)
        empty = away <= max(3 * _SIGMA * spread, 2)
        if spread == 0 or np.count_nonzero(empty) < len(values) // 4:
            break
        chosen = terms[empty]
        ridge = np.eye(6, dtype=np.float32) * 1e-3  # for pictures of few cells
        fit = np.linalg.solve(chosen.T @ chosen + ridge, chosen.T @ values[empty])
        spread = _middle(away[empty])
    return np.asarray(fit, np.float32)


@lru_cache(maxsize=64)
def _terms(rows: int, columns: int) -> Floats:
    """1, x, y, x², xy, y² in the middles of cells that reach from -1 to 1: (rows x columns, 6) float32."""
    x, y = np.meshgrid(_middles(-1, 1, columns), _middles(-1, 1, rows))
    return np.stack((np.ones_like(x), x, y, x**2, x * y, y**2), axis=-1).reshape(-1, 6)


def _box(ink: Floats) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the digit, without the specks beside, above and below it."""
    left, right = _span(ink.sum(axis=0))
    rows = ink[:, left:right].sum(axis=1)
    top, bottom = _span(rows)
    if np.count_nonzero(rows) > np.count_nonzero(rows[top:bottom]):  # then it may have become narrower
        inner_left, inner_right = _span(ink[top:bottom, left:right].sum(axis=0))
        left, right = left + inner_left, left + inner_right
    return left, top, right, bottom


def _span(profile: Floats) -> tuple[int, int]:
    """Return the first and one after the last place with ink, runs of less than a speck left out."""
    places = profile.nonzero()[0]
    if not len(places):
        raise Blank
    first, last = int(places[0]), int(places[-1])
    if last - first < len(places):  # one run
        return first, last + 1
    gaps = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.concatenate(([0], gaps + 1))]
    ends = places[np.concatenate((gaps, [len(places) - 1]))] + 1
    amounts = np.add.reduceat(profile, starts)  # between runs there is none
    kept = np.flatnonzero(amounts >= _SPECK * amounts.sum())
    return int(starts[kept[0]]), int(ends[kept[-1]])


def _is_flat(ink: Floats, floor: float) -> bool:
    """Return whether what is no ink lies near the surface of the paper; a shadow's edge does not."""
    empty = np.abs(ink[ink < floor])
    changes = np.sort(np.abs(ink[:, 1:] - ink[:, :-1]).ravel()[::3])
    grain = _SIGMA * float(changes[len(changes) // 2]) if len(changes) else 0.0
    return bool(np.count_nonzero(empty > max(_OFF * floor, 2.5 * grain)) < _BENT * empty.size)


def _reaches_edge(ink: Floats) -> bool:
    """Return whether there is ink at the picture's edge."""
    return bool(ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any())


def _shows_table(ink: Floats, box: tuple[int, int, int, int]) -> bool:
    """Return whether the ink of a small picture is a table at its edge, or a sheet on a table."""
    edge = np.concatenate((ink[0], ink[-1], ink[:, 0], ink[:, -1]))
    if np.count_nonzero(edge) > _TABLE * len(edge):
        return True
    left, top, right, bottom = box
    digit = ink[top:bottom, left:right]
    return bool(min(digit.shape) >= _THINNEST_FRAME and np.count_nonzero(digit) > _SOLID * digit.size)


def _is_alone(ink: Floats, box: tuple[int, int, int, int]) -> bool:
    """Return whether there is nothing but the digit on the paper.

    Args:
        ink: (h, w) float32, 0 where there is none.
        box: Left, top, right and bottom of the digit.
    """
    if _reaches_edge(ink):
        return False
    left, top, right, bottom = box
    digit = ink[top:bottom, left:right] > 0
    if not digit.any(axis=0).all() or not digit.any(axis=1).all():  # it falls into parts
        return False
    if min(digit.shape) >= _THINNEST_FRAME:
        sides = (
            digit[:_DEEP].any(axis=0),
            digit[-_DEEP:].any(axis=0),
            digit[:, :_DEEP].any(axis=1),
            digit[:, -_DEEP:].any(axis=1),
        )
        is_ruled = sum(int(np.count_nonzero(side)) > _RULED * side.size for side in sides) > 1
        if is_ruled and components.connected(digit).count > 1:
            return False
        if np.count_nonzero(digit) > _SOLID * digit.size:
            return False
    return bool(sheet.stroke_width(np.pad(digit, 1)) < _THICK * max(digit.shape))


def _middles(start: float, end: float, count: int) -> Floats:
    """Return the middles of so many equal intervals from start to end: (count,) float32."""
    return np.asarray(start + (np.arange(count) + 0.5) * ((end - start) / count), np.float32)


def _middle(values: Floats) -> float:
    """Return the median, of an even number of values the mean of two; np.median takes longer."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    ranked = np.partition(values, (low, high))
    return float((ranked[low] + ranked[high]) / 2)


def _median(values: NDArray[np.float32]) -> float:
    """Return the upper median, of which any will do."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])
