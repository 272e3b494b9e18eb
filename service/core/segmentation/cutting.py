"""Where the ink is on a picture: paper of any brightness, drawn on by any pen, cut out round the digit.

A drawing program's canvas has one paper colour; a scan or a photograph has light that falls unevenly,
noise and specks. The constants were chosen on pen strokes rendered as both: docs/explanation/experiments.md.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.segmentation import crowded, digit, morphology, paper, shapes
from service.core.segmentation.crowded import Doubt, Segmentation
from service.core.segmentation.paper import Blank, Box, Paper, median

Floats = NDArray[np.float32]

_COARSE = 72
"""The digit is looked for on the picture reduced to about this many pixels a side."""

_EVEN = 0.9
"""Share of equal pixels in the picture's frame from which on it counts as a canvas of one colour."""

_FRAME = 3
"""Coarse pixels that a line round the picture is at most wide."""

_CROWDED = 56
"""Smaller side in pixels from which on a picture may show more than paper and a digit."""

_SMALLEST, _TIMES = 24, 4
"""Smaller side in pixels from which on a picture may show a table, and how many times it is enlarged then."""

_ENLARGED = 1.7
"""How many times a small digit is enlarged from which on Lanczos' filter interpolates it, which keeps loops
open: 1 to 3 % more of digits of 6 to 10 pixels are recognised."""

_DEEPEST = 2
"""How many times a part of a picture is cut out in turn: a sheet on a table, and a small digit on it."""

_SMALL, _ROOM = 0.14, 1.5
"""Size of a digit, relative to the picture, below which its surroundings are examined alone: so many times
its size to every side."""


_WIDER = 1.0
"""Width over height from which on ink may be several digits that touch: 95 % of numbers of two or three
digits are wider or fall into parts, and 13 % of digits (17,265 digits of 150 writers)."""


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
    def of(cls, picture: Image.Image, signs: Sequence[int]) -> "_Crowded | None":
        """Segment a picture of mode L by ink of some signs; None if there is none."""
        step = max(1, round(max(picture.size) / crowded.SIDE))
        segmentation = crowded.segment(_greys(picture.reduce(step)), signs)
        return None if segmentation is None else cls(segmentation, step)

    def box(self) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of the digit in pixels of the picture."""
        left, top, right, bottom = (side * self.step for side in self.segmentation.box)
        return left, top, right, bottom

    def doubt(self) -> Doubt | None:
        """Return why the ink may not be the digit."""
        return self.segmentation.doubt

    def shape(self) -> NDArray[np.bool_]:
        """Return the digit's pixels within its box, in the reduced picture: (h, w)."""
        left, top, right, bottom = self.segmentation.box
        return self.segmentation.mask[top:bottom, left:right]

    def ink(self, grey: NDArray[np.uint8], box: Box) -> Floats:
        """Return grey levels of the digit's ink, as `Paper.ink` does."""
        tall, wide = grey.shape
        height, width = self.segmentation.background.shape
        left, top, right, bottom = (side / self.step for side in box)
        where = (left, top, min(right, width), min(bottom, height))
        background = morphology.enlarged(self.segmentation.background, where, wide, tall)
        keep = morphology.enlarged(self.segmentation.keep, where, wide, tall)
        ink = (grey - background) * np.float32(self.segmentation.sign)
        return np.asarray(ink * np.minimum(2 * keep, 1), np.float32)


@dataclass(frozen=True)
class Cut:
    """A digit cut out of a picture.

    Attributes:
        ink: (h, w) float32: 0 is paper, 1 is what the middle of the strokes has; may lie outside 0..1.
        picture: The picture, without a line round it.
        doubt: Why it may not be the digit; None if that is clear.
    """

    ink: Floats
    picture: Image.Image
    doubt: Doubt | None
    _paper: "Paper | _Crowded"
    _full: float

    def whole(self, wide: int, tall: int) -> Floats:
        """Return the ink of the whole picture, as `ink`, in another size: (tall, wide) float32.

        Of a picture with a line round it, what lies within the line.
        """
        everything = (0, 0, *self.picture.size)
        return _ink(self.picture, self._paper, everything, wide, tall) / np.float32(self._full)


def cut_out(picture: Image.Image | NDArray[np.uint8], side: int, margin: int, depth: int = 0) -> Cut:
    """Cut the digit out of a picture, as amounts of ink.

    Args:
        picture: Of mode L, or (H, W) uint8; any size, dark on light or light on dark.
        side: The larger side that the digit should have in the answer, in pixels.
        margin: Pixels to leave round it, where the picture has them.
        depth: How many times a part of the picture was cut out before.

    Returns:
        The digit, with as much of the margin as there is.

    Raises:
        Blank: There is no ink on the paper.
    """
    picture, coarse, step_x, step_y = _reduced(picture)
    width, height = picture.size
    is_canvas = _is_canvas(coarse)
    plain = _paper(coarse, step_x, step_y, is_canvas)
    page: Paper | _Crowded = plain
    ink = page.ink(coarse, (0, 0, coarse.shape[1] * step_x, coarse.shape[0] * step_y))
    is_flat = is_canvas or shapes.is_flat(ink, page.floor)
    ink *= ink > page.floor
    found = digit.box_of_ink(ink)
    if _SMALLEST <= min(width, height) < _CROWDED and shapes.shows_table(ink, found):
        larger = (width * _TIMES, height * _TIMES)
        with suppress(Blank):  # then what there is may be a blot
            return cut_out(picture.resize(larger, Image.Resampling.BICUBIC), side, margin, depth)
    is_simple = min(width, height) < _CROWDED or (is_flat and shapes.is_alone(ink, found))
    left, top, right, bottom = found
    is_sure_of_sign = is_canvas and not shapes.is_sheet(ink[top:bottom, left:right] > 0)
    signs = (plain.sign,) if is_sure_of_sign else (-1, 1)  # a thick pen's holes are thinner than its strokes
    crowded_page = None if is_simple else _Crowded.of(picture, signs)
    if crowded_page is None and min(width, height) >= _CROWDED and shapes.reaches_edge(ink):
        raise Blank  # nothing is left but a table or a shadow
    if crowded_page is not None:
        if depth < _DEEPEST and shapes.is_sheet(crowded_page.shape()):
            return cut_out(picture.crop(_within(crowded_page.box())), side, margin, depth + 1)
        page, step_x, step_y, found = (
            crowded_page,
            crowded_page.step,
            crowded_page.step,
            crowded_page.segmentation.box,
        )
    left, top, right, bottom = found
    left, right, top, bottom = left * step_x, right * step_x, top * step_y, bottom * step_y
    if not is_canvas and depth < _DEEPEST and max(right - left, bottom - top) < _SMALL * min(width, height):
        return cut_out(
            picture.crop(_around((left, top, right, bottom), picture.size)), side, margin, depth + 1
        )
    unit = max(right - left, bottom - top) / side  # picture pixels for one of the answer's
    around = margin * unit + max(step_x, step_y)
    box = (
        max(left - around, 0),
        max(top - around, 0),
        min(right + around, width),
        min(bottom + around, height),
    )
    wide, tall = max(1, round((box[2] - box[0]) / unit)), max(1, round((box[3] - box[1]) / unit))
    ink = _ink(picture, page, box, wide, tall)
    strongest = float(ink.max())
    if strongest <= 0:
        raise Blank
    full = median(ink[ink > 0.45 * strongest])
    ink /= full
    doubt = None if crowded_page is None else crowded_page.doubt()
    return Cut(shapes.filled(ink), picture, doubt, page, full)


def may_be_several(picture: Image.Image | NDArray[np.uint8]) -> bool:
    """Return whether the ink of a picture lies as that of several digits may: in parts, or wider than high.

    Args:
        picture: As `cut_out` takes it.
    """
    picture, coarse, step_x, step_y = _reduced(picture)
    try:
        page = _paper(coarse, step_x, step_y, _is_canvas(coarse))
        ink = page.ink(coarse, (0, 0, coarse.shape[1] * step_x, coarse.shape[0] * step_y))
        left, top, right, bottom = digit.box_of_ink(ink * (ink > page.floor))
    except Blank:
        return False
    if (right - left) * step_x > _WIDER * (bottom - top) * step_y:
        return True
    inked = ink[top:bottom, left:right] > page.floor
    return not bool(inked.any(axis=0).all() and inked.any(axis=1).all())


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
    page = _paper(coarse, step_x, step_y, _is_canvas(coarse))
    width, height = picture.size
    ink = page.ink(coarse, (0, 0, coarse.shape[1] * step_x, coarse.shape[0] * step_y))
    if not (ink > page.floor).any():
        raise Blank
    unit = max(max(width, height) / side, 0.5)
    wide, tall = max(1, round(width / unit)), max(1, round(height / unit))
    ink = _ink(picture, page, (0, 0, width, height), wide, tall)
    ink /= median(ink[ink > 0.45 * ink.max()])
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


def _paper(coarse: NDArray[np.uint8], step_x: int, step_y: int, is_canvas: bool) -> Paper:
    """Return the background of a reduced picture; raises Blank."""
    return paper.canvas(coarse, int(coarse[0, 0])) if is_canvas else paper.sheet(coarse, step_x, step_y)


def _ink(picture: Image.Image, page: "Paper | _Crowded", box: Box, wide: int, tall: int) -> Floats:
    """Return grey levels of ink within a box, scaled to a size: (tall, wide) float32."""
    enlarging = wide > _ENLARGED * (box[2] - box[0])
    filtered = Image.Resampling.LANCZOS if enlarging else Image.Resampling.BILINEAR
    return page.ink(_greys(picture.resize((wide, tall), filtered, box=box)), box)


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


def _within(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return a box without a rim of a sixteenth, which may be the sheet's edge."""
    left, top, right, bottom = box
    x, y = max(2, (right - left) // 16), max(2, (bottom - top) // 16)
    return left + x, top + y, right - x, bottom - y


def _around(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the surroundings of a box, within a picture of a size."""
    left, top, right, bottom = box
    room = round(_ROOM * max(right - left, bottom - top)) + 8
    return max(left - room, 0), max(top - room, 0), min(right + room, size[0]), min(bottom + room, size[1])
